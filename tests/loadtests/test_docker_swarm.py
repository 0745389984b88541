"""Two real Docker daemons and a tiny image: that it works and leaves nothing, not its figures."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from loadtests.bench.programs import SEARCH_PATH, SOURCES, find
from loadtests.docker_swarm.__main__ import PACKAGES

TINY = ("--nodes=2", "--rounds=1", "--scale=0.001")
TIMEOUT_S = 180
pytestmark = [pytest.mark.live, pytest.mark.timeout(TIMEOUT_S + 60)]
NEEDED = """
mount -t tmpfs tmpfs /run
ip link add bridge0 type bridge
ip link add one type veth peer two
"""


@pytest.fixture(autouse=True)
def _is_possible() -> None:
    """Skip where no daemon can run; under CI fail, unless it is the machine that forbids it."""
    missing = [package for name, package in PACKAGES.items() if find(name) is None]
    if missing or os.geteuid() != 0:
        message = f"Docker daemons need root, and packages: {' '.join(missing) or 'all there'}"
        pytest.fail(message) if os.environ.get("CI") else pytest.skip(message)
    done = subprocess.run(
        ["unshare", "--net", "--mount", "--pid", "--uts", "--ipc", "--fork", "sh", "-ec", NEEDED],
        env={**os.environ, "PATH": SEARCH_PATH},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        pytest.skip(f"namespaces, or what is needed in them, are not to be had: {done.stderr}")


@pytest.fixture
def place() -> Iterator[Path]:
    """A directory short enough for the names of sockets."""
    with tempfile.TemporaryDirectory(prefix="fastreg-") as name:
        yield Path(name)


@contextlib.contextmanager
def measuring(place: Path, programs: str = SEARCH_PATH) -> Iterator[subprocess.Popen[str]]:
    """A run, which is told to end where a test gives up on it."""
    places = (f"--directory={place}", f"--results={place / 'results'}")
    process = subprocess.Popen(
        [sys.executable, "-m", "loadtests.docker_swarm", *TINY, *places],
        cwd=SOURCES,
        env={**os.environ, "PATH": programs},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        process.terminate()
        process.communicate()


def wait_for_daemon(process: subprocess.Popen[str], place: Path) -> str:
    """Return the name of the run's directory, once a daemon's socket is in it."""
    deadline = time.monotonic() + TIMEOUT_S
    while process.poll() is None and time.monotonic() < deadline:
        for socket in place.glob("fastreg-docker-*/node1/socket"):
            return socket.parents[1].name
        time.sleep(0.05)
    process.terminate()
    pytest.fail(f"no daemon was started: {process.communicate()[1]}")


def remains(place: Path, name: str) -> list[str]:
    """Return what there is of a run by its name: directories, cgroups, mounts, processes."""
    cgroups = Path("/sys/fs/cgroup")
    found = [*place.glob(name), *cgroups.glob(name), *cgroups.glob(f"*/{name}")]
    mounts = Path("/proc/self/mountinfo").read_text().splitlines()
    return [str(path) for path in found] + [line for line in mounts if name in line] + running(name)


def running(name: str) -> list[str]:
    """Return the processes that were told of a name in their arguments or environment."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # ended meanwhile
            words = (process / "cmdline").read_bytes()
            if name.encode() in words + (process / "environ").read_bytes():
                found.append(words.replace(b"\0", b" ").decode())
    return found


def test_an_image_gets_to_real_daemons_and_nothing_is_left(place: Path) -> None:
    with measuring(place) as process:
        name = wait_for_daemon(process, place)
        output, errors = process.communicate(timeout=TIMEOUT_S)
    assert process.returncode == 0, errors
    [result] = (place / "results").iterdir()
    saved = json.loads(result.read_text())
    assert [rollout["registry"] for rollout in saved["rollouts"]] == ["fastreg", "docker-registry"]
    for rollout in saved["rollouts"]:
        for reached in rollout["seconds"].values():
            assert list(reached) == saved["milestones"]
        assert rollout["sent_bytes"] > 2 * saved["image_bytes"]
    assert "| registry CPU, s" in output
    assert remains(place, name) == []


def test_a_run_that_is_interrupted_leaves_nothing(place: Path) -> None:
    with measuring(place) as process:
        name = wait_for_daemon(process, place)
        assert running(name)
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=TIMEOUT_S)
    assert process.returncode == 128 + signal.SIGTERM
    assert errors == "Ended by SIGTERM; nothing is left of it.\n"
    assert remains(place, name) == []


def test_a_daemon_that_does_not_start_is_told_in_its_own_words(place: Path) -> None:
    daemon = place / "bin" / "dockerd"
    daemon.parent.mkdir()
    daemon.write_text("#!/bin/sh\necho I will not\nexit 1\n")
    daemon.chmod(0o755)
    with measuring(place, f"{daemon.parent}:{SEARCH_PATH}") as process:
        _, errors = process.communicate(timeout=TIMEOUT_S)
    assert process.returncode == 1
    assert "the daemon of node1 does not serve:\nI will not" in errors
    assert list(place.glob("fastreg-docker-*")) == []
