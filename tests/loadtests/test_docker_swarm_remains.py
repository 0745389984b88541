"""What a run started is gone when it ends, in whatever way."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from loadtests.bench.programs import SOURCES

# Its child has a child of its own; it tells the ids of both.
RUN = """
import pathlib, subprocess, sys, time
from loadtests.docker_swarm.remains import own_directory

with own_directory(pathlib.Path(sys.argv[1])) as directory:
    script = ["sh", "-c", "sleep 600 & echo $$ $!; wait"]
    child = subprocess.Popen(script, stdout=subprocess.PIPE, text=True, start_new_session=True)
    print(child.stdout.readline(), end="", flush=True)
    {end}
"""


def start(parent: Path, end: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", RUN.replace("{end}", end), str(parent)],
        cwd=SOURCES,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def are_alive(pids: list[int]) -> list[int]:
    return [pid for pid in pids if Path(f"/proc/{pid}").exists()]


@pytest.mark.parametrize("end", ["pass", "raise RuntimeError"], ids=["success", "failure"])
def test_all_is_gone_when_a_run_ends(tmp_path: Path, end: str) -> None:
    process = start(tmp_path, end)
    output, _ = process.communicate(timeout=60)
    pids = [int(pid) for pid in output.split()]
    assert len(pids) == 2
    assert are_alive(pids) == []
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_all_is_gone_after_a_signal_however_often_it_comes(tmp_path: Path, number: int) -> None:
    process = start(tmp_path, "time.sleep(600)")
    assert process.stdout is not None
    pids = [int(pid) for pid in process.stdout.readline().split()]
    for _ in range(3):
        process.send_signal(number)
    _, errors = process.communicate(timeout=60)
    assert f"Interrupted: {signal.Signals(number).name}" in errors
    assert are_alive(pids) == []
    assert list(tmp_path.iterdir()) == []


def test_a_child_that_is_killed_leaves_no_orphan(tmp_path: Path) -> None:
    process = start(tmp_path, "time.sleep(600)")
    assert process.stdout is not None
    child, grandchild = (int(pid) for pid in process.stdout.readline().split())
    os.kill(child, signal.SIGKILL)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=60)
    assert are_alive([grandchild]) == []
