"""Bodies that go into a file without being seen by the application."""

from __future__ import annotations

import errno
import os
import random
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import gevent
import pytest

from fastreg.fastlane import Sha256, Sink
from tests.server.wire import StartServer, get, hello, request, wait_until

CHUNKED = "Transfer-Encoding: chunked"


def chunks(*pieces: bytes) -> bytes:
    return b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces)


class Pouring:
    """An application that pours every body into one file."""

    def __init__(self, fd: int, max_bytes: int = 1 << 30) -> None:
        self.sink = Sink(nullcontext(fd), 0, Sha256())
        self.counts: list[int] = []
        self.failures: list[OSError] = []
        self._max_bytes = max_bytes

    def __call__(self, environ: Any, start_response: Any) -> list[bytes]:
        body = environ["wsgi.input"]
        try:
            while count := body.pour(self.sink, self._max_bytes):
                self.counts.append(count)
        except OSError as failure:
            self.failures.append(failure)
            with pytest.raises(type(failure)):
                body.pour(self.sink, self._max_bytes)
        return hello(environ, start_response)


@pytest.fixture
def fd(tmp_path: Path) -> Iterator[int]:
    number = os.open(tmp_path / "file", os.O_RDWR | os.O_CREAT)
    yield number
    os.close(number)


def content_of(fd: int) -> bytes:
    return os.pread(fd, 1 << 30, 0)


@pytest.mark.parametrize("max_bytes", [70_001, 1 << 30])
@pytest.mark.parametrize("size", [1, 65_536, 3_000_001])
def test_a_body_is_poured_whole(
    size: int, max_bytes: int, fd: int, start_server: StartServer
) -> None:
    app = Pouring(fd, max_bytes)
    body = random.Random(size).randbytes(size)
    client = start_server(app).connect()
    client.send(request("PUT", "/", f"Content-Length: {size}", body=body))
    assert client.answer().status == 200
    pieces = [body[at : at + 70_000] for at in range(0, size, 70_000)]
    client.send(request("PUT", "/", CHUNKED, body=chunks(*pieces) + b"0\r\n\r\n"))
    assert client.answer().status == 200
    assert content_of(fd) == body + body
    assert app.sink.size == sum(app.counts) == 2 * size
    assert max(app.counts) <= max_bytes


@pytest.mark.parametrize("framing", ["Content-Length: 5", CHUNKED])
def test_the_next_request_is_not_poured_with_the_body(
    framing: str, fd: int, start_server: StartServer
) -> None:
    app = Pouring(fd)
    body = b"abcde" if framing != CHUNKED else chunks(b"abc", b"de") + b"0\r\nX: y\r\n\r\n"
    one = request("PUT", "/", framing, body=body)
    client = start_server(app).connect()
    client.send(one + get("/next") + one)
    for _ in range(3):
        assert client.answer().status == 200
    assert content_of(fd) == b"abcdeabcde"


@pytest.mark.parametrize("framing", ["Content-Length: 5", CHUNKED])
def test_a_request_split_at_every_byte_is_poured_alike(
    framing: str, fd: int, start_server: StartServer
) -> None:
    app = Pouring(fd)
    body = b"abcde" if framing != CHUNKED else chunks(b"abc", b"de") + b"0\r\n\r\n"
    client = start_server(app).connect()
    for byte in request("PUT", "/", framing, body=body) + get("/next"):
        client.send(bytes([byte]))
        gevent.sleep(0)
    assert client.answer().status == client.answer().status == 200
    assert content_of(fd) == b"abcde"


def test_reading_and_pouring_share_one_body(fd: int, start_server: StartServer) -> None:
    sink = Sink(nullcontext(fd), 0, None)
    seen = []

    def app(environ: Any, start_response: Any) -> list[bytes]:
        body = environ["wsgi.input"]
        seen.extend([body.read(3), body.pour(sink, 2), body.read(1), body.pour(sink, 99)])
        seen.extend([body.read(9), body.pour(sink, 99)])
        return hello(environ, start_response)

    raw = chunks(b"abcd", b"ef", b"ghi") + b"0\r\n\r\n"
    running = start_server(app)
    for framing, body in ((CHUNKED, raw), ("Content-Length: 9", b"abcdefghi")):
        running.request(request("PUT", "/", framing, body=body))
    assert seen == [b"abc", 2, b"f", 3, b"", 0] * 2
    assert content_of(fd) == b"deghi" * 2


