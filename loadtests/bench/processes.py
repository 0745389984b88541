"""What a server costs: CPU time and memory of a process and all its descendants."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from pathlib import Path

_CLOCK_OF_PROCESS = 2
"""CPUCLOCK_SCHED, as clock_getcpuclockid(3) makes clocks: user and system time of all threads,
in nanoseconds where `utime` and `stime` of /proc count hundredths of a second."""


def tree(pid: int) -> list[int]:
    """Return a process and its descendants, parents first."""
    found = [pid]
    for parent in found:
        for task in Path(f"/proc/{parent}/task").iterdir():
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
    """Return one of the `Vm…` values of /proc/<pid>/status."""
    for key, value in fields(Path(f"/proc/{pid}/status").read_text()):
        if key == name:
            return int(value.removesuffix(" kB")) << 10
    raise LookupError(f"/proc/{pid}/status has no {name}")


def fields(text: str) -> Iterator[tuple[str, str]]:
    """Yield the `name: value` lines that /proc is full of."""
    yield from re.findall(r"^([^:\n]+?)\s*:[ \t]*(.*)$", text, re.MULTILINE)
