"""Was the client the bottleneck? What its processes took, and the rule that judges it.

A run is bound by the client
- if one of its processes had its orders later than its nodes were to begin: the times of its
  nodes have that in them, or
- if one of its processes, which are one thread each, was busy or waited for a core for more than
  85 % of the time: there was always something that it had not yet taken in, or
- if the cores of its machine were busy for more than 95 % of the time, half of that or more by
  the client: a server on the same machine had what was left.

Less than half a second tells nothing.
"""

from __future__ import annotations

import os
import socket
import time
from collections import defaultdict
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

LATE_S = 0.02
BUSY_PROCESS = 0.85
BUSY_MACHINE = 0.95
OWN_SHARE = 0.5
LEAST_S = 0.5

_STATES = ("user", "nice", "system", "idle", "iowait", "irq", "softirq", "steal")
_IDLE = ("idle", "iowait")


@dataclass(slots=True)
class Load:
    """What a process took of its machine while steps were under way."""

    machine: str = ""
    cores: int = 1
    seconds: float = 0.0
    cpu_s: float = 0.0
    waited_s: float = 0.0
    """For a core, with something to do."""
    machine_busy_s: float = 0.0
    """Of all cores together, whoever used them."""
    late_s: float = 0.0
    """How long after the moment to begin it knew of it, at the worst."""

    def merge(self, other: Load) -> None:
        self.machine, self.cores = other.machine, other.cores
        self.seconds += other.seconds
        self.cpu_s += other.cpu_s
        self.waited_s += other.waited_s
        self.machine_busy_s += other.machine_busy_s
        self.late_s = max(self.late_s, other.late_s)


class Meter:
    """What this process takes from now on."""

    def __init__(self) -> None:
        self._begun = _now()

    def spent(self, late_s: float = 0.0) -> Load:
        differences = [now - begun for now, begun in zip(_now(), self._begun, strict=True)]
        load = Load(socket.gethostname(), os.cpu_count() or 1, *differences)
        load.late_s = late_s
        return load


def _now() -> tuple[float, float, float, float]:
    return time.monotonic(), time.process_time(), _waited_s(), _machine_busy_s()


def _waited_s() -> float:
    """Return how long the process's first thread has waited for a core, as the scheduler says."""
    try:
        return int(Path("/proc/self/schedstat").read_text().split()[1]) / 1e9
    except (OSError, LookupError):
        return 0.0  # a kernel without scheduler statistics


def _machine_busy_s() -> float:
    counts = Path("/proc/stat").read_text().split(maxsplit=9)[1:9]
    states = zip(_STATES, counts, strict=True)
    ticks = sum(int(count) for state, count in states if state not in _IDLE)
    return ticks / os.sysconf("SC_CLK_TCK")


def judge(loads: Collection[Load], seconds: float) -> dict[str, Any]:
    """Say what the client took in this time, whether it was the bottleneck, and why."""
    cpu_s = sum(load.cpu_s for load in loads)
    long = [load for load in loads if load.seconds >= LEAST_S]
    why = _late(loads) or _bound_process(long) or _bound_machine(long)
    return {
        "cpu_s": cpu_s,
        "cores": cpu_s / seconds if seconds else 0.0,
        "processes": len(loads),
        "bound": why is not None,
        "why": why or _unbound(long),
    }


def _late(loads: Collection[Load]) -> str | None:
    late_s = max((load.late_s for load in loads), default=0.0)
    return f"a process began {late_s:.2f} s late" if late_s > LATE_S else None


def _bound_process(loads: Collection[Load]) -> str | None:
    for load in loads:
        busy, waited = load.cpu_s / load.seconds, load.waited_s / load.seconds
        if busy + waited > BUSY_PROCESS:
            is_alone = busy > BUSY_PROCESS
            advice = "--processes adds more" if is_alone else "the machine has no more cores"
            return (
                f"a process was busy for {busy:.0%} of the time and waited for a core for "
                f"{waited:.0%}: {advice}"
            )
    return None


def _bound_machine(loads: Collection[Load]) -> str | None:
    for busy, own in _machines(loads):
        if busy > BUSY_MACHINE and own >= OWN_SHARE:
            return f"all cores were busy for {busy:.0%} of the time, {own:.0%} of it by the client"
    return None


def _unbound(loads: Collection[Load]) -> str:
    if not loads:
        return f"less than {LEAST_S} s tells nothing"
    busiest = max(load.cpu_s / load.seconds for load in loads)
    busy, own = max(_machines(loads))
    return (
        f"its busiest process was busy for {busiest:.0%} of the time, all cores for {busy:.0%}, "
        f"{own:.0%} of it by the client"
    )


def _machines(loads: Collection[Load]) -> list[tuple[float, float]]:
    """Return for each machine how busy its cores were, and the client's share in that."""
    machines: dict[str, list[Load]] = defaultdict(list)
    for load in loads:
        machines[load.machine].append(load)
    shares = []
    for on_it in machines.values():
        busy = max(load.machine_busy_s / load.seconds for load in on_it)
        own = sum(load.cpu_s / load.seconds for load in on_it)
        shares.append((busy / on_it[0].cores, min(1.0, own / busy) if busy else 0.0))
    return shares
