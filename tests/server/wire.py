"""A client whose every byte the test decides on, over gevent's sockets."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import gevent
from gevent import socket as gsocket

from fastreg.server.listener import bind
from fastreg.server.server import Server
from fastreg.server.settings import AccessRecord, Settings


@dataclass
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    def error(self) -> dict[str, Any]:
        """The one error of an error answer."""
        (error,) = json.loads(self.body)["errors"]
        assert set(error) == {"code", "message", "detail"}
        return dict(error)


class Client:
    def __init__(self, port: int) -> None:
        self.sock = gsocket.create_connection(("127.0.0.1", port), timeout=10)

    def send(self, data: bytes) -> None:
        self.sock.sendall(data)

    def send_until_refused(self, data: bytes, limit: int, pause_s: float = 0) -> int:
        """Send again and again; return how many bytes went before the server was gone."""
        sent = 0
        try:
            while sent < limit:
                sent += self.sock.send(data)
                gevent.sleep(pause_s)
        except ConnectionError:
            pass  # what was waited for
        return sent

    def finish(self) -> None:
        """Send nothing more."""
        self.sock.shutdown(gsocket.SHUT_WR)

    def answer(self, method: str = "GET") -> Answer:
        """Read exactly one answer, and no byte after it."""
        head = self._until(b"\r\n\r\n").decode("latin-1")
        status_line, *lines = head[:-4].split("\r\n")
        pairs = [line.split(": ", 1) for line in lines]
        headers = {name.lower(): value for name, value in pairs}
        assert len(headers) == len(pairs), f"a header is repeated: {head}"
        status = int(status_line.split(" ")[1])
        if method == "HEAD" or status in (204, 304):
            return Answer(status, headers, b"")
        if headers.get("transfer-encoding") == "chunked":
            return Answer(status, headers, self._chunks())
        return Answer(status, headers, self.read(int(headers["content-length"])))

    def read(self, count: int) -> bytes:
        data = b""
        while len(data) < count:
            piece = self.sock.recv(count - len(data))
            assert piece, f"the server closed after {data[-200:]!r}"
            data += piece
        return data

    def rest(self) -> bytes:
        """Read until the server closes."""
        data = b""
        while piece := self.sock.recv(65536):
            data += piece
        return data

    def close(self) -> None:
        self.sock.close()

    def _until(self, end: bytes) -> bytes:
        data = b""
        while not data.endswith(end):
            data += self.read(1)
        return data

    def _chunks(self) -> bytes:
        data = b""
        while size := int(self._until(b"\r\n"), 16):
            data += self.read(size)
            assert self.read(2) == b"\r\n"
        assert self.read(2) == b"\r\n"
        return data


class Records(list[AccessRecord]):
    """An access log: the application's answers as records, the lane's as lines."""

    def __init__(self) -> None:
        self.lines = b""

    def __call__(self, record: AccessRecord, /) -> None:
        self.append(record)

    def write_lines(self, lines: bytes, /) -> None:
        self.lines += lines


@dataclass
class Running:
    """A server in the test's own event loop."""

    server: Server
    port: int
    records: Records = field(default_factory=Records)
    errors: list[tuple[str, dict[str, object]]] = field(default_factory=list)
    clients: list[Client] = field(default_factory=list)

    def connect(self) -> Client:
        client = Client(self.port)
        self.clients.append(client)
        return client

    def request(self, data: bytes) -> Answer:
        """Send on a connection of its own, and read one answer."""
        client = self.connect()
        client.send(data)
        return client.answer(data.split(b" ")[0].decode())


StartServer = Callable[..., Running]


@contextmanager
def servers() -> Iterator[StartServer]:
    """Start servers that end with the block: `start(app, **settings)`."""
    started: list[Running] = []

    def start(app: Any, generations: memoryview | None = None, **settings: Any) -> Running:
        (sock,) = bind("127.0.0.1:0")
        records = Records()
        errors: list[tuple[str, dict[str, object]]] = []
        server = Server(
            [sock],
            app,
            settings=Settings(**settings),
            access_log=records,
            error_log=lambda event, fields: errors.append((event, fields)),
            generations=generations,
        )
        server.start()
        running = Running(server, sock.getsockname()[1], records, errors)
        sock.close()
        started.append(running)
        return running

    try:
        yield start
    finally:
        for running in started:
            for client in running.clients:
                client.close()
            running.server.drain(0)


def get(path: str = "/", *headers: str) -> bytes:
    return request("GET", path, *headers)


def request(method: str, path: str, *headers: str, body: bytes = b"") -> bytes:
    return "\r\n".join([f"{method} {path} HTTP/1.1", "Host: reg", *headers, "", ""]).encode() + body


def hello(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "5")])
    return [b"hello"]


def swallow(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    """Read the whole body, and answer how long it was."""
    length = 0
    while data := environ["wsgi.input"].read(1 << 20):
        length += len(data)
    body = b"%d" % length
    start_response("200 OK", [("Content-Length", str(len(body)))])
    return [body]


def wait_until(is_true: Callable[[], object], timeout_s: float = 10) -> None:
    """Let the server run until something holds."""
    with gevent.Timeout(timeout_s):
        while not is_true():
            gevent.sleep(0.005)
