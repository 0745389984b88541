"""Bodies of file segments: what is sent, when the disk is cold, when a client is slow."""

from __future__ import annotations

import os
import random
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gevent
import pytest

from fastreg.server import sending
from fastreg.server.offloop import MAX_THREADS, run_in_thread
from fastreg.server.sending import Segment
from tests.server.segments import Segments
from tests.server.wire import Running, StartServer, get, hello, request, wait_until

SIZE = 5_000_123


class FileApp:
    def __init__(self, path: Path) -> None:
        self.fd = os.open(path, os.O_RDONLY)
        self.segments: list[Segment] = [(self.fd, 0, SIZE)]
        self.answered: list[Segments] = []

    def __call__(self, environ: Any, start_response: Any) -> Segments:
        length = sending.segments_length(self.segments)
        start_response("200 OK", [("Content-Length", str(length))])
        self.answered.append(Segments(self.segments))
        return self.answered[-1]


@pytest.fixture
def content() -> bytes:
    return random.Random(1).randbytes(SIZE)


@pytest.fixture
def app(tmp_path: Path, content: bytes) -> Iterator[FileApp]:
    path = tmp_path / "blob"
    path.write_bytes(content)
    app = FileApp(path)
    yield app
    os.close(app.fd)


def test_a_file_is_sent_whole_and_the_connection_goes_on(
    app: FileApp, content: bytes, start_server: StartServer
) -> None:
    running = start_server(app)
    client = running.connect()
    for _ in range(2):
        client.send(get())
        assert client.answer().body == content
    assert [each.is_closed for each in app.answered] == [True, True]
    assert [record.bytes_sent for record in running.records] == [SIZE, SIZE]


def test_ranges_and_bytes_are_sent_in_order(
    app: FileApp, content: bytes, start_server: StartServer
) -> None:
    fd = app.fd
    app.segments = [b"--a\r\n", (fd, 7, 1), b"--b\r\n", (fd, 1_000_000, 2_500_000), b"", b"--c--"]
    answer = start_server(app).request(get())
    expected = [b"--a\r\n", content[7:8], b"--b\r\n", content[1_000_000:3_500_000], b"--c--"]
    assert answer.body == b"".join(expected)


def test_the_head_waits_for_the_first_bytes_of_the_file(
    app: FileApp, content: bytes, start_server: StartServer
) -> None:
    app.segments = [(app.fd, 0, 100)]
    client = start_server(app).connect()
    client.send(get())
    assert client.sock.recv(65536).endswith(b"\r\n\r\n" + content[:100])


def test_head_sends_no_segments(app: FileApp, start_server: StartServer) -> None:
    client = start_server(app).connect()
    for _ in range(2):
        client.send(request("HEAD", "/"))
        assert client.answer("HEAD").headers["content-length"] == str(SIZE)
    assert [each.is_closed for each in app.answered] == [True, True]


def test_an_empty_file_is_an_empty_body(app: FileApp, start_server: StartServer) -> None:
    app.segments = []
    client = start_server(app).connect()
    for _ in range(2):
        client.send(get())
        assert client.answer().body == b""


def test_segments_of_another_length_than_announced_are_500(
    app: FileApp, start_server: StartServer
) -> None:
    def wrong(environ: Any, start_response: Any) -> Segments:
        start_response("200 OK", [("Content-Length", "7")])
        return Segments([b"123456"])

    assert start_server(wrong).request(get()).status == 500


def test_bytes_alone_leave_with_the_head(app: FileApp, start_server: StartServer) -> None:
    app.segments = [b"123456"]
    client = start_server(app).connect()
    client.send(get())
    assert client.sock.recv(65536).endswith(b"\r\n\r\n123456")


def test_segments_give_an_answer_without_a_body_no_length(start_server: StartServer) -> None:
    def unchanged(environ: Any, start_response: Any) -> Segments:
        start_response("304 Not Modified", [("ETag", '"x"')])
        return Segments([])

    client = start_server(unchanged).connect()
    for _ in range(2):
        client.send(get())
        answer = client.answer()
        assert answer.status == 304
        assert "content-length" not in answer.headers


