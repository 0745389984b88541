"""A connection's life: answers, keeping alive, limits, timeouts, crashes."""

from __future__ import annotations

import json
from typing import Any

import gevent
import pytest

from tests.server.wire import StartServer, get, hello, request, swallow, wait_until


def test_an_answer_carries_its_headers_a_date_and_no_server_name(start_server: StartServer) -> None:
    answer = start_server(hello).request(get())
    assert (answer.status, answer.body) == (200, b"hello")
    assert set(answer.headers) == {"content-type", "content-length", "date"}


def test_requests_follow_each_other_on_one_connection(start_server: StartServer) -> None:
    client = start_server(hello).connect()
    for _ in range(3):
        client.send(get())
        assert client.answer().body == b"hello"


def test_head_and_small_body_leave_in_one_packet(start_server: StartServer) -> None:
    client = start_server(hello).connect()
    client.send(get())
    assert client.sock.recv(65536).endswith(b"\r\n\r\nhello")


def test_head_of_a_list_of_bytes_gets_no_body(start_server: StartServer) -> None:
    client = start_server(hello).connect()
    for _ in range(2):
        client.send(request("HEAD", "/"))
        answer = client.answer("HEAD")
        assert answer.headers["content-length"] == "5"


def test_head_without_a_length_claims_none(start_server: StartServer) -> None:
    def app(environ: Any, start_response: Any) -> list[bytes]:
        start_response("200 OK", [])
        return []

    client = start_server(app).connect()
    client.send(request("HEAD", "/") + request("HEAD", "/"))
    assert "content-length" not in client.answer("HEAD").headers
    assert client.answer("HEAD").status == 200


def test_a_body_without_a_length_is_sent_in_chunks(start_server: StartServer) -> None:
    def app(environ: Any, start_response: Any) -> Any:
        start_response("200 OK", [])
        return (piece for piece in (b"a", b"", b"b" * 100_000))

    client = start_server(app).connect()
    for _ in range(2):
        client.send(get())
        assert client.answer().body == b"a" + b"b" * 100_000


