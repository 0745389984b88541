"""A worker's server: the lane, and a greenlet for each request that the lane hands over."""

from __future__ import annotations

import resource
import socket
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

import gevent
from gevent.pool import Group

from fastreg.fastlane import ColdRead, Handover, Lane
from fastreg.server.accepting import Acceptor
from fastreg.server.connection import Connection
from fastreg.server.environ import base_environ
from fastreg.server.offloop import read_in_thread
from fastreg.server.sending import load
from fastreg.server.settings import AccessLog, ErrorLog, Settings, no_error_log
from fastreg.server.shares import Share

WsgiApp = Callable[[dict[str, Any], Any], Iterable[bytes]]

_READABLE: Final = 1
_TICK_S: Final = 1.0
_DRAIN_STEP_S: Final = 0.05
_MAX_LINES_BYTES: Final = 16 << 10
"""Of the lane's access log; written then, and every `_TICK_S`."""


class Server:
    """Serves an application on listening sockets, which stay the caller's to close.

    At `max_connections` further clients wait in the kernel's queue, where other workers
    find them.
    """

    def __init__(
        self,
        sockets: Sequence[socket.socket],
        app: WsgiApp,
        *,
        settings: Settings | None = None,
        access_log: AccessLog | None = None,
        error_log: ErrorLog = no_error_log,
        share: Share | None = None,
        generations: memoryview | None = None,
    ) -> None:
        """`generations` are the counters that the application's witnesses name."""
        self.settings = settings or Settings()
        self.share = share or Share.alone()
        self.application = app
        self.access_log = access_log
        self.report = error_log
        self.is_draining = False
        self.lane = Lane(
            head_timeout_s=self.settings.head_timeout_s,
            idle_timeout_s=self.settings.idle_timeout_s,
            send_timeout_s=self.settings.send_timeout_s,
            logs_access=access_log is not None,
            generations=generations,
        )
        self._told = 0
        self._serving: set[Connection] = set()
        self._greenlets = Group()
        self._environs = [base_environ(sock, error_log) for sock in sockets]
        self._acceptors = [Acceptor(each.dup(), n, self) for n, each in enumerate(sockets)]
        loop = gevent.get_hub().loop
        self._readable = loop.io(self.lane.fileno(), _READABLE)
        self._clock = loop.timer(_TICK_S, _TICK_S)

    def start(self) -> None:
        """Begin to accept."""
        self._readable.start(self._turn)
        self._clock.start(self._tick)
        for acceptor in self._acceptors:
            acceptor.start()

    @property
    def connections(self) -> int:
        """How many are open, idle ones included."""
        return self.lane.connections + len(self._serving)

    @property
    def is_full(self) -> bool:
        return self.connections >= self.settings.max_connections

    def tell_share(self) -> None:
        """Let the other workers know how many there are."""
        self._told = self.lane.connections
        if not self.is_draining:
            self.share.tell(self.connections)

    # --- what the event loop calls

    def _turn(self) -> None:
        if events := self.lane.turn():
            self._follow(events)
        self._look_after()

    def _tick(self) -> None:
        self._follow(self.lane.tick())
        self._look_after()
        self._write_lines()
        if lost := self.lane.take_lost():
            self.report("access lines lost for want of memory", {"lines": lost})

    def _follow(self, events: list[Handover | ColdRead]) -> None:
        for event in events:
            if isinstance(event, Handover):
                connection = Connection(event, self)
                self._serving.add(connection)
                self._greenlets.spawn(connection.handle)
            else:
                self._greenlets.spawn(self._read_cold, event)

    def _look_after(self) -> None:
        if self.lane.connections != self._told:
            self.tell_share()
        if self.lane.lines_size > _MAX_LINES_BYTES:
            self._write_lines()

    def _read_cold(self, read: ColdRead) -> None:
        try:
            read_in_thread(load, read.fd, read.offset, read.length, read.ahead)
        except (OSError, MemoryError, RuntimeError):
            pass  # no bytes: sending meets it as well, and cuts; no thread: it waits itself
        self._follow(self.lane.resume(read))

    def _write_lines(self) -> None:
        if self.access_log is not None and self.lane.lines_size:
            self.access_log.write_lines(self.lane.take_lines())

    # --- what a connection asks of its server

    def get_environ(self, listener: int) -> dict[str, Any]:
        return self._environs[listener].copy()

    def leave(self, connection: Connection) -> None:
        """Count a connection no more that was handed over."""
        self._serving.discard(connection)
        self.tell_share()

    def drain(self, timeout_s: float) -> bool:
        """Accept who has connected already, let requests finish, close; cut what is left.

        Idle connections close at once; those used within the last `drain_grace_s` may
        send one more request, so that no client that is just sending sees an error.
        Returns whether nothing had to be cut.
        """
        self.is_draining = True
        deadline = time.monotonic() + timeout_s
        self.lane.drain()
        while self._acceptors:
            acceptor = self._acceptors.pop()
            acceptor.take_queued()
            acceptor.close()
        self.share.leave()
        gevent.sleep(0)  # who was accepted last begins to be served
        grace_s = min(self.settings.drain_grace_s, timeout_s / 2)
        while self.connections and time.monotonic() < deadline:
            self.lane.drop_idle(grace_s)
            gevent.sleep(_DRAIN_STEP_S)
        finished = not self.connections
        self._greenlets.kill(timeout=1)
        for connection in self._serving:
            connection.socket.close()  # killed before its first step, it closes nothing itself
        self._close()
        return finished

    def _close(self) -> None:
        self._readable.close()
        self._clock.close()
        self.lane.cut_sending()
        self._write_lines()
        self.lane.close()


def raise_fd_limit() -> int:
    """Raise the soft limit of open files to the hard one, and return it."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard
