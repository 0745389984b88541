"""Connections that are kept, and requests on them."""

from __future__ import annotations

import contextlib
import functools
import socket
import ssl
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection
from typing import NamedTuple
from urllib.parse import urlsplit

from loadtests.client.answers import Answer
from loadtests.client.failures import Disconnected, Failure

IDLE_S = 1.0
"""A connection that was unused for longer is looked at before it is used."""


class Origin(NamedTuple):
    scheme: str
    host: str
    port: int


def split(url: str) -> tuple[Origin, str]:
    """Return where an absolute URL leads, and the target to ask for there."""
    try:
        parts = urlsplit(url)
        port = parts.port or (443 if parts.scheme == "https" else 80)
    except ValueError as error:
        raise Failure(f"not an address of a registry: {url!r}, {error}") from None
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise Failure(f"not an address of a registry: {url!r}")
    target = f"{parts.path or '/'}{'?' if parts.query else ''}{parts.query}"
    return Origin(parts.scheme, parts.hostname, port), target


@dataclass
class Body:
    """What is sent; `pieces` begins anew at each call."""

    pieces: Callable[[], Iterator[bytes | memoryview]]
    length: int | None
    """None sends it in chunked transfer encoding."""
    sent_bytes: int = 0

    @property
    def framing(self) -> dict[str, str]:
        if self.length is None:
            return {"Transfer-Encoding": "chunked"}
        return {"Content-Length": str(self.length)}

    def __iter__(self) -> Iterator[bytes | memoryview]:
        for piece in self.pieces():
            yield piece
            self.sent_bytes += len(piece)


class Request(NamedTuple):
    method: str
    origin: Origin
    target: str
    headers: Mapping[str, str]
    body: Body | None


class Connection:
    """A connection of http.client, and when it was last used."""

    def __init__(self, origin: Origin, timeout_s: float, verify_tls: bool) -> None:
        self.origin = origin
        self.is_kept = False
        self.is_broken = False
        self.is_ended = False
        self.used_s = 0.0
        self.http = (
            HTTPConnection(origin.host, origin.port, timeout=timeout_s)
            if origin.scheme == "http"
            else HTTPSConnection(
                origin.host, origin.port, timeout=timeout_s, context=tls_context(verify_tls)
            )
        )

    def ask(self, request: Request) -> HTTPResponse:
        """Send a request; return its answer, also one that comes before the body is read."""
        method, _, target, headers, body = request
        if self.http.sock is None:
            self.http.connect()
        if self.is_ended:
            raise ConnectionAbortedError("closed while it was opened")
        if body is None:
            self.http.request(method, target, headers=headers)
            return self.http.getresponse()
        headers = {**headers, **body.framing}
        try:
            self.http.request(method, target, body, headers, encode_chunked=body.length is None)
        except (BrokenPipeError, ConnectionResetError):
            self.is_broken = True  # the answer tells why
        return self.http.getresponse()

    def is_stale(self) -> bool:
        """Has the server closed it, or said something unasked?"""
        sock = self.http.sock
        if sock is None or time.monotonic() - self.used_s < IDLE_S:
            return sock is None
        before = sock.gettimeout()
        sock.settimeout(0)
        try:
            socket.socket.recv(sock, 1, socket.MSG_PEEK)
        except BlockingIOError:
            sock.settimeout(before)
            return False
        except OSError:
            pass  # reset: as good as closed
        return True

    def shut_down(self) -> None:
        """End it under whoever waits for it, or is about to."""
        self.is_ended = True
        with contextlib.suppress(OSError, AttributeError):
            self.http.sock.shutdown(socket.SHUT_RDWR)


@functools.cache
def tls_context(verify: bool) -> ssl.SSLContext:
    context = ssl.create_default_context()
    if not verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


class Connections:
    """The connections of one node: reused, the last used one first."""

    def __init__(self, timeout_s: float, verify_tls: bool) -> None:
        self._timeout_s = timeout_s
        self._verify_tls = verify_tls
        self._idle: dict[Origin, list[Connection]] = defaultdict(list)
        self._busy: set[Connection] = set()
        self._lock = threading.Lock()

    def ask(self, request: Request) -> Answer:
        """Return the answer to a request; raise Disconnected.

        A GET or HEAD that meets a connection closed by the server is sent once more.
        """
        connection = self._take(request.origin)
        was_kept = connection.is_kept
        try:
            return Answer(connection.ask(request), functools.partial(self._end, connection))
        except (OSError, HTTPException) as error:
            self._end(connection, is_reusable=False)
            is_stale = was_kept and isinstance(error, ConnectionResetError | BrokenPipeError)
            if connection.is_ended or not (is_stale and request.method in ("GET", "HEAD")):
                raise Disconnected(f"{type(error).__name__}: {error}") from error
        except BaseException:
            self._end(connection, is_reusable=False)
            raise
        self._forget(connection.origin)
        return self.ask(request)

    def _take(self, origin: Origin) -> Connection:
        with self._lock:
            while self._idle[origin]:
                connection = self._idle[origin].pop()
                if not connection.is_stale():
                    break
                connection.http.close()
            else:
                connection = Connection(origin, self._timeout_s, self._verify_tls)
            self._busy.add(connection)
        return connection

    def _forget(self, origin: Origin) -> None:
        with self._lock:
            for connection in self._idle.pop(origin, []):
                connection.http.close()

    def _end(self, connection: Connection, is_reusable: bool) -> None:
        with self._lock:
            is_lasting = connection in self._busy and not connection.is_broken
            self._busy.discard(connection)
            if is_reusable and is_lasting:
                connection.is_kept, connection.used_s = True, time.monotonic()
                self._idle[connection.origin].append(connection)
                return
        connection.http.close()

    def close(self) -> None:
        """Close all connections; requests under way fail."""
        with self._lock:
            for connections in self._idle.values():
                for connection in connections:
                    connection.http.close()
            self._idle.clear()
            for connection in self._busy:
                connection.shut_down()
            self._busy.clear()