@pytest.mark.parametrize("framing", ["Content-Length: 9000000", CHUNKED])
def test_a_stalled_body_times_out_after_what_arrived(
    framing: str, fd: int, start_server: StartServer
) -> None:
    app = Pouring(fd)
    client = start_server(app, body_timeout_s=0.1).connect()
    client.send(request("PUT", "/", framing, body=b"5\r\nabcde\r\n"))
    assert client.answer().headers["connection"] == "close"
    assert b"abcde" in content_of(fd)
    assert [type(failure) for failure in app.failures] == [TimeoutError]
    assert client.rest() == b""


@pytest.mark.parametrize(
    ("framing", "trickle"),
    [("Content-Length: 9000000", b"x"), (CHUNKED, b"1\r\nx\r\n"), (CHUNKED, b"0")],
    ids=["length", "chunks", "line"],
)
@pytest.mark.parametrize("pause_s", [0.0005, 0.05])
def test_a_body_that_trickles_times_out(
    pause_s: float, framing: str, trickle: bytes, fd: int, start_server: StartServer
) -> None:
    app = Pouring(fd)
    client = start_server(app, body_timeout_s=0.3, body_pace_bytes=1 << 20).connect()
    client.send(request("PUT", "/", framing))
    limit = 10_000 * len(trickle)
    assert client.send_until_refused(trickle, limit=limit, pause_s=pause_s) < limit
    wait_until(lambda: app.failures)
    # Sixteen digits in time are no size of a chunk.
    assert isinstance(app.failures[0], OSError if trickle == b"0" else TimeoutError)


@pytest.mark.parametrize("framing", ["Content-Length: 9000000", CHUNKED])
def test_a_short_body_is_a_reset_after_what_arrived(
    framing: str, fd: int, start_server: StartServer
) -> None:
    app = Pouring(fd)
    client = start_server(app).connect()
    client.send(request("PUT", "/", framing, body=b"5\r\nabcde\r\n"))
    client.finish()
    assert client.answer().headers["connection"] == "close"
    assert b"abcde" in content_of(fd)
    assert [type(failure) for failure in app.failures] == [ConnectionResetError]


def test_bad_chunks_are_ebadmsg_after_what_was_good(fd: int, start_server: StartServer) -> None:
    app = Pouring(fd)
    client = start_server(app).connect()
    client.send(request("PUT", "/", CHUNKED, body=b"5\r\nabcde\r\nxyz\r\n"))
    assert client.answer().headers["connection"] == "close"
    assert content_of(fd) == b"abcde"
    assert [failure.errno for failure in app.failures] == [errno.EBADMSG]


def test_a_trickle_is_gathered_before_a_thread_is_asked(
    fd: int, start_server: StartServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fastreg.server.body._TRICKLE_PAUSE_S", 0.5)
    app = Pouring(fd)
    client = start_server(app).connect()
    client.send(request("PUT", "/", CHUNKED, body=b"1\r\nx\r\n"))
    wait_until(lambda: app.counts)
    for _ in range(50):
        client.send(b"1\r\nx\r\n")
        gevent.sleep(0.001)
    client.send(b"0\r\n\r\n")
    assert client.answer().status == 200
    assert sum(app.counts) == 51
    assert len(app.counts) < 30


def test_100_continue_is_sent_by_the_first_pour(fd: int, start_server: StartServer) -> None:
    client = start_server(Pouring(fd)).connect()
    client.send(request("PUT", "/", "Content-Length: 3", "Expect: 100-Continue"))
    assert client.read(25) == b"HTTP/1.1 100 Continue\r\n\r\n"
    client.send(b"abc")
    assert client.answer().status == 200
    assert content_of(fd) == b"abc"


def test_a_connection_that_is_killed_gives_its_descriptors_back(
    fd: int, start_server: StartServer
) -> None:
    app = Pouring(fd)
    before = len(os.listdir("/proc/self/fd"))
    running = start_server(app)
    client = running.connect()
    client.send(request("PUT", "/", "Content-Length: 9000000", body=b"abc"))
    wait_until(lambda: app.counts)
    assert not running.server.drain(0)
    client.close()
    wait_until(lambda: len(os.listdir("/proc/self/fd")) <= before + 1)
    assert content_of(fd) == b"abc"
    assert app.sink.size == 3
