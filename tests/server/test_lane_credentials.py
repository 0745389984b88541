"""What the application decides by credentials, or for a time, the lane gives to nobody else."""

from __future__ import annotations

import itertools
import time
from typing import Any

import pytest

from tests.server.lanes import request
from tests.server.segments import Segments
from tests.server.wire import Running, StartServer

URL = "/v2/app/manifests/v1"


class Deciding:
    """Answers who asked and how often it was called, and lets that be given again."""

    def __init__(self, until: float | None = None) -> None:
        self.until = until
        self.calls = itertools.count()

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Any:
        who = environ.get("HTTP_AUTHORIZATION")
        body = f"{who} {next(self.calls)}".encode()
        status = "200 OK" if who else "401 Unauthorized"
        start_response(status, [("Content-Length", str(len(body)))])
        return Segments([body], (), self.until) if who else [body]


def ask(running: Running, *lines: str) -> tuple[int, str]:
    """Return the status, and for whom the answer was made."""
    answer = running.request(request(URL, *lines))
    return answer.status, answer.body.decode().rpartition(" ")[0]


CREDENTIALS = [
    *(
        "Basic dXNlcjpwYXNz",
        "Basic dXNlcjpwYXNzZA==",
        "basic dXNlcjpwYXNz",
        "Bearer a",
        "Bearer aa",
    ),
    *("Bearer A", "Bearer a.b.c", "Bearer a b", "B", "None", "Bearer " + "x" * 4000, "a,b", "a, b"),
]


def test_an_answer_is_given_again_to_the_very_same_credentials_alone(
    start_server: StartServer,
) -> None:
    running = start_server(Deciding())
    for _ in range(3):
        assert ask(running) == (401, "None")
        for each in CREDENTIALS:
            assert ask(running, f"Authorization: {each}") == (200, each)
            assert ask(running, f"Authorization: {each}x") == (200, each + "x")
    assert running.server.lane.published == 2 * len(CREDENTIALS)
    assert running.server.lane.answered == 4 * len(CREDENTIALS)


def test_no_other_header_makes_one_s_answer_another_s(start_server: StartServer) -> None:
    running = start_server(Deciding())
    mine = "Authorization: Bearer mine"
    assert ask(running, mine) == ask(running, mine) == (200, "Bearer mine")
    for lines in (
        ["X-Authorization: Bearer mine"],
        ["Proxy-Authorization: Bearer mine"],
        ["Authorization_: Bearer mine"],
        ["Cookie: Authorization: Bearer mine"],
        ['If-None-Match: "a:b"'],
        ["Range: bytes=0-1"],
        ["User-Agent: Bearer mine"],
    ):
        assert ask(running, *lines) == (401, "None")
    for lines in ([mine, mine], [mine, "Authorization: Bearer other"], ["Authorization:", mine]):
        assert ask(running, *lines)[0] == 400
    assert running.server.lane.answered == 1


@pytest.mark.parametrize("spelling", ["authorization:Bearer a", "AUTHORIZATION:   Bearer a  "])
def test_credentials_are_the_same_however_the_header_is_written(
    start_server: StartServer, spelling: str
) -> None:
    running = start_server(Deciding())
    assert ask(running, "Authorization: Bearer a") == ask(running, spelling) == (200, "Bearer a")
    assert running.server.lane.answered == 1


def test_a_refusal_is_not_given_to_who_brings_credentials_later(start_server: StartServer) -> None:
    running = start_server(Deciding())
    client = running.connect()
    for status, lines in ((401, []), (200, ["Authorization: a"]), (401, [])) * 3:
        client.send(request(URL, *lines))
        assert client.answer().status == status
    assert running.server.lane.answered == 2


def test_no_answer_is_given_again_after_its_time(start_server: StartServer) -> None:
    until = time.monotonic() + 1.5
    running = start_server(Deciding(until))
    client = running.connect()
    answers: list[tuple[float, bytes]] = []
    while not answers or answers[-1][0] < until + 0.2:
        client.send(request(URL, "Authorization: a"))
        asked = time.monotonic()
        answers.append((asked, client.answer().body))
        time.sleep(0.01)
    assert {body for asked, body in answers if asked >= until} & {answers[0][1]} == set()
    assert running.server.lane.answered > 0


def test_what_is_over_already_is_not_given_again(start_server: StartServer) -> None:
    running = start_server(Deciding(until=time.monotonic()))
    for _ in range(3):
        assert ask(running, "Authorization: a") == (200, "a")
    assert running.server.lane.answered == 0
    assert running.errors == []
