"""What a server takes while a run lasts: CPU time and memory of its processes, over time."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from loadtests.bench.processes import CpuMeter, fields, tree

INTERVAL_S = 0.2
AROUND_S = 0.5


@dataclass(frozen=True)
class Sample:
    at_s: float
    """On the clock of `time.time`, which Locust's own times are of."""
    cpu_s: float
    """Taken until then."""
    rss_bytes: int
    """In memory; what processes share counts once."""


def between(samples: Sequence[Sample], begun_s: float, ended_s: float) -> list[Sample]:
    """Return the samples of a time and of the moments around it, counted from its begin."""
    return [
        replace(sample, at_s=sample.at_s - begun_s)
        for sample in samples
        if begun_s - AROUND_S <= sample.at_s <= ended_s + AROUND_S
    ]


class Watch:
    """Samples of a process tree, taken by a thread while the context lasts."""

    def __init__(self, pid: int) -> None:
        self.samples: list[Sample] = []
        self._pid = pid
        self._meter = CpuMeter(pid)
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._look_often, daemon=True)

    def cpu_since(self, moment_s: float) -> float:
        """Return what was taken from the last sample before a moment to the one at the end."""
        before = [sample for sample in self.samples if sample.at_s <= moment_s]
        return self.samples[-1].cpu_s - before[-1].cpu_s

    def __enter__(self) -> Watch:
        self._look()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()
        self._look()

    def _look_often(self) -> None:
        while not self._ended.wait(INTERVAL_S):
            # A process that ends between being found and being looked at shows at the end.
            with contextlib.suppress(OSError, RuntimeError, LookupError):
                self._look()

    def _look(self) -> None:
        spent_s = self._meter.spent_s()
        rss_bytes = sum(resident_bytes(pid) for pid in tree(self._pid))
        self.samples.append(Sample(time.time(), spent_s, rss_bytes))


def resident_bytes(pid: int) -> int:
    """Return the proportional set size: workers that were forked share most of their pages."""
    rollup = dict(fields(Path(f"/proc/{pid}/smaps_rollup").read_text()))
    return int(rollup["Pss"].removesuffix(" kB")) << 10
