"""Witnesses asked as the fast lane asks them, and a clock that says what a test wants."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Final

import pytest

from fastreg.storage import local_files

TICK_NS: Final = 100_000_000
SECOND_NS: Final = 1_000_000_000


class Clock:
    """What LocalDriver takes for the time; an hour ahead, so that every file is old."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now_ns = time.time_ns() + 3600 * SECOND_NS
        monkeypatch.setattr(local_files, "time", self)

    def time_ns(self) -> int:
        return self.now_ns


def holds(witness: tuple[bytes, int, int, int, int, int]) -> bool:
    """Whether the file is there with the identity, asked without the driver."""
    path, *identity = witness
    try:
        s = os.stat(path)
    except OSError:
        return False
    return identity == [s.st_dev, s.st_ino, s.st_mtime_ns, s.st_ctime_ns, s.st_size]


def let_the_clock_tick(directory: Path) -> None:
    """Return once what is written gets a later time than what was written before."""
    probe = directory / "probe"
    probe.touch()
    before = probe.stat().st_ctime_ns
    for _ in range(10_000):
        probe.touch()
        if probe.stat().st_ctime_ns > before:
            return
        time.sleep(0.0005)
    raise AssertionError("the clock of file times stands still")
