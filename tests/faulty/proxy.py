"""A proxy before a storage account that does to chosen requests what a bad day does.

It forwards what it is sent byte for byte (signatures stay right), counts requests and bytes,
and hands each request that a rule names to a fault instead. A fault is a function of the
`Exchange`; those of `faults.py` are enough for most tests.
"""

from __future__ import annotations

import http.client
import socket
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

from tests.faulty.exchange import NO_LINGER, Exchange
from tests.faulty.faults import Fault
from tests.faulty.seen import Seen, see


@dataclass
class Rule:
    """Which requests a fault is for: `times` of them from the `nth` that the rest matches."""

    kind: str
    fault: Fault
    nth: int = 1
    times: int = 1
    key: str = ""
    """What the key ends with."""
    matched: int = 0

    def takes(self, seen: Seen) -> bool:
        if seen.kind != self.kind or not seen.key.endswith(self.key):
            return False
        self.matched += 1
        return self.nth <= self.matched < self.nth + self.times

    @property
    def is_done(self) -> bool:
        return self.matched >= self.nth + self.times - 1


class FaultProxy:
    """Listens on a port of its own; `url` is the account's address through it."""

    def __init__(self, account_url: str) -> None:
        url = urlsplit(account_url)
        self.account = (str(url.hostname), url.port or 80)
        self.seen: list[Seen] = []
        """Every request, in the order of arrival."""
        self.is_cut = False
        self._choose: Callable[[Seen], Fault | None] = lambda seen: None
        self._rules: list[Rule] = []
        self._arrived: Counter[str] = Counter()
        self._lock = threading.Lock()
        self._connections: set[socket.socket] = set()
        self._ended = threading.Event()
        self._server = _Server(self)
        self.url = f"http://127.0.0.1:{self._server.server_port}{url.path}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self._thread.start()

    # --- what a test says

    def inject(
        self, kind: str, fault: Fault, *, nth: int = 1, times: int = 1, key: str = ""
    ) -> Rule:
        """Let the fault happen to `times` requests from the `nth` of those yet to come."""
        rule = Rule(kind, fault, nth, times, key)
        with self._lock:
            self._rules.append(rule)
        return rule

    def choose(self, choose: Callable[[Seen], Fault | None]) -> None:
        """Ask `choose` for the fault of every request that no rule takes."""
        self._choose = choose

    def restore(self) -> None:
        """Have the network back."""
        self.is_cut = False

    def heal(self) -> None:
        """Forget every rule, and what was counted."""
        with self._lock:
            self._rules.clear()
            self.seen.clear()
            self._arrived.clear()
        self._choose = lambda seen: None
        self.restore()

    def cut(self) -> None:
        """Take the network away: connections are reset, new ones too, until `restore`."""
        self.is_cut = True
        with self._lock:
            for connection in self._connections:
                with _gone():
                    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, NO_LINGER)
                    connection.shutdown(socket.SHUT_RDWR)

    # --- what a test asks

    def requests(self, kind: str, key: str = "") -> list[Seen]:
        with self._lock:
            return [s for s in self.seen if s.kind == kind and s.key.endswith(key)]

    def count(self, kind: str, key: str = "") -> int:
        return len(self.requests(kind, key))

    def fetched_bytes(self, key: str = "") -> int:
        """Bytes of blobs that the account sent."""
        return sum(seen.fetched_bytes for seen in self.requests("get", key))

    def close(self) -> None:
        self._ended.set()
        self.cut()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def __enter__(self) -> FaultProxy:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    # --- one request

    def wait_for_the_end(self) -> None:
        self._ended.wait()

    def handle(self, handler: BaseHTTPRequestHandler) -> None:
        length = int(handler.headers.get("Content-Length", 0))
        seen = see(handler.command, handler.path, dict(handler.headers.items()))
        exchange = Exchange(self, handler, seen, handler.rfile.read(length))
        fault = self._note(seen)
        try:
            with _gone():
                fault(exchange)
        finally:
            for connection in exchange.opened:
                connection.close()
            seen.is_over = True

    def _note(self, seen: Seen) -> Fault:
        with self._lock:
            self.seen.append(seen)
            self._arrived[seen.kind] += 1
            seen.number = self._arrived[seen.kind]
            taken = [rule for rule in self._rules if rule.takes(seen)]
        if self.is_cut:
            return Exchange.reset
        return taken[0].fault if taken else self._choose(seen) or Exchange.pass_on

    @contextmanager
    def connected(self, connection: socket.socket) -> Iterator[None]:
        with self._lock:
            self._connections.add(connection)
        try:
            yield
        finally:
            with self._lock:
                self._connections.discard(connection)


@contextmanager
def _gone() -> Iterator[None]:
    """One of the two ends may go at any moment."""
    try:
        yield
    except (OSError, http.client.HTTPException):
        pass


class _Server(ThreadingHTTPServer):
    request_queue_size = 256

    def __init__(self, proxy: FaultProxy) -> None:
        self.proxy = proxy
        super().__init__(("127.0.0.1", 0), _Handler)

    def handle_error(self, request: Any, client_address: Any) -> None:
        pass  # the connection is gone: its client noticed, and tells


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Server

    def handle(self) -> None:
        with self.server.proxy.connected(self.connection), _gone():
            super().handle()

    def do_GET(self) -> None:
        self.server.proxy.handle(self)

    do_HEAD = do_PUT = do_DELETE = do_POST = do_GET

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        pass
