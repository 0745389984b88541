"""Clients that ask for a connection's end with every request, as docker and skopeo do."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gevent
import pytest

from fastreg.logs import access_line
from tests.server.samples import load_sample
from tests.server.segments import Segments
from tests.server.wire import Running, StartServer

LARGE = 8 << 20
DOCKER, _ = load_sample("valid", "docker")


@dataclass
class Published:
    """Answers every request with the same, which holds for ever."""

    segments: list[bytes | tuple[int, int, int]]
    calls: int = 0

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Segments:
        self.calls += 1
        start_response("200 OK", [("Content-Type", "text/plain")])
        return Segments(self.segments, ())


def exchange(server: Running, request: bytes, pause_s: float = 0) -> bytes:
    """Return all that comes until the server closes, whatever the date."""
    client = server.connect()
    client.send(request)
    gevent.sleep(pause_s)
    return re.sub(rb"Date: [^\r]+", b"Date: now", client.rest())


@pytest.mark.parametrize("method", [b"GET", b"HEAD"])
def test_the_lane_answers_the_same_and_closes(method: bytes, start_server: StartServer) -> None:
    app = Published([b"manifest"])
    server = start_server(app)
    request = method + DOCKER.removeprefix(b"HEAD")
    first, second = exchange(server, request), exchange(server, request)
    assert (app.calls, server.server.lane.answered) == (1, 1)
    assert first == second
    assert first.count(b"\r\nConnection: close\r\n") == 1
    assert server.server.connections == 0


def test_who_stays_is_not_given_an_answer_that_closes(start_server: StartServer) -> None:
    app = Published([b"manifest"])
    server = start_server(app)
    exchange(server, DOCKER)
    client = server.connect()
    for _ in range(3):
        client.send(DOCKER.replace(b"Connection: close\r\n", b""))
        assert "connection" not in client.answer("HEAD").headers
    assert (app.calls, server.server.lane.answered) == (2, 2)


def test_a_large_answer_is_whole_before_the_end(start_server: StartServer, tmp_path: Path) -> None:
    path = tmp_path / "blob"
    path.write_bytes(os.urandom(LARGE))
    with path.open("rb") as file:
        app = Published([(file.fileno(), 0, LARGE)])
        server = start_server(app)
        request = b"GET" + DOCKER.removeprefix(b"HEAD").replace(
            b"manifests/1", b"blobs/sha256:" + b"0" * 64
        )
        first, second = exchange(server, request), exchange(server, request, pause_s=0.05)
    assert (app.calls, server.server.lane.answered) == (1, 1)
    assert first == second
    assert second.endswith(path.read_bytes())


def test_what_follows_such_a_request_is_left_unanswered(start_server: StartServer) -> None:
    app = Published([b"manifest"])
    server = start_server(app)
    first = exchange(server, DOCKER)
    assert exchange(server, DOCKER + DOCKER) == first
    assert (app.calls, server.server.lane.answered) == (2, 0)


def test_its_access_line_is_the_careful_one(start_server: StartServer) -> None:
    server = start_server(Published([b"manifest"]))
    exchange(server, DOCKER)
    exchange(server, DOCKER)
    (record,) = server.records
    line = (server.records.lines + server.server.lane.take_lines()).decode("ascii")
    without_time = re.compile(r"\[[^]]+\]")
    assert without_time.sub("", line) == without_time.sub("", access_line(record, 0.0)) + "\n"
