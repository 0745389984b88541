"""A worker's server: accepts on shared sockets, counts connections, drains."""

from __future__ import annotations

import io
import resource
import socket
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

import gevent
from gevent.pool import Pool
from gevent.pywsgi import WSGIServer
from gevent.socket import socket as GeventSocket

from fastreg.server.connection import Connection
from fastreg.server.settings import AccessLog, ErrorLog, Settings, no_error_log
from fastreg.server.shares import Share

WsgiApp = Callable[[dict[str, Any], Any], Iterable[bytes]]

_DRAIN_STEP_S: Final = 0.05
_MAX_ACCEPT: Final = 8
_YIELD_S: Final = 0.002
"""Two ticks of the event loop's timer: long enough for a worker that waits."""
_ACCEPT_PAUSE_S: Final = 0.5


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
    ) -> None:
        self.settings = settings or Settings()
        self.share = share or Share.alone()
        self.application = app
        self.access_log = access_log
        self.report = error_log
        self.connections: set[Connection] = set()
        self.is_draining = False
        self.pool = Pool(self.settings.max_connections)
        self._listeners = [Listener(each.dup(), self) for each in sockets]

    def start(self) -> None:
        """Begin to accept."""
        for listener in self._listeners:
            listener.start()

    def enter(self, connection: Connection) -> None:
        """Count a connection that begins."""
        self.connections.add(connection)
        self._tell_share()

    def leave(self, connection: Connection) -> None:
        """Count a connection no more."""
        self.connections.discard(connection)
        self._tell_share()

    def _tell_share(self) -> None:
        if not self.is_draining:
            self.share.tell(len(self.connections))

    def drain(self, timeout_s: float) -> bool:
        """Accept who has connected already, let requests finish, close; cut what is left.

        Idle connections close at once; those used within the last `drain_grace_s` may
        send one more request, so that no client that is just sending sees an error.
        Returns whether nothing had to be cut.
        """
        self.is_draining = True
        deadline = time.monotonic() + timeout_s
        for listener in self._listeners:
            listener.accept_queued()
            listener.close()
        self.share.leave()
        gevent.sleep(0)  # who was accepted last begins to be served
        grace_s = min(self.settings.drain_grace_s, timeout_s / 2)
        while len(self.pool) and time.monotonic() < deadline:
            for connection in list(self.connections):
                connection.drop_if_idle(grace_s)
            self.pool.join(timeout=_DRAIN_STEP_S)
        finished = not len(self.pool)
        self.pool.kill(timeout=1)
        return finished


class Listener(WSGIServer):
    """One listening socket of a `Server`."""

    handler_class = Connection

    def __init__(self, sock: socket.socket, owner: Server) -> None:
        self.settings = owner.settings
        self.enter, self.leave = owner.enter, owner.leave
        self.access_log = owner.access_log
        self.report = owner.report
        self.owner = owner
        host, port = sock.getsockname()[:2]
        environ = {
            "SERVER_NAME": host,  # given here: the parent would ask the DNS
            "SERVER_PORT": str(port),
            "SERVER_SOFTWARE": "fastreg",
            "wsgi.errors": _ErrorStream(owner.report),
            "wsgi.multithread": True,
            "wsgi.multiprocess": True,
        }
        super().__init__(
            sock, owner.application, spawn=owner.pool, log=None, error_log=None, environ=environ
        )

    @property
    def is_draining(self) -> bool:
        return self.owner.is_draining

    def set_max_accept(self) -> None:
        """As many a wake-up as leave the other workers some of a crowd."""
        self.max_accept = _MAX_ACCEPT

    def _do_read(self) -> None:
        """Accept, unless another worker should: then only what it has left after a moment."""
        if not self.owner.share.is_ahead():
            super()._do_read()  # type: ignore[misc]
            return
        self.stop_accepting()
        self._timer = self.loop.timer(_YIELD_S)
        self._timer.start(self._take_what_is_left)

    def _take_what_is_left(self) -> None:
        if self.started:
            self.start_accepting()  # first, for what follows may stop it again
            super()._do_read()  # type: ignore[misc]

    def accept_queued(self) -> None:
        """Take those who wait in the kernel's queue, which the last close would reset."""
        while self.started and not self.owner.pool.full():
            client = self.do_read()
            if client is None:
                return
            self.do_handle(*client)

    def do_read(self) -> tuple[GeventSocket, Any] | None:  # type: ignore[override]
        """Accept one connection, None when there is none."""
        try:
            while True:
                try:
                    return super().do_read()
                except ConnectionError:
                    continue  # left while waiting in the queue: the next one
        except OSError as error:
            # Out of descriptors or memory: the queue keeps the client until there is room.
            self.report("accept failed", {"error": str(error)})
            self.stop_accepting()
            gevent.spawn_later(_ACCEPT_PAUSE_S, self._resume)
            return None

    def _resume(self) -> None:
        if self.started:
            self.start_accepting()


class _ErrorStream(io.TextIOBase):
    """`wsgi.errors`."""

    def __init__(self, report: ErrorLog) -> None:
        self._report = report

    def write(self, text: str, /) -> int:
        if text.strip():
            self._report("wsgi errors", {"text": text.rstrip()})
        return len(text)


def raise_fd_limit() -> int:
    """Raise the soft limit of open files to the hard one, and return it."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard
