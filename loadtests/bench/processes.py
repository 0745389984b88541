"""What a server costs: CPU time and memory of a process and all its descendants."""

from __future__ import annotations

import contextlib
import os
import re
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType

_CLOCK_OF_PROCESS = 2
"""CPUCLOCK_SCHED, as clock_getcpuclockid(3) makes clocks: user and system time of all threads,
in nanoseconds where `utime` and `stime` of /proc count hundredths of a second."""


def tree(pid: int) -> list[int]:
    """Return a process and its descendants, parents first."""
    found = [pid]
    for parent in found:
        found += children(parent)
    return found


def children(pid: int) -> list[int]:
    """Return a process's children; of one that ends meanwhile perhaps not all."""
    found: list[int] = []
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            found += map(int, (task / "children").read_text().split())
    return found


def cpu_s(pid: int) -> float:
    return time.clock_gettime((~pid << 3) | _CLOCK_OF_PROCESS)


class CpuMeter:
    """The CPU time that a process tree takes from now on."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._before = {pid: cpu_s(pid) for pid in tree(pid)}

    def spent_s(self) -> float:
        """Raise RuntimeError when a process ended meanwhile: what it took is not known."""
        now = {pid: cpu_s(pid) for pid in tree(self._pid)}
        if gone := self._before.keys() - now.keys():
            raise RuntimeError(f"processes {sorted(gone)} of the server ended while measured")
        return sum(now.values()) - sum(self._before.values())


class MemoryMeter:
    """How far the resident memory of a process tree rises above its rest.

    The peaks are the kernel's own (`VmHWM`), one a process, and added up: nothing between two
    looks is missed, and what the processes reached at different times counts in full.
    """

    def __init__(self, pid: int) -> None:
        self._rest = {pid: status_bytes(pid, "VmRSS") for pid in tree(pid)}

    @property
    def pids(self) -> list[int]:
        return list(self._rest)

    @property
    def rest_bytes(self) -> int:
        return sum(self._rest.values())

    def forget_peaks(self) -> None:
        for pid in self._rest:
            Path(f"/proc/{pid}/clear_refs").write_text("5")

    def peak_growth_bytes(self) -> int:
        return sum(status_bytes(pid, "VmHWM") - rest for pid, rest in self._rest.items())

    def growth_bytes(self) -> int:
        return sum(status_bytes(pid, "VmRSS") - rest for pid, rest in self._rest.items())


def status_bytes(pid: int, name: str) -> int:
    """Return one of the `Vm…` and `Rss…` values of /proc/<pid>/status."""
    for key, value in fields(Path(f"/proc/{pid}/status").read_text()):
        if key == name:
            return int(value.removesuffix(" kB")) << 10
    raise LookupError(f"/proc/{pid}/status has no {name}")


def fields(text: str) -> Iterator[tuple[str, str]]:
    """Yield the `name: value` lines that /proc is full of."""
    yield from re.findall(r"^([^:\n]+?)\s*:[ \t]*(.*)$", text, re.MULTILINE)


class Watch:
    """The most memory that a process tree takes while the context lasts, over what it had
    before: its own, and its files in memory, which are in no process's account.

    Looked at every few milliseconds, as such files have no peaks of the kernel's.
    """

    INTERVAL_S = 0.005

    def __init__(self, pid: int) -> None:
        self._pids = tree(pid)
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)
        self._rest_bytes = self._own_bytes() + memfd_bytes(self._pids)
        self.growth_bytes = 0
        self.memfd_bytes = 0

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._ended.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._ended.wait(self.INTERVAL_S):
            in_files = memfd_bytes(self._pids)
            self.memfd_bytes = max(self.memfd_bytes, in_files)
            grown = self._own_bytes() + in_files - self._rest_bytes
            self.growth_bytes = max(self.growth_bytes, grown)

    def _own_bytes(self) -> int:
        return sum(
            status_bytes(pid, "RssAnon") + status_bytes(pid, "RssFile") for pid in self._pids
        )


def memfd_bytes(pids: Sequence[int]) -> int:
    """Return what the processes' memfds take, each once."""
    sizes = {}
    for pid in pids:
        for fd in Path(f"/proc/{pid}/fd").iterdir():
            with contextlib.suppress(FileNotFoundError):  # closed meanwhile
                if os.readlink(fd).startswith("/memfd:"):
                    stat = fd.stat()
                    sizes[stat.st_dev, stat.st_ino] = stat.st_blocks * 512
    return sum(sizes.values())
