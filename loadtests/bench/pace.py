"""A client as slow as its network."""

from __future__ import annotations

import math
import time

PIECE_BYTES = 64 << 10
LEAST_WAIT_S = 0.001
"""Shorter sleeps take longer than they should."""
CREDIT_S = 0.01
"""How much lost time is made up for; the rest stays lost, as on a line."""


class Pace:
    """Waits so that no more than `bytes_s` a second pass."""

    def __init__(self, bytes_s: float = math.inf) -> None:
        self._bytes_s = bytes_s
        self._due = time.monotonic()

    def piece(self, most: int) -> int:
        """Return how much of `most` bytes should pass at once."""
        return most if self._bytes_s == math.inf else min(most, PIECE_BYTES)

    def keep(self, count: int) -> None:
        """Wait until `count` bytes more may have passed."""
        now = time.monotonic()
        self._due = max(self._due, now - CREDIT_S) + count / self._bytes_s
        if self._due - now > LEAST_WAIT_S:
            time.sleep(self._due - now)
