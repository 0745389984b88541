"""A whole comparison, small and short: that it works, not what it measures."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from loadtests.bench.programs import INSTALL, SOURCES, find
from loadtests.bench.servers import NGINX
from loadtests.compare.__main__ import main

pytestmark = pytest.mark.live

SMALL = ("--scale=0.001", "--rounds=1", "--part=nodes", "--nodes=5")


def compare(*options: str) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "-m", "loadtests.compare", *options]
    return subprocess.run(argv, cwd=SOURCES, capture_output=True, text=True, check=False)


def test_nodes_pull_what_fastreg_was_given_and_the_report_is_written(tmp_path: Path) -> None:
    """From nginx, as that needs most; seeding has a fastreg of its own."""
    if find(NGINX) is None:
        message = f"the comparison lacks something: {INSTALL[NGINX]}"
        pytest.fail(message) if os.environ.get("CI") else pytest.skip(message)
    directory, out = tmp_path / "data", tmp_path / "out"
    directory.mkdir()
    done = compare(*SMALL, "--only=nginx", f"--directory={directory}", f"--out={out}")
    assert done.returncode == 0, done.stderr
    [path] = out.glob("swarm-*.json")
    [run] = json.loads(path.read_text())["runs"]
    assert run["error"] is None
    assert len(run["result"]["pull_seconds"]) == 5
    assert run["result"]["bytes"] >= 5 * 120_000
    assert run["server_cpu_s"] > 0
    assert run["samples"]
    assert "thundering-herd of 5 × herd, round 1: nginx: p50" in done.stderr
    assert (out / path.stem / "report.html").exists()
    assert list(directory.iterdir()) == []


@pytest.mark.parametrize(
    "wrong", ["--images=nonsense", "--shapes=nonsense", "--nodes=few", "--registry=localhost:5000"]
)
def test_an_option_that_says_nothing_is_refused_with_what_would(wrong: str) -> None:
    result = CliRunner().invoke(main, [wrong])
    assert result.exit_code == 2
    assert "herd" in result.output or "10,50,200" in result.output or "https://" in result.output