def test_a_body_without_a_length_ends_an_http_1_0_connection(start_server: StartServer) -> None:
    def app(environ: Any, start_response: Any) -> Any:
        start_response("200 OK", [])
        return (piece for piece in (b"a", b"b"))

    client = start_server(app).connect()
    client.send(b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
    head, _, body = client.rest().partition(b"\r\n\r\n")
    assert body == b"ab"
    assert b"Connection: close" in head


@pytest.mark.parametrize("status", ["204 No Content", "304 Not Modified"])
def test_a_status_without_a_body_has_no_length(status: str, start_server: StartServer) -> None:
    def app(environ: Any, start_response: Any) -> list[bytes]:
        start_response(status, [("Content-Length", "10")])
        return []

    client = start_server(app).connect()
    for _ in range(2):
        client.send(get())
        assert "content-length" not in client.answer().headers


def test_the_write_callable_sends(start_server: StartServer) -> None:
    def app(environ: Any, start_response: Any) -> list[bytes]:
        start_response("200 OK", [("Content-Length", "4")])(b"ab")
        return [b"cd"]

    assert start_server(app).request(get()).body == b"abcd"


@pytest.mark.parametrize("pieces", [[b"abc"], [b"abc", b"def", b"ghi"]])
def test_a_body_of_another_length_than_announced_cuts_the_connection(
    pieces: list[bytes], start_server: StartServer
) -> None:
    def app(environ: Any, start_response: Any) -> Any:
        start_response("200 OK", [("Content-Length", "6")])
        return iter(pieces)

    running = start_server(app)
    client = running.connect()
    client.send(get())
    with pytest.raises(ConnectionResetError):
        client.rest()
    assert [event for event, _ in running.errors] == ["request failed"]


def test_a_crash_before_the_answer_is_500_and_reported(
    start_server: StartServer, capfd: pytest.CaptureFixture[str]
) -> None:
    def app(environ: Any, start_response: Any) -> list[bytes]:
        raise RuntimeError("broken")

    running = start_server(app)
    answer = running.request(get("/v2/x"))
    assert answer.status == 500
    assert answer.headers["connection"] == "close"
    assert answer.error()["code"] == "UNSUPPORTED"
    ((event, fields),) = running.errors
    assert event == "request failed"
    assert fields["target"] == "/v2/x"
    assert "RuntimeError" in str(fields["trace"])
    assert capfd.readouterr().err == ""


def test_a_crash_inside_the_answer_cuts_the_connection(start_server: StartServer) -> None:
    def app(environ: Any, start_response: Any) -> Any:
        start_response("200 OK", [])
        yield b"some"
        raise RuntimeError("broken")

    running = start_server(app)
    client = running.connect()
    client.send(get())
    with pytest.raises(ConnectionResetError):
        client.rest()
    assert [record.status for record in running.records] == [200]
    assert [event for event, _ in running.errors] == ["request failed"]


def test_the_result_is_closed_whatever_happens(start_server: StartServer) -> None:
    closed: list[str] = []

    class Result:
        def __init__(self, path: str) -> None:
            self.path = path

        def __iter__(self) -> Any:
            if self.path == "/crash":
                raise RuntimeError("broken")
            for _ in range(200 if self.path == "/gone" else 1):
                yield b"x" * 1_000_000

        def close(self) -> None:
            closed.append(self.path)

    def app(environ: Any, start_response: Any) -> Result:
        start_response("200 OK", [])
        return Result(environ["PATH_INFO"])

    running = start_server(app)
    assert running.request(get("/whole")).status == 200
    assert running.request(get("/crash")).status == 500
    client = running.connect()
    client.send(get("/gone"))
    client.read(1000)
    client.close()
    wait_until(lambda: len(closed) == 3)
    assert closed == ["/whole", "/crash", "/gone"]
    assert [event for event, _ in running.errors] == ["request failed"]


def test_a_client_that_leaves_is_not_an_error(
    start_server: StartServer, capfd: pytest.CaptureFixture[str]
) -> None:
    running = start_server(swallow)
    for sent in (b"", b"GET / HT", request("PUT", "/", "Content-Length: 9", body=b"abc")):
        client = running.connect()
        client.send(sent)
        gevent.sleep(0)
        client.close()
    wait_until(lambda: not running.server.connections)
    assert running.errors == []
    assert capfd.readouterr().err == ""


def test_a_long_request_line_is_414(start_server: StartServer) -> None:
    running = start_server(hello)
    longest = "/" + "a" * (8192 - len("GET / HTTP/1.1"))
    assert running.request(get(longest)).status == 200
    assert running.request(get(longest + "a")).status == 414
    assert running.request(b"GET /" + b"a" * 9000).status == 414


def test_a_long_header_section_is_431(start_server: StartServer) -> None:
    running = start_server(hello)
    assert running.request(get("/", "X-A: " + "a" * 60_000)).status == 200
    assert running.request(get("/", "X-A: " + "a" * 66_000)).status == 431
    assert running.request(get()[:-2] + b"X-A: " + b"a" * 70_000).status == 431


def test_more_than_100_headers_are_431(start_server: StartServer) -> None:
    running = start_server(hello)
    assert running.request(get("/", *(f"X-{n}: a" for n in range(99)))).status == 200
    assert running.request(get("/", *(f"X-{n}: a" for n in range(100)))).status == 431


def test_a_head_that_does_not_end_is_408(start_server: StartServer) -> None:
    running = start_server(hello, head_timeout_s=0.1)
    client = running.connect()
    client.send(b"GET / HTTP/1.1\r\nHost:")
    answer = client.answer()
    assert answer.status == 408
    assert answer.headers["connection"] == "close"


def test_a_dribbled_head_does_not_get_more_time(start_server: StartServer) -> None:
    client = start_server(hello, head_timeout_s=0.2, linger_timeout_s=0.1).connect()
    assert client.send_until_refused(b"G", limit=1000, pause_s=0.02) < 1000


def test_a_connection_without_a_request_is_closed_silently(start_server: StartServer) -> None:
    running = start_server(hello, head_timeout_s=0.05)
    assert running.connect().rest() == b""
    assert running.records == []


def test_a_few_empty_lines_before_a_request_are_skipped(start_server: StartServer) -> None:
    client = start_server(hello).connect()
    for _ in range(2):
        client.send(b"\r\n" * 3 + get())
        assert client.answer().status == 200


@pytest.mark.parametrize("before", [b"", get()], ids=["first", "next"])
def test_a_flood_of_empty_lines_is_cut(before: bytes, start_server: StartServer) -> None:
    running = start_server(hello)
    client = running.connect()
    client.send(before)
    assert client.send_until_refused(b"\r\n" * 1000, limit=1 << 26) < 1 << 26
    wait_until(lambda: not running.server.connections)
    assert len(running.records) == bool(before)


def test_dribbled_empty_lines_do_not_get_more_time(start_server: StartServer) -> None:
    running = start_server(hello, head_timeout_s=0.1)
    client = running.connect()
    for _ in range(6):
        gevent.sleep(0.04)
        client.send_until_refused(b"\r\n", limit=1)
    wait_until(lambda: not running.server.connections)
    assert running.records == []


def test_an_idle_connection_is_closed_silently(start_server: StartServer) -> None:
    running = start_server(hello, idle_timeout_s=0.05)
    client = running.connect()
    client.send(get())
    assert client.answer().status == 200
    assert client.rest() == b""
    assert len(running.records) == 1


def test_a_slow_next_request_has_a_new_head_timeout(start_server: StartServer) -> None:
    client = start_server(hello, head_timeout_s=0.2, idle_timeout_s=10).connect()
    client.send(get())
    assert client.answer().status == 200
    gevent.sleep(0.3)
    client.send(get())
    assert client.answer().status == 200


def test_the_access_log_says_what_was_answered(start_server: StartServer) -> None:
    running = start_server(hello)
    running.request(get("/a?b=%2F", "User-Agent: docker/1", "Referer: here"))
    running.request(request("HEAD", "/"))
    first, second = running.records
    assert (first.method, first.target, first.protocol) == ("GET", "/a?b=%2F", "HTTP/1.1")
    assert (first.remote_addr, first.status, first.bytes_sent) == ("127.0.0.1", 200, 5)
    assert (first.user_agent, first.referer) == ("docker/1", "here")
    assert (second.method, second.bytes_sent) == ("HEAD", 0)


def test_the_environ_is_wsgi_s(start_server: StartServer) -> None:
    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        plain = {key: value for key, value in environ.items() if isinstance(value, str | bool)}
        environ["wsgi.errors"].write("a word\n")
        start_response("200 OK", [])
        return [json.dumps(plain).encode()]

    running = start_server(app)
    environ = json.loads(running.request(get("/p?q")).body)
    assert environ["SERVER_NAME"] == "127.0.0.1"
    assert environ["SERVER_PORT"] == str(running.port)
    assert environ["REMOTE_ADDR"] == "127.0.0.1"
    assert environ["wsgi.url_scheme"] == "http"
    assert environ["wsgi.input_terminated"] is True
    assert running.errors == [("wsgi errors", {"text": "a word"})]


def test_connections_over_the_limit_wait_for_their_turn(start_server: StartServer) -> None:
    running = start_server(hello, max_connections=2)
    first, second, third = (running.connect() for _ in range(3))
    for client in (first, second, third):
        client.send(get())
    assert first.answer().status == second.answer().status == 200
    assert running.server.connections == 2
    first.close()
    assert third.answer().status == 200


def test_a_pipelining_client_does_not_starve_the_others(start_server: StartServer) -> None:
    running = start_server(hello)
    busy = running.connect()
    sender = gevent.spawn(busy.send, get() * 5000)
    reader = gevent.spawn(lambda: [busy.sock.recv(65536) for _ in range(3)])
    gevent.sleep(0)
    assert running.request(get("/other")).status == 200
    assert len(running.records) < 5000
    gevent.killall([sender, reader])


def test_the_servers_own_answers_carry_the_headers_of_every_answer(
    start_server: StartServer,
) -> None:
    running = start_server(hello, headers=(("X-Content-Type-Options", "nosniff"),))
    answer = running.request(b"GET / HTTP/1.1\r\n\r\n")
    assert answer.status == 400
    assert answer.headers["x-content-type-options"] == "nosniff"
