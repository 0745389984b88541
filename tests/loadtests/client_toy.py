"""A server that answers as a test tells it to, wrongly where it must; nodes that ask it."""

from __future__ import annotations

import contextlib
import json
import socketserver
import ssl
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from typing import Any

from loadtests.client.registry import Registry
from loadtests.client.verify import digest_of
from tests.tls import Certificate

TIMEOUT_S = 30
INDEX_TYPE = "application/vnd.oci.image.index.v1+json"
MANIFEST_TYPE = "application/vnd.oci.image.manifest.v1+json"


@dataclass(frozen=True)
class Seen:
    """A request, and the number of its connection."""

    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes
    connection: int


@dataclass(frozen=True)
class Reply:
    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    length: int | None = None
    """What Content-Length says, if not how much there is."""
    is_chunked: bool = False
    is_last: bool = False
    """The connection is closed after it, without a word of that before."""


class Toy:
    """A server of 127.0.0.1 until its context ends."""

    def __init__(
        self, answer: Callable[[Seen], Reply], certificate: Certificate | None = None
    ) -> None:
        self.seen: list[Seen] = []
        self._answer = answer
        self._server = Server(("127.0.0.1", 0), handler_of(self))
        self.host = f"127.0.0.1:{self._server.server_address[1]}"
        self.connections = 0
        self.closed = self._server.closed
        if certificate:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate.file, certificate.key)
            self._server.socket = context.wrap_socket(
                self._server.socket, server_side=True, do_handshake_on_connect=False
            )
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))

    def __enter__(self) -> Toy:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def answer(self, seen: Seen) -> Reply:
        self.seen.append(seen)
        return self._answer(seen)

    def asked(self) -> list[str]:
        return [f"{seen.method} {seen.target}" for seen in self.seen]


class Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 64

    def __init__(self, address: tuple[str, int], handler: type[BaseHTTPRequestHandler]) -> None:
        super().__init__(address, handler)
        self.closed = threading.Semaphore(0)
        """Released when a connection is closed."""

    def shutdown_request(self, request: Any) -> None:
        super().shutdown_request(request)
        self.closed.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """The client has left in the middle, as it may."""


def handler_of(toy: Toy) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        timeout = TIMEOUT_S

        def setup(self) -> None:
            super().setup()
            toy.connections += 1
            self.number = toy.connections

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            """Say nothing."""

        def serve(self) -> None:
            headers = {name.lower(): value for name, value in self.headers.items()}
            body = self.rfile.read(int(headers.get("content-length", 0)))
            if "transfer-encoding" in headers:
                body = b"".join(iter(self.read_chunk, b""))
            self.send(toy.answer(Seen(self.command, self.path, headers, body, self.number)))

        def read_chunk(self) -> bytes:
            size = int(self.rfile.readline(), 16)
            return self.rfile.read(size + 2)[:size]

        def send(self, reply: Reply) -> None:
            self.send_response(reply.status)
            for name, value in reply.headers.items():
                self.send_header(name, value)
            if reply.is_chunked:
                self.send_header("Transfer-Encoding", "chunked")
            else:
                length = len(reply.body) if reply.length is None else reply.length
                self.send_header("Content-Length", str(length))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(in_chunks(reply.body) if reply.is_chunked else reply.body)
            self.close_connection = reply.is_last

        do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = serve

    return Handler


def in_chunks(body: bytes) -> bytes:
    half = len(body) // 2
    pieces = [piece for piece in (body[:half], body[half:]) if piece]
    return b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"


@dataclass
class Log:
    """What was observed."""

    entries: list[tuple[str, int, Exception | None]] = field(default_factory=list)

    def __call__(self, name: str, seconds: float, size: int, error: Exception | None) -> None:
        assert seconds >= 0
        self.entries.append((name, size, error))

    @property
    def names(self) -> list[str]:
        return [name for name, _, _ in self.entries]


@contextlib.contextmanager
def node(host: str, **options: Any) -> Iterator[Registry]:
    registry = Registry(host, **{"timeout_s": TIMEOUT_S, **options})
    try:
        yield registry
    finally:
        registry.close()


@dataclass(frozen=True)
class Piece:
    """A blob in memory."""

    content: bytes

    @property
    def size(self) -> int:
        return len(self.content)

    @property
    def digest(self) -> str:
        return digest_of(self.content)

    def chunks(self) -> Iterator[bytes]:
        """Yield it in pieces that divide nothing evenly."""
        for start in range(0, len(self.content), 100_003):
            yield self.content[start : start + 100_003]


def manifest_of(config: Piece, *layers: Piece) -> bytes:
    entries = [{"digest": piece.digest, "size": piece.size} for piece in (config, *layers)]
    return json.dumps({"config": entries[0], "layers": entries[1:]}).encode()


def index_of(**manifests: bytes) -> bytes:
    """Return an index of linux manifests, one an architecture."""
    entries = [
        {"digest": digest_of(content), "platform": {"os": "linux", "architecture": name}}
        for name, content in manifests.items()
    ]
    return json.dumps({"manifests": entries}).encode()
