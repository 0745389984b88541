"""Bodies that are not all there yet: each piece leaves when it comes, and none is made up."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import gevent
import pytest
from gevent.queue import Queue

from fastreg.server import sending
from fastreg.server.sending import Segment
from tests.server.segments import Segments
from tests.server.wire import Client, StartServer, get, request, wait_until

LENGTH = 10


class Stream(Segments):
    """Gives what is put into `source` as it comes, up to None."""

    def __init__(self, source: Queue[Segment | Exception | None], length: int = LENGTH) -> None:
        super().__init__([], ())
        self.files = None
        self._length = length
        self._source = source

    def segments(self) -> Iterator[Segment]:
        while (segment := self._source.get()) is not None:
            if isinstance(segment, Exception):
                raise segment
            yield segment


class Streaming:
    def __init__(self, length: int = LENGTH) -> None:
        self.source: Queue[Segment | Exception | None] = Queue()
        self.length = length
        self.answered: list[Stream] = []

    def __call__(self, environ: Any, start_response: Any) -> Stream:
        start_response("200 OK", [("Content-Length", str(self.length))])
        self.answered.append(Stream(self.source, self.length))
        return self.answered[-1]

    def give(self, *segments: Segment | Exception | None) -> None:
        for segment in segments:
            self.source.put(segment)


@pytest.fixture
def app() -> Streaming:
    return Streaming()


@pytest.fixture
def file(tmp_path: Path) -> Iterator[int]:
    path = tmp_path / "growing"
    path.write_bytes(b"0123456789")
    fd = os.open(path, os.O_RDONLY)
    yield fd
    os.close(fd)


def ask(app: Streaming, start_server: StartServer) -> Client:
    client = start_server(app).connect()
    client.send(get())
    wait_until(lambda: app.answered)
    return client


def received(client: Client) -> bytes:
    data: bytes = client.sock.recv(65536)
    return data


def test_each_piece_leaves_when_it_comes(
    app: Streaming, file: int, start_server: StartServer
) -> None:
    client = ask(app, start_server)
    app.give((file, 0, 3))
    assert received(client).endswith(b"\r\n\r\n012")
    app.give((file, 3, 4))
    assert received(client) == b"3456"
    app.give(b"789", None)
    assert received(client) == b"789"
    client.send(request("HEAD", "/"))
    assert client.answer("HEAD").headers["content-length"] == "10"
    assert app.answered[0].is_closed


def test_the_head_waits_for_the_first_piece(app: Streaming, start_server: StartServer) -> None:
    client = ask(app, start_server)
    client.sock.settimeout(0.02)
    with pytest.raises(TimeoutError):
        received(client)
    client.sock.settimeout(10)
    app.give(b"", b"x" * 10, None)
    assert received(client).endswith(b"\r\n\r\n" + b"x" * 10)


def test_head_waits_for_nothing(app: Streaming, start_server: StartServer) -> None:
    answer = start_server(app).request(request("HEAD", "/"))
    assert (answer.status, answer.headers["content-length"]) == (200, "10")
    assert app.answered[0].is_closed


FAILURES: list[Callable[[], Exception]] = [
    lambda: RuntimeError("the store failed"),
    lambda: OSError(errno.EIO, "disk"),
    lambda: ConnectionResetError("by the store"),
    lambda: TimeoutError("of the store"),
]


@pytest.mark.parametrize("failure", FAILURES, ids=lambda make: type(make()).__name__)
def test_a_failure_in_between_is_told_and_cuts_the_connection(
    failure: Callable[[], Exception], app: Streaming, start_server: StartServer
) -> None:
    running = start_server(app)
    client = running.connect()
    client.send(get())
    app.give(b"12345")
    assert received(client).endswith(b"12345")
    app.give(failure())
    with pytest.raises(ConnectionResetError):
        client.rest()
    wait_until(lambda: running.records)
    ((event, fields),) = running.errors
    assert (event, fields["error"]) == ("request failed", repr(failure()))
    assert app.answered[0].is_closed


@pytest.mark.parametrize("failure", FAILURES, ids=lambda make: type(make()).__name__)
def test_a_failure_before_the_first_piece_is_an_answer(
    failure: Callable[[], Exception], app: Streaming, start_server: StartServer
) -> None:
    app.give(failure())
    assert start_server(app).request(get()).status == 500


def test_a_failure_that_the_application_told_of_is_not_told_again(
    app: Streaming, start_server: StartServer
) -> None:
    running = start_server(app)
    app.give(ConnectionAbortedError("told"))
    assert running.request(get()).status == 503
    client = running.connect()
    client.send(get())
    app.give(b"12345", ConnectionAbortedError("told"))
    with pytest.raises(ConnectionResetError):
        client.rest()
    wait_until(lambda: len(running.records) == 2)
    assert running.records[1].bytes_sent == 5
    assert running.errors == []


@pytest.mark.parametrize(
    "pieces",
    [[b"12345"], [b"12345", b"123456"], [b"12345678901"]],
    ids=["short", "long", "at once"],
)
def test_another_length_than_announced_never_ends_as_if_whole(
    pieces: list[bytes], app: Streaming, start_server: StartServer
) -> None:
    client = ask(app, start_server)
    app.give(*pieces, None)
    with pytest.raises(ConnectionResetError):
        client.rest()
    assert app.answered[0].is_closed


def test_what_is_not_all_there_is_not_published(app: Streaming, start_server: StartServer) -> None:
    running = start_server(app)
    for number in range(1, 4):
        app.give(b"12345", b"67890", None)
        assert running.request(get("/v2/app/manifests/v1")).body == b"1234567890"
        assert len(app.answered) == number
    assert running.server.lane.published == 0


class _Taker:
    """A socket that takes everything at once."""

    def settimeout(self, seconds: float) -> None: ...

    def send(self, data: memoryview, flags: int) -> int:
        return len(data)


def test_a_source_that_is_always_ready_lets_others_run() -> None:
    def segments() -> Iterator[Segment]:
        while not is_over:
            pieces.append(b"x" * (256 << 10))
            yield pieces[-1]

    is_over: list[bool] = []
    pieces: list[bytes] = []
    other = gevent.spawn(lambda: is_over.append(True))
    with pytest.raises(sending.WrongLength):
        sending.send_segments(_Taker(), segments(), 1 << 40, 1)  # type: ignore[arg-type]
    assert other.successful()
    assert len(pieces) == 4
