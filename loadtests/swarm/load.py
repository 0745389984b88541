"""Was the client the bottleneck? What its processes took, and the rule that judges it.

A run is bound by the client if one of its processes, which are one thread each, was busy for
more than 85 % of the time (more of them would have done more), or if the cores of its machine
were busy for more than 95 % of the time and half of that or more was the client's (a server on
the same machine had what was left). Less than half a second tells nothing.
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

BUSY_PROCESS = 0.85
BUSY_MACHINE = 0.95
OWN_SHARE = 0.5
LEAST_S = 0.5

_NAMES = ("user", "nice", "system", "idle", "iowait", "irq", "softirq", "steal")
_IDLE = ("idle", "iowait")


@dataclass(slots=True)
class Load:
    """What a process took of its machine while steps were under way."""

    machine: str = ""
    cores: int = 1
    seconds: float = 0.0
    cpu_s: float = 0.0
    machine_busy_s: float = 0.0
    """Of all cores together, whoever used them."""

    def merge(self, other: Load) -> None:
        self.machine, self.cores = other.machine, other.cores
        self.seconds += other.seconds
        self.cpu_s += other.cpu_s
        self.machine_busy_s += other.machine_busy_s


class Meter:
    """What this process takes from now on."""

    def __init__(self) -> None:
        self._begun_s = time.monotonic()
        self._cpu_s = time.process_time()
        self._busy_s = _machine_busy_s()

    def spent(self) -> Load:
        return Load(
            socket.gethostname(),
            os.cpu_count() or 1,
            time.monotonic() - self._begun_s,
            time.process_time() - self._cpu_s,
            _machine_busy_s() - self._busy_s,
        )


def _machine_busy_s() -> float:
    counts = Path("/proc/stat").read_text().split(maxsplit=9)[1:9]
    ticks = sum(int(count) for name, count in zip(_NAMES, counts, strict=True) if name not in _IDLE)
    return ticks / os.sysconf("SC_CLK_TCK")


def judge(loads: Collection[Load], seconds: float) -> dict[str, Any]:
    """Say what the client took in this time, whether it was the bottleneck, and why."""
    cpu_s = sum(load.cpu_s for load in loads)
    why = _process_bound(loads) or _machine_bound(loads)
    return {
        "cpu_s": cpu_s,
        "cores": cpu_s / seconds if seconds else 0.0,
        "processes": len(loads),
        "bound": why is not None,
        "why": why or _unbound(loads),
    }


def _process_bound(loads: Collection[Load]) -> str | None:
    busiest = max(map(_busy, loads), default=0.0)
    if busiest <= BUSY_PROCESS:
        return None
    return f"a process was busy for {busiest:.0%} of the time: --processes adds more"


def _machine_bound(loads: Collection[Load]) -> str | None:
    machines: dict[str, list[Load]] = defaultdict(list)
    for load in loads:
        if load.seconds >= LEAST_S:
            machines[load.machine].append(load)
    for name, on_it in machines.items():
        busy = max(load.machine_busy_s / load.seconds for load in on_it)
        own = sum(load.cpu_s / load.seconds for load in on_it)
        cores = on_it[0].cores
        if busy > BUSY_MACHINE * cores and own >= OWN_SHARE * busy:
            return (
                f"the {cores} cores of {name} were busy for {busy / cores:.0%} of the time, and "
                f"{own / busy:.0%} of that was the client's"
            )
    return None


def _unbound(loads: Collection[Load]) -> str:
    if not any(load.seconds >= LEAST_S for load in loads):
        return f"less than {LEAST_S} s tells nothing"
    return f"its busiest process was busy for {max(map(_busy, loads)):.0%} of the time"


def _busy(load: Load) -> float:
    return load.cpu_s / load.seconds if load.seconds >= LEAST_S else 0.0
