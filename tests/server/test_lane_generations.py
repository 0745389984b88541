"""Answers that hold beside a counter, and for a time: seen from the clients' side."""

from __future__ import annotations

import itertools
import mmap
import os
import time
from collections.abc import Callable
from typing import Any

import gevent
import pytest

from fastreg.fastlane import Lane
from fastreg.storage.generations import Generations
from tests.server.lanes import request
from tests.server.segments import Segments
from tests.server.wire import Client, Running, StartServer

GET = request("/v2/app/manifests/v1")
KEY = "a/tag/link"


class Counting:
    """Answers how often it was called, beside the counter of KEY."""

    def __init__(self, generations: Generations, lifetime_s: float = 3600) -> None:
        self.generations = generations
        self.lifetime_s = lifetime_s
        self.calls = itertools.count()
        self.hold: Callable[[], object] = lambda: None

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Segments:
        until = time.monotonic() + self.lifetime_s
        witness = (*self.generations.of(KEY), until)
        body = b"%d" % next(self.calls)
        self.hold()
        start_response("200 OK", [("Content-Type", "text/plain")])
        return Segments([body], (witness,), until)


@pytest.fixture
def generations() -> Generations:
    return Generations()


def ask(client: Client) -> int:
    client.send(GET)
    return int(client.answer().body)


def serve(start_server: StartServer, app: Counting) -> Running:
    return start_server(app, generations=app.generations.memory)


def move_elsewhere(generations: Generations) -> None:
    """Have another process tell of a change."""
    pid = os.fork()
    if pid == 0:
        generations.advance(KEY)
        os._exit(0)
    assert os.waitpid(pid, 0)[1] == 0


def test_a_change_by_another_process_is_seen_by_the_next_request(
    generations: Generations, start_server: StartServer
) -> None:
    running = serve(start_server, Counting(generations))
    client = running.connect()
    for number in range(5):
        assert [ask(client) for _ in range(3)] == [number] * 3
        move_elsewhere(generations)
    assert running.server.lane.answered == 10


def test_a_change_of_what_is_not_in_the_answer_leaves_it(
    generations: Generations, start_server: StartServer
) -> None:
    running = serve(start_server, Counting(generations))
    client = running.connect()
    for number in range(20):
        if generations.of(f"other {number}")[0] != generations.of(KEY)[0]:
            generations.advance(f"other {number}")
        assert ask(client) == 0
    assert running.server.lane.answered == 19


def test_a_change_while_the_answer_is_made_is_seen_by_the_next_request(
    generations: Generations, start_server: StartServer
) -> None:
    app = Counting(generations)
    running = serve(start_server, app)
    client = running.connect()
    app.hold = lambda: generations.advance(KEY)
    assert [ask(client) for _ in range(3)] == [0, 1, 2]
    assert running.server.lane.answered == 0


def test_no_answer_is_given_after_its_time(
    generations: Generations, start_server: StartServer
) -> None:
    app = Counting(generations, lifetime_s=0.2)
    begun: list[float] = []
    app.hold = lambda: begun.append(time.monotonic())
    client = serve(start_server, app).connect()
    for _ in range(300):
        asked = time.monotonic()
        assert asked < begun[ask(client)] + app.lifetime_s
        gevent.sleep(0.002)
    assert 3 < len(begun) < 100


def test_a_counter_that_the_server_does_not_have_publishes_nothing(
    generations: Generations, start_server: StartServer
) -> None:
    running = start_server(Counting(generations))
    client = running.connect()
    assert [ask(client) for _ in range(3)] == [0, 1, 2]
    assert (running.server.lane.published, running.errors) == (0, [])


def make_lane(**more: Any) -> Lane:
    limits = {"head_timeout_s": 1.0, "idle_timeout_s": 1.0, "send_timeout_s": 1.0}
    return Lane(**limits, logs_access=False, **more)


HEAD = b"HTTP/1.1 200 OK\r\nDate: Thu, 01 Jan 1970 00:00:00 GMT\r\n\r\n"


@pytest.mark.parametrize(("counter", "is_there"), [(0, True), (3, True), (4, False), (-1, False)])
def test_a_counter_must_be_one_of_those_given(counter: int, is_there: bool) -> None:
    lane = make_lane(generations=memoryview(mmap.mmap(-1, 32)).cast("Q"))
    assert lane.publish(GET, HEAD, [b"x"], ((counter, 0, 1.0),)) is is_there
    lane.close()


def test_the_counters_stay_as_long_as_the_lane_is_open() -> None:
    memory = mmap.mmap(-1, 4096)
    lane = make_lane(generations=memory)
    with pytest.raises(BufferError):
        memory.close()
    lane.close()
    lane.close()
    memory.close()
    assert memory.closed


def test_what_is_no_buffer_is_refused() -> None:
    with pytest.raises(TypeError):
        make_lane(generations=7)
