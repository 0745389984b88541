"""How many connections each worker has, in memory that all of them share.

Workers that wait at the same socket are woken together, and whoever is first takes the
client. Left to that, one of two had 15 connections of 16.
"""

from __future__ import annotations

import mmap
from typing import Final

_FREE: Final = -1
_LEAVING: Final = -2
"""The slot of a worker that drains; free once the supervisor has buried it."""


class Shares:
    """One slot a worker. To be made before the first fork, and claimed from only there."""

    def __init__(self, slots: int) -> None:
        self._counts = memoryview(mmap.mmap(-1, 4 * slots)).cast("i")
        for slot in range(slots):
            self._counts[slot] = _FREE

    def claim(self) -> Share:
        """Return the share of a worker that is about to be forked."""
        for slot, count in enumerate(self._counts):
            if count == _FREE:
                self._counts[slot] = 0
                return Share(self._counts[slot : slot + 1], self._counts)
        return Share.alone()  # more workers that drain than anybody foresaw


class Share:
    def __init__(self, mine: memoryview[int], counts: memoryview[int]) -> None:
        self._mine = mine
        self._counts = counts

    @classmethod
    def alone(cls) -> Share:
        """Return the share of a worker that has all."""
        mine = memoryview(bytearray(4)).cast("i")
        return cls(mine, mine)

    def tell(self, connections: int) -> None:
        self._mine[0] = connections

    def leave(self) -> None:
        """Count no more: the worker takes no further connection."""
        self._mine[0] = _LEAVING

    def free(self) -> None:
        """Give the slot to the next worker that is forked: this one is gone."""
        self._mine[0] = _FREE

    def is_ahead(self) -> bool:
        """Whether another worker that takes connections has fewer."""
        return self._mine[0] > min((c for c in self._counts if c >= 0), default=0)
