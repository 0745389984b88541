"""What tells every process of a machine that an object was changed by one of them.

A counter stands for the many keys that share it: one that moved on says that something may
have changed, one that did not says that nothing has.
"""

from __future__ import annotations

import mmap
import time
from typing import Final

import xxhash

_COUNTERS: Final = 4096


class Generations:
    """Counters in memory that forked processes share. To be made before the first fork."""

    def __init__(self) -> None:
        self.memory = memoryview(mmap.mmap(-1, 8 * _COUNTERS)).cast("Q")
        """64-bit counters; each is read and written in one piece."""

    def of(self, key: str) -> tuple[int, int]:
        """Return the place of the key's counter, and its value."""
        counter = xxhash.xxh3_64_intdigest(key.encode()) % _COUNTERS
        return counter, self.memory[counter]

    def advance(self, key: str) -> None:
        """Let everyone know that the object was changed. To be called once it is."""
        # The time, not one more: two processes that count at once would count one.
        self.memory[self.of(key)[0]] = time.monotonic_ns()
