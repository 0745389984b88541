"""Request bodies: reading, failing, and being left unread."""

from __future__ import annotations

import errno
import random
import tracemalloc
from typing import Any

import gevent
import pytest

from tests.server.wire import StartServer, get, hello, request, swallow, wait_until

CHUNKED = "Transfer-Encoding: chunked"


def chunks(*pieces: bytes) -> bytes:
    return b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces)


@pytest.mark.parametrize("size", [1, 65_535, 65_536, 1_048_576, 3_000_001])
def test_a_body_arrives_whole(size: int, start_server: StartServer) -> None:
    seen = []

    def app(environ: Any, start_response: Any) -> list[bytes]:
        seen.append(b"".join(iter(lambda: environ["wsgi.input"].read(300_000), b"")))
        return hello(environ, start_response)

    body = bytes(range(256)) * (size // 256) + bytes(size % 256)
    client = start_server(app).connect()
    client.send(request("PUT", "/", f"Content-Length: {size}", body=body))
    assert client.answer().status == 200
    pieces = [body[at : at + 70_000] for at in range(0, size, 70_000)]
    client.send(request("PUT", "/", CHUNKED, body=chunks(*pieces) + b"0\r\n\r\n"))
    assert client.answer().status == 200
    assert seen == [body, body]


def test_read_fills_what_was_asked_for(start_server: StartServer) -> None:
    sizes = []

    def app(environ: Any, start_response: Any) -> list[bytes]:
        while data := environ["wsgi.input"].read(100_000):
            sizes.append(len(data))
        return hello(environ, start_response)

    client = start_server(app).connect()
    client.send(request("PUT", "/", "Content-Length: 250000"))
    for _ in range(25):
        gevent.sleep(0)
        client.send(b"x" * 10_000)
    client.answer()
    assert sizes == [100_000, 100_000, 50_000]


def test_a_body_of_odd_length_arrives_whole_in_small_pieces(start_server: StartServer) -> None:
    seen = []

    def app(environ: Any, start_response: Any) -> list[bytes]:
        seen.append(environ["wsgi.input"].read(1 << 20))
        return hello(environ, start_response)

    body = random.Random(1).randbytes(100_001)  # above 64 KiB, and no multiple of a page
    client = start_server(app).connect()
    client.send(request("PUT", "/", "Content-Length: 100001"))
    for at in range(0, len(body), 997):
        client.send(body[at : at + 997])
        gevent.sleep(0)
    client.answer()
    assert seen == [body]


def test_tiny_chunks_cost_neither_memory_nor_the_others_turn(start_server: StartServer) -> None:
    size = 1_000_000
    turns = 0
    peak = 0
    seen = []

    def app(environ: Any, start_response: Any) -> list[bytes]:
        if environ["REQUEST_METHOD"] == "PUT":
            tracemalloc.start()
            seen.append(environ["wsgi.input"].read(1 << 20))
            nonlocal peak
            peak = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()
        return hello(environ, start_response)

    def count_turns() -> None:
        nonlocal turns
        while not seen:
            turns += 1
            gevent.sleep(0)

    client = start_server(app).connect()
    sender = gevent.spawn(
        client.send, request("PUT", "/", CHUNKED, body=b"1\r\nx\r\n" * size + b"0\r\n\r\n")
    )
    counter = gevent.spawn(count_turns)
    client.answer()
    gevent.joinall([sender, counter], raise_error=True)
    assert seen == [b"x" * size]
    assert turns >= 6 * size >> 20
    assert peak < 3_000_000


def test_the_input_reads_like_a_file(start_server: StartServer) -> None:
    seen: list[Any] = []

    def app(environ: Any, start_response: Any) -> list[bytes]:
        body = environ["wsgi.input"]
        seen.extend([body.readline(), body.read(0), body.readline(2), body.read(3)])
        buffer = bytearray(4)
        seen.extend([body.readinto(buffer), bytes(buffer), list(body), body.read(), body.read(1)])
        return hello(environ, start_response)

    running = start_server(app)
    running.request(request("PUT", "/", "Content-Length: 21", body=b"line\nabcdefghi\nx\nlast"))
    expected = [b"line\n", b"", b"ab", b"cde", 4, b"fghi", [b"\n", b"x\n", b"last"], b"", b""]
    assert seen == expected
    seen.clear()
    raw = chunks(b"lin", b"e\nab", b"cdefgh", b"i\nx\nlast") + b"0\r\n\r\n"
    running.request(request("PUT", "/", CHUNKED, body=raw))
    assert seen == expected


def _failing(first_size: int, seen: list[Any]) -> Any:
    """An application that keeps what it read and what it failed with."""

    def app(environ: Any, start_response: Any) -> list[bytes]:
        try:
            while data := environ["wsgi.input"].read(first_size):
                seen.append(data)
        except OSError as error:
            seen.append(error)
            with pytest.raises(type(error)):
                environ["wsgi.input"].read(1)
        return hello(environ, start_response)

    return app


@pytest.mark.parametrize("size", [10, 1 << 20])
@pytest.mark.parametrize("framing", ["Content-Length: 9000000", CHUNKED])
def test_a_stalled_body_times_out_after_what_arrived(
    size: int, framing: str, start_server: StartServer
) -> None:
    seen: list[Any] = []
    client = start_server(_failing(size, seen), body_timeout_s=0.1).connect()
    client.send(request("PUT", "/", framing, body=b"5\r\nabcde\r\n"))
    answer = client.answer()
    assert answer.headers["connection"] == "close"
    assert b"abcde" in b"".join(seen[:-1])
    assert isinstance(seen[-1], TimeoutError)
    assert client.rest() == b""


def test_progress_resets_the_body_timeout(start_server: StartServer) -> None:
    client = start_server(swallow, body_timeout_s=0.4, body_pace_bytes=2).connect()
    client.send(request("PUT", "/", "Content-Length: 11"))
    for _ in range(11):
        gevent.sleep(0.08)
        client.send(b"x")
    assert client.answer().body == b"11"


@pytest.mark.parametrize("size", [10, 1 << 20])
@pytest.mark.parametrize(
    ("framing", "trickle"),
    [("Content-Length: 9000000", b"x"), (CHUNKED, b"1\r\nx\r\n"), (CHUNKED, b"0")],
    ids=["length", "chunks", "line"],
)
def test_a_body_that_trickles_times_out(
    size: int, framing: str, trickle: bytes, start_server: StartServer
) -> None:
    seen: list[Any] = []
    running = start_server(_failing(size, seen), body_timeout_s=0.3, body_pace_bytes=1024)
    client = running.connect()
    client.send(request("PUT", "/", framing))
    client.send_until_refused(trickle, limit=100 * len(trickle), pause_s=0.05)
    wait_until(lambda: running.records)
    assert isinstance(seen[-1], TimeoutError)


def test_the_time_an_application_takes_is_not_the_clients(start_server: StartServer) -> None:
    def app(environ: Any, start_response: Any) -> list[bytes]:
        for _ in range(4):
            assert environ["wsgi.input"].read(1) == b"x"
            gevent.sleep(0.3)
        return hello(environ, start_response)

    client = start_server(app, body_timeout_s=0.8).connect()
    client.send(request("PUT", "/", "Content-Length: 4", body=b"xx"))
    gevent.sleep(0.7)
    client.send(b"xx")
    assert client.answer().status == 200


@pytest.mark.parametrize("size", [10, 1 << 20])
@pytest.mark.parametrize("framing", ["Content-Length: 9000000", CHUNKED])
def test_a_short_body_is_a_reset_after_what_arrived(
    size: int, framing: str, start_server: StartServer
) -> None:
    seen: list[Any] = []
    client = start_server(_failing(size, seen)).connect()
    client.send(request("PUT", "/", framing, body=b"5\r\nabcde\r\n"))
    client.finish()
    assert client.answer().headers["connection"] == "close"
    assert b"abcde" in b"".join(seen[:-1])
    assert isinstance(seen[-1], ConnectionResetError)


def test_bad_chunks_are_ebadmsg_after_what_was_good(start_server: StartServer) -> None:
    seen: list[Any] = []
    client = start_server(_failing(1 << 20, seen)).connect()
    client.send(request("PUT", "/", CHUNKED, body=b"5\r\nabcde\r\nxyz\r\n"))
    assert client.answer().headers["connection"] == "close"
    good, error = seen
    assert good == b"abcde"
    assert error.errno == errno.EBADMSG


def test_read_all_raises_rather_than_return_a_part(start_server: StartServer) -> None:
    def app(environ: Any, start_response: Any) -> list[bytes]:
        with pytest.raises(ConnectionResetError):
            environ["wsgi.input"].read()
        return hello(environ, start_response)

    client = start_server(app).connect()
    client.send(request("PUT", "/", "Content-Length: 9", body=b"abc"))
    client.finish()
    assert client.answer().status == 200


@pytest.mark.parametrize(("sent", "status"), [(b"5\r\nab", 408), (b"zz\r\n", 400)])
def test_a_failure_the_application_lets_pass_is_the_client_s_fault(
    sent: bytes, status: int, start_server: StartServer
) -> None:
    running = start_server(swallow, body_timeout_s=0.05)
    answer = running.request(request("PUT", "/", CHUNKED, body=sent))
    assert answer.status == status
    assert running.errors == []


@pytest.mark.parametrize(
    "body",
    [
        b"5;" + b"x" * 2000 + b"\r\nabcde\r\n0\r\n\r\n",
        b"1\r\na\r\n0\r\n" + b"X-A: b\r\n" * 2000 + b"\r\n",
        b"1\r\na\r\n0\r\nX-A: " + b"b" * 9000,
        b"1" * 2000,
    ],
    ids=["extension", "trailers", "trailer", "size"],
)
def test_what_goes_with_chunks_is_bounded(body: bytes, start_server: StartServer) -> None:
    assert start_server(swallow).request(request("PUT", "/", CHUNKED, body=body)).status == 400


def test_100_continue_is_sent_by_the_first_read_only(start_server: StartServer) -> None:
    client = start_server(swallow).connect()
    client.send(request("PUT", "/", "Content-Length: 3", "Expect: 100-Continue"))
    assert client.read(25) == b"HTTP/1.1 100 Continue\r\n\r\n"
    client.send(b"abc")
    assert client.answer().body == b"3"
    client.send(get())
    assert client.answer().body == b"0"


def test_an_answer_without_a_read_does_not_ask_for_the_body(start_server: StartServer) -> None:
    client = start_server(hello).connect()
    client.send(request("PUT", "/", "Content-Length: 3", "Expect: 100-continue"))
    answer = client.answer()
    assert (answer.status, answer.headers["connection"]) == (200, "close")
    assert client.rest() == b""


def test_http_1_0_gets_no_100_continue(start_server: StartServer) -> None:
    client = start_server(swallow).connect()
    client.send(b"PUT / HTTP/1.0\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\nabc")
    assert client.answer().body == b"3"


def test_a_small_unread_body_keeps_the_connection(start_server: StartServer) -> None:
    client = start_server(hello).connect()
    for method in ("GET", "HEAD", "PUT"):
        client.send(request(method, "/", "Content-Length: 60000", body=b"GET / " * 10_000))
        assert "connection" not in client.answer(method).headers
    client.send(get())
    assert client.answer().body == b"hello"


@pytest.mark.parametrize("framing", ["Content-Length: 10000000000", CHUNKED])
def test_a_large_unread_body_is_not_read_into_nowhere(
    framing: str, start_server: StartServer
) -> None:
    running = start_server(hello, linger_max_bytes=1 << 20)
    client = running.connect()
    client.send(request("PUT", "/", framing, body=b"2540be400\r\n"))
    answer = client.answer()
    assert answer.headers["connection"] == "close"
    sent = client.send_until_refused(b"x" * 65536, limit=1 << 30)
    assert sent < 64 << 20  # one MiB and what the sockets' buffers hold
    wait_until(lambda: not running.server.connections)
    assert running.errors == []


def test_the_answer_survives_a_body_that_is_already_on_its_way(start_server: StartServer) -> None:
    def app(environ: Any, start_response: Any) -> list[bytes]:
        gevent.sleep(0.05)
        return hello(environ, start_response)

    client = start_server(app).connect()
    client.send(request("PUT", "/", "Content-Length: 900000", body=b"x" * 900_000))
    assert client.answer().body == b"hello"
    assert client.rest() == b""


def test_a_silent_client_with_an_unread_body_is_not_waited_for(start_server: StartServer) -> None:
    running = start_server(hello, linger_timeout_s=0.05)
    client = running.connect()
    client.send(request("PUT", "/", "Content-Length: 900000"))
    assert client.answer().body == b"hello"
    wait_until(lambda: not running.server.connections)
    assert client.rest() == b""


def test_a_fast_upload_does_not_starve_the_others(start_server: StartServer) -> None:
    running = start_server(swallow)
    client = running.connect()
    sender = gevent.spawn(
        client.send, request("PUT", "/", f"Content-Length: {64 << 20}", body=b"x" * (64 << 20))
    )
    gevent.sleep(0)
    assert running.request(get("/other")).status == 200
    assert client.answer().body == str(64 << 20).encode()
    sender.get()
    assert [record.target for record in running.records] == ["/other", "/"]
