"""Takes connections from a listening socket that other workers take from as well."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Final, Protocol

import gevent

from fastreg.fastlane import Lane
from fastreg.server.settings import ErrorLog
from fastreg.server.shares import Share

_READABLE: Final = 1
_MAX_ACCEPT: Final = 8
"""As many a wake-up as leave the other workers some of a crowd."""
_YIELD_S: Final = 0.002
"""Two ticks of the event loop's timer: long enough for a worker that waits."""
_PAUSE_S: Final = 0.5
_FULL_PAUSE_S: Final = 0.05


class Owner(Protocol):
    """The server, as what accepts for it knows it."""

    lane: Lane
    share: Share
    report: ErrorLog

    @property
    def is_full(self) -> bool: ...
    def tell_share(self) -> None: ...


class Acceptor:
    """Moves connections from a socket, which it closes in the end, to the lane."""

    def __init__(self, sock: socket.socket, number: int, owner: Owner) -> None:
        # Inherited by what is accepted: no answer waits for another's acknowledgement.
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._sock = sock
        self._number = number
        self._owner = owner
        loop = gevent.get_hub().loop
        self._readable = loop.io(sock.fileno(), _READABLE)
        self._timer = loop.timer(0)

    def start(self) -> None:
        self._readable.start(self._take_some)

    def close(self) -> None:
        """Accept nothing more."""
        self._timer.close()
        self._readable.close()
        self._sock.close()

    def take_queued(self) -> None:
        """Take those who wait in the kernel's queue, which the last close would reset."""
        while not self._owner.is_full and self._take_one():
            pass

    def _take_some(self) -> None:
        """Accept, unless another worker should: then only what it has left after a moment."""
        if self._owner.share.is_ahead():
            self._pause(_YIELD_S, self._take_what_is_left)
        else:
            self._take()

    def _take_what_is_left(self) -> None:
        self.start()  # first, for what follows may stop it again
        self._take()

    def _take(self) -> None:
        for _ in range(_MAX_ACCEPT):
            if self._owner.is_full:
                self._pause(_FULL_PAUSE_S, self.start)
                break
            if not self._take_one():
                break
        self._owner.tell_share()

    def _take_one(self) -> bool:
        """Return whether a connection was there."""
        try:
            return self._owner.lane.accept(self._sock.fileno(), self._number)
        except OSError as error:
            # Out of descriptors or memory: the queue keeps the client until there is room.
            self._owner.report("accept failed", {"error": str(error)})
            self._pause(_PAUSE_S, self.start)
            return False

    def _pause(self, seconds: float, then: Callable[[], None]) -> None:
        self._readable.stop()
        self._timer.close()
        self._timer = gevent.get_hub().loop.timer(seconds)
        self._timer.start(then)