def test_a_cold_file_is_read_off_the_loop(
    app: FileApp, content: bytes, start_server: StartServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded = []

    def load(fd: int, offset: int, length: int, ahead: int) -> None:
        loaded.append(length)
        real_load(fd, offset, length, ahead)

    real_load = sending.load
    monkeypatch.setattr(sending, "load", load)
    os.fsync(app.fd)
    os.posix_fadvise(app.fd, 0, 0, os.POSIX_FADV_DONTNEED)
    is_cold = not sending.is_resident(app.fd, 0, SIZE)
    running = start_server(app)
    assert running.request(get()).body == content
    assert bool(loaded) == is_cold
    loaded.clear()
    is_cold = not sending.is_resident(app.fd, 0, SIZE)
    assert running.request(get()).body == content
    assert bool(loaded) == is_cold


def test_other_connections_are_served_while_the_disk_is_slow(
    app: FileApp, start_server: StartServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = threading.Event()
    monkeypatch.setattr(sending, "is_resident", lambda *args: False)
    monkeypatch.setattr(sending, "load", lambda *args: disk.wait(10))
    running = start_server(app)
    slow = running.connect()
    slow.send(get("/slow"))
    gevent.sleep(0.02)
    assert running.request(request("HEAD", "/quick")).status == 200
    disk.set()
    assert len(slow.answer().body) == SIZE
    assert [record.target for record in running.records] == ["/quick", "/slow"]


def test_slow_downloads_keep_no_push_from_its_thread(
    app: FileApp, start_server: StartServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def route(environ: Any, start_response: Any) -> Any:
        if environ["PATH_INFO"] == "/blob":
            return app(environ, start_response)
        assert run_in_thread(abs, -1) == 1
        return hello(environ, start_response)

    disk = threading.Event()
    loaded = []
    monkeypatch.setattr(sending, "is_resident", lambda *args: False)
    monkeypatch.setattr(sending, "load", lambda *args: loaded.append(disk.wait(10)))
    running = start_server(route)
    slow = [running.connect() for _ in range(MAX_THREADS + 1)]
    for client in slow:
        client.send(get("/blob"))
    wait_until(lambda: len(app.answered) == len(slow))
    assert running.request(get("/push")).body == b"hello"
    assert loaded == []
    disk.set()


def test_slow_pushes_keep_no_download_from_its_thread(
    app: FileApp, content: bytes, start_server: StartServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = threading.Event()
    monkeypatch.setattr(sending, "is_resident", lambda *args: False)
    client = start_server(app).connect()  # connecting takes a thread too
    pushes = [gevent.spawn(run_in_thread, disk.wait, 10) for _ in range(MAX_THREADS + 1)]
    gevent.sleep(0)
    client.send(get())
    assert client.answer().body == content
    assert not any(push.ready() for push in pushes)
    disk.set()
    gevent.joinall(pushes, raise_error=True)


def _assert_cut(running: Running) -> None:
    client = running.connect()
    client.send(get())
    with pytest.raises(ConnectionResetError):
        client.rest()
    wait_until(lambda: running.records)
    assert [event for event, _ in running.errors] == ["request failed"]


def test_a_file_that_shrank_cuts_the_connection(
    app: FileApp, tmp_path: Path, start_server: StartServer
) -> None:
    os.truncate(tmp_path / "blob", 3_000_000)
    _assert_cut(start_server(app))
    assert app.answered[0].is_closed


def test_a_disk_error_cuts_the_connection_and_is_not_printed(
    tmp_path: Path, start_server: StartServer, capfd: pytest.CaptureFixture[str]
) -> None:
    def app(environ: Any, start_response: Any) -> Segments:
        start_response("200 OK", [("Content-Length", "10")])
        return Segments([b"12345", (directory, 0, 5)])

    directory = os.open(tmp_path, os.O_RDONLY)
    _assert_cut(start_server(app))
    assert capfd.readouterr().err == ""
    os.close(directory)


def test_a_slow_reader_gets_everything(
    app: FileApp, content: bytes, start_server: StartServer
) -> None:
    app.segments = [(app.fd, 0, SIZE)] * 4
    client = start_server(app, send_timeout_s=0.5).connect()
    client.send(get())
    received = b""
    while len(received) < 4 * SIZE:
        received += client.sock.recv(1 << 20)
        gevent.sleep(0.01)
    assert received.endswith(content * 4)


def test_a_reader_that_stops_is_dropped(app: FileApp, start_server: StartServer) -> None:
    app.segments = [(app.fd, 0, SIZE)] * 8
    running = start_server(app, send_timeout_s=0.1)
    client = running.connect()
    client.send(get())
    wait_until(lambda: running.records)
    assert app.answered[0].is_closed
    assert running.errors == []


def test_a_reader_of_plain_bytes_that_stops_is_dropped(start_server: StartServer) -> None:
    def app(environ: Any, start_response: Any) -> list[bytes]:
        start_response("200 OK", [])
        return [b"x" * 50_000_000]

    running = start_server(app, send_timeout_s=0.1)
    client = running.connect()
    client.send(get())
    wait_until(lambda: running.records)
    assert running.errors == []


def test_a_client_that_leaves_ends_the_sending(app: FileApp, start_server: StartServer) -> None:
    app.segments = [(app.fd, 0, SIZE)] * 8
    running = start_server(app)
    client = running.connect()
    client.send(get())
    client.read(1000)
    client.close()
    wait_until(lambda: running.records)
    assert app.answered[0].is_closed
    assert running.errors == []
