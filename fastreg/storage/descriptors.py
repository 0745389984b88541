"""File descriptors that threads may still use when nobody waits for them any more."""

from __future__ import annotations

import os
import threading


class Descriptor:
    """A file descriptor that closes when its last user is done with it.

    A greenlet that is killed while it waits leaves its call behind in a thread. To close
    the number below that call could make it read or write another file; what the call
    opens for nobody closes with its last reference.
    """

    def __init__(self, number: int) -> None:
        self._number = number
        self._guard = threading.Lock()
        self._users = 0
        self._closed = False

    @property
    def number(self) -> int:
        if self._closed:
            raise ValueError("the object is closed")
        return self._number

    def __enter__(self) -> int:
        with self._guard:
            number = self.number
            self._users += 1
        return number

    def __exit__(self, *exc: object) -> None:
        with self._guard:
            self._users -= 1
            unused = self._closed and not self._users
        if unused:
            os.close(self._number)

    def close(self) -> None:
        with self._guard:
            unused = not self._closed and not self._users
            self._closed = True
        if unused:
            os.close(self._number)

    __del__ = close
