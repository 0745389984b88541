"""How requests get to an account: kept connections, proxies, bodies of any kind."""

from __future__ import annotations

import http.server
import socket
import threading
import time
from collections.abc import Iterator

import pytest
from azure.core.rest import HttpRequest

from fastreg.storage.azure_transport import Transport, Unreachable

BODY = b"0123456789" * 100


class Account(http.server.BaseHTTPRequestHandler):
    """Answers what it was sent, and remembers how it was asked."""

    protocol_version = "HTTP/1.1"
    seen: list[Account]

    def parse_request(self) -> bool:
        is_one = super().parse_request()
        if is_one:
            self.seen.append(self)
        return is_one

    def do_PUT(self) -> None:
        self.body = self.rfile.read(int(self.headers["Content-Length"]))
        self._answer(self.body)

    def do_GET(self) -> None:
        self._answer(BODY)

    def do_HEAD(self) -> None:
        self._answer(BODY)

    def _answer(self, body: bytes) -> None:
        cut = int(self.headers.get("X-Cut", "0"))
        self.send_response(200)
        self.send_header("Content-Length", str(len(body) + cut))
        self.send_header("X-Ms-Meta-Put", "mark")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)
        self.close_connection = bool(cut)

    def log_message(self, *args: object) -> None:
        pass


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self) -> None:
        self.requests: list[Account] = []
        self.connections = 0
        super().__init__(("127.0.0.1", 0), type("Seen", (Account,), {"seen": self.requests}))

    def process_request(self, *args: object) -> None:
        self.connections += 1
        super().process_request(*args)  # type: ignore[arg-type]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def transport(server: Server) -> Iterator[Transport]:
    with Transport(server.url, verify_tls=True, timeout_s=20) as transport:
        yield transport


@pytest.mark.parametrize("stream", [False, True])
def test_an_answer_is_read_whole(server: Server, transport: Transport, stream: bool) -> None:
    response = transport.send(HttpRequest("GET", f"{server.url}/a"), stream=stream)
    assert (response.status_code, response.reason) == (200, "OK")
    assert response.headers["x-ms-meta-put"] == "mark"
    assert response.read() == b"".join(response.iter_raw()) == BODY
    assert response.text() == BODY.decode()


def test_an_answer_without_a_body_has_none(server: Server, transport: Transport) -> None:
    response = transport.send(HttpRequest("HEAD", f"{server.url}/a"))
    assert response.read() == b""
    assert response.headers["Content-Length"] == str(len(BODY))


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_any_kind_of_buffer_is_sent(
    server: Server, transport: Transport, kind: type[bytes]
) -> None:
    request = HttpRequest("PUT", f"{server.url}/a", content=kind(BODY))
    assert transport.send(request).read() == BODY


def test_connections_are_kept(server: Server, transport: Transport) -> None:
    for method in ("GET", "HEAD", "PUT", "GET"):
        content = b"x" if method == "PUT" else None
        transport.send(HttpRequest(method, f"{server.url}/a", content=content))
    response = transport.send(HttpRequest("GET", f"{server.url}/a"), stream=True)
    assert response.read() == BODY
    transport.send(HttpRequest("GET", f"{server.url}/a"))
    assert server.connections == 1


@pytest.mark.parametrize("stream", [False, True])
def test_an_answer_that_is_cut_short_is_a_failure(
    server: Server, transport: Transport, stream: bool
) -> None:
    request = HttpRequest("GET", f"{server.url}/a?sig=secret", headers={"X-Cut": "1"})
    with pytest.raises(Unreachable, match="the connection to 127") as caught:
        transport.send(request, stream=stream).read()
    assert "secret" not in str(caught.value)


def test_the_environments_proxy_is_asked(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    proxy = server.url.replace("://", "://user:word@")
    monkeypatch.setenv("http_proxy", proxy)
    monkeypatch.setenv("no_proxy", "elsewhere.invalid")
    with Transport("http://account.invalid", verify_tls=True, timeout_s=20) as transport:
        transport.send(HttpRequest("GET", "http://account.invalid/a"))
    assert server.requests[0].path == "http://account.invalid/a"
    assert server.requests[0].headers["Proxy-Authorization"] == "Basic dXNlcjp3b3Jk"


def test_a_proxy_that_cannot_be_used_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    with (
        Transport("http://account.invalid", verify_tls=True, timeout_s=20) as transport,
        pytest.raises(Unreachable) as caught,
    ):
        transport.send(HttpRequest("GET", "http://account.invalid/a"))
    assert str(caught.value).startswith("the proxy on the way to account.invalid")


def test_a_proxy_is_not_asked_for_what_is_excepted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    monkeypatch.setenv("no_proxy", "account.invalid")
    with (
        Transport("http://account.invalid", verify_tls=True, timeout_s=20) as transport,
        pytest.raises(Unreachable, match=r"account\.invalid does not resolve"),
    ):
        transport.send(HttpRequest("GET", "http://account.invalid/a"))


def test_a_proxy_is_not_asked_for_this_machine(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    with Transport(server.url, verify_tls=True, timeout_s=20) as transport:
        assert transport.send(HttpRequest("GET", f"{server.url}/a")).read() == BODY


def test_a_body_may_take_longer_than_the_timeout_while_it_moves_on() -> None:
    size, slow_steps = 48 << 20, 32
    sent = memoryview(bytes(size))
    taken = []

    def take_slowly(listener: socket.socket) -> None:
        connection, _ = listener.accept()
        with connection, connection.makefile("rb") as stream:
            while stream.readline().strip():
                pass
            for _ in range(slow_steps):
                taken.append(len(stream.read(1 << 20)))
                time.sleep(0.1)
            taken.append(len(stream.read(size - sum(taken))))
            connection.sendall(b"HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n")

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=take_slowly, args=(listener,))
        thread.start()
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        with Transport(url, verify_tls=True, timeout_s=2) as transport:
            head = {"Content-Length": str(size)}
            answer = transport.send(HttpRequest("PUT", url, content=sent, headers=head))
        thread.join()
    assert answer.status_code == 201
    assert sum(taken) == size
