"""Every request of the corpus, against a running server."""

from __future__ import annotations

from typing import Any

import gevent
import pytest

from tests.server.samples import load_sample, sample_names
from tests.server.wire import StartServer


class Recorder:
    """Answers every request after reading its body, and keeps what it was given."""

    def __init__(self) -> None:
        self.seen: list[dict[str, Any]] = []

    def __call__(self, environ: dict[str, Any], start_response: Any) -> list[bytes]:
        body = environ["wsgi.input"].read()
        self.seen.append({**environ, "body": body.decode("latin-1")})
        start_response("200 OK", [("Content-Length", "2")])
        return [b"ok"]

    def check(self, expected: list[dict[str, Any]]) -> None:
        assert [each["RAW_URI"] for each in self.seen] == [each["target"] for each in expected]
        for seen, wanted in zip(self.seen, expected, strict=True):
            assert seen["REQUEST_METHOD"] == wanted["method"]
            assert seen["body"] == wanted["body"]
            for key, value in wanted.get("environ", {}).items():
                assert seen.get(key) == value, key


@pytest.mark.parametrize("name", sample_names("valid"))
def test_a_valid_request_reaches_the_application(name: str, start_server: StartServer) -> None:
    raw, expected = load_sample("valid", name)
    app = Recorder()
    client = start_server(app).connect()
    client.send(raw)
    client.finish()
    answers = client.rest()
    app.check(expected)
    assert answers.count(b"HTTP/1.1 200 OK\r\n") == len(expected)


@pytest.mark.parametrize("name", sample_names("valid"))
def test_a_valid_request_means_the_same_byte_by_byte(name: str, start_server: StartServer) -> None:
    raw, expected = load_sample("valid", name)
    app = Recorder()
    client = start_server(app).connect()
    try:
        for byte in raw:
            client.send(bytes([byte]))
            gevent.sleep(0)
        client.finish()
        client.rest()
    except ConnectionError:
        assert "close" in name  # the server left before what nobody reads was sent
    app.check(expected)


@pytest.mark.parametrize("name", ["body_in_chunks", "three_in_one_packet"])
def test_a_request_means_the_same_split_anywhere(name: str, start_server: StartServer) -> None:
    raw, expected = load_sample("valid", name)
    app = Recorder()
    running = start_server(app)
    for at in range(1, len(raw)):
        app.seen.clear()
        client = running.connect()
        client.send(raw[:at])
        gevent.sleep(0)
        gevent.sleep(0)
        client.send(raw[at:])
        client.finish()
        client.rest()
        client.close()
        app.check(expected)
        assert len(app.seen) == len(expected)


@pytest.mark.parametrize("name", sample_names("invalid"))
def test_an_invalid_request_is_refused_and_closes(name: str, start_server: StartServer) -> None:
    raw, expected = load_sample("invalid", name)
    app = Recorder()
    running = start_server(app)
    client = running.connect()
    client.send(raw + b"GET /smuggled HTTP/1.1\r\nHost: reg\r\n\r\n")
    answer = client.answer()
    assert answer.status == expected["status"]
    assert answer.headers["connection"] == "close"
    assert answer.headers["content-type"] == "application/json"
    assert answer.error()["code"] == "UNSUPPORTED"
    assert client.rest() == b""
    assert app.seen == []
    assert [record.status for record in running.records] == [expected["status"]]
    assert running.errors == []
