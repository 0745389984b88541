"""What a driver's transfers share: threads, and how much of memory their bytes may take."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Final

_THREADS: Final = 32
_READ_OF_ALL: Final = 64 << 20
"""What all readers of a driver may have on its way, or waiting for a slow client."""
_READ_OF_ONE: Final = (512 << 10, 16 << 20)
"""At least, and at most."""
_SENT_OF_ALL: Final = 20 << 20
"""Of blocks that all writers of a driver may have on their way, if that is one each. Five of
the usual size: with fewer, a lone push waits for the answers."""

_here = threading.local()


def _begin_transfer() -> None:
    _here.is_transfer = True


def is_transfer() -> bool:
    """Whether this is a thread of a driver's own, where blocking is allowed."""
    return getattr(_here, "is_transfer", False)


class Transfers:
    """Threads for requests that run side by side, and the room for what they hold."""

    def __init__(self) -> None:
        self.threads = ThreadPoolExecutor(_THREADS, "azure", _begin_transfer)
        self._readers = 0
        self._senders = 0
        self._sent = 0
        self._lock = threading.Lock()
        self._arrival = threading.Condition(self._lock)
        self._turn = threading.Lock()

    def count_reader(self, change: int) -> None:
        """Take note that one more reads what takes several requests, or (-1) one less."""
        with self._lock:
            self._readers += change

    @property
    def read_bytes(self) -> int:
        """How much each of those that read may have on its way."""
        least, most = _READ_OF_ONE
        return max(least, min(most, _READ_OF_ALL // max(1, self._readers)))

    def count_sender(self, change: int) -> None:
        """Take note that one more sends blocks, or (-1) one less."""
        with self._lock:
            self._senders += change

    @property
    def share_bytes(self) -> int:
        """How much each of those that send may have on its way."""
        return _SENT_OF_ALL // max(1, self._senders)

    def send(self, size: int, fn: Callable[..., None], /, *args: Any) -> Future[None]:
        """Call `fn(*args)`, which sends `size` bytes of a block, in a thread. Waits while
        others, that had a larger share until now, still have too much on its way; nobody
        passes whoever waits, or larger blocks would keep smaller ones out for good."""
        with self._turn, self._arrival:
            self._arrival.wait_for(
                lambda: self._sent + size <= max(_SENT_OF_ALL, size * self._senders)
            )
            self._sent += size
        sent = self.threads.submit(fn, *args)
        sent.add_done_callback(lambda _: self._arrived(size))
        return sent

    def _arrived(self, size: int) -> None:
        with self._arrival:
            self._sent -= size
            self._arrival.notify()
