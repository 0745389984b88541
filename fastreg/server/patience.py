"""How long a connection is waited for. No I/O."""

from __future__ import annotations

import time
from typing import Protocol


class Patience(Protocol):
    """What whoever receives asks before it waits, and tells afterwards."""

    def left_s(self) -> float:
        """Return how much longer to wait; 0 or less when it is over."""

    def spent(self, waited_s: float, received: int) -> None:
        """Take note of a wait and the bytes it brought."""


class Deadline:
    """A moment, whatever arrives until then."""

    def __init__(self, timeout_s: float) -> None:
        self._ends = time.monotonic() + timeout_s

    def left_s(self) -> float:
        return self._ends - time.monotonic()

    def spent(self, waited_s: float, received: int) -> None:
        pass


class Pace:
    """`timeout_s` of waiting for every `min_bytes`.

    Only waiting counts: what we do between two reads is not the client's delay.
    """

    def __init__(self, timeout_s: float, min_bytes: int) -> None:
        self._timeout_s = self._left_s = timeout_s
        self._min_bytes = min_bytes
        self._received = 0

    def left_s(self) -> float:
        return self._left_s

    def spent(self, waited_s: float, received: int) -> None:
        self._left_s -= waited_s
        self._received += received
        if self._received >= self._min_bytes:
            self._left_s, self._received = self._timeout_s, 0
