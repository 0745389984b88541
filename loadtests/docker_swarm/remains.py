"""What a run leaves to be taken away, however it ends: processes, cgroups, a directory."""

from __future__ import annotations

import contextlib
import ctypes
import os
import shutil
import signal
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

from loadtests.bench.processes import children

_PR_SET_CHILD_SUBREAPER = 36
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
CGROUP_TIMEOUT_S = 5


class Interrupted(Exception):
    """A signal asked for the end."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.exit_code = 128 + number


@contextlib.contextmanager
def own_directory(parent: Path | None) -> Iterator[Path]:
    """A directory for the run. At its end, and at the first signal that asks for it, every
    process that was started goes, then the cgroups named as the directory, then itself."""
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1)
    for number in _SIGNALS:
        signal.signal(number, interrupt)
    directory = Path(tempfile.mkdtemp(prefix="fastreg-docker-", dir=parent))
    with contextlib.ExitStack() as last:
        last.callback(shutil.rmtree, directory)
        last.callback(remove_cgroups, directory.name)
        last.callback(end_children)
        try:
            yield directory
        finally:
            ignore_signals()


def interrupt(number: int, frame: FrameType | None) -> None:
    """Raise Interrupted, once: what is cleaned up then is not to be interrupted again."""
    ignore_signals()
    raise Interrupted(number)


def ignore_signals() -> None:
    for number in _SIGNALS:
        signal.signal(number, signal.SIG_IGN)


def end_children() -> None:
    """Kill all children of this process, and theirs, which become its own when orphaned."""
    with contextlib.suppress(ChildProcessError):  # there are no more
        while True:
            for pid in children(os.getpid()):
                os.kill(pid, signal.SIGKILL)
            if os.waitpid(-1, os.WNOHANG) == (0, 0):
                time.sleep(0.01)


def remove_cgroups(name: str) -> None:
    """Remove a cgroup in every hierarchy, with those in it."""
    for line in Path("/proc/self/mounts").read_text().splitlines():
        _, mount, kind, *_ = line.split()
        if kind in ("cgroup", "cgroup2"):
            for directory, _, _ in os.walk(Path(mount) / name, topdown=False):
                remove_cgroup(Path(directory))


def remove_cgroup(directory: Path) -> None:
    """Remove an empty cgroup. It counts as busy until the kernel has let its last task go."""
    deadline = time.monotonic() + CGROUP_TIMEOUT_S
    while True:
        try:
            return directory.rmdir()
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.02)
