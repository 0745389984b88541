"""Connections that go back and forth between the lane and the application."""

from __future__ import annotations

import os
import resource
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import gevent
import pytest

from fastreg.server import server as server_module
from tests.api.client import Client, digest_of
from tests.server.lanes import (
    BIG,
    BIG_DIGEST,
    MANIFEST,
    SMALL,
    SMALL_DIGEST,
    TwoWays,
    app_over,
    encode,
    exchange,
    publish,
    request,
    serving_two_ways,
    settle,
    start_app,
    take_lines,
)
from tests.server.wire import Running, StartServer, wait_until

TAG = request("/v2/app/manifests/v1")
TAG_HEAD = request("/v2/app/manifests/v1", method="HEAD")
SMALL_GET = request(f"/v2/app/blobs/{SMALL_DIGEST}")
BIG_GET = request(f"/v2/app/blobs/{BIG_DIGEST}")
OF_THE_APP = request("/v2/app/tags/list")
HUGE = BIG * 64
HUGE_GET = request(f"/v2/app/blobs/{digest_of(HUGE)}")


@pytest.fixture(scope="module")
def ways(lane_root: Path) -> Iterator[TwoWays]:
    with serving_two_ways(lane_root) as ways:
        yield ways


@pytest.fixture(scope="module")
def huge_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data root with a manifest and a blob of 64 MiB."""
    root = tmp_path_factory.mktemp("huge") / "data"
    client = Client(app_over(root))
    for blob in (*(b'{"os": "linux"}', SMALL, BIG), HUGE):
        client.push_blob(blob)
    client.push_manifest(MANIFEST, "v1")
    settle()
    return root


@pytest.fixture
def huge(huge_root: Path, start_server: StartServer) -> Running:
    """A server whose lane has the 64 MiB, and the manifest."""
    running = start_app(start_server, huge_root)
    return publish(running, TAG, HUGE_GET)


# --- descriptors


@pytest.fixture
def few_descriptors() -> Iterator[int]:
    """How many more this process may open."""
    room = 100
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (len(os.listdir("/proc/self/fd")) + room, limits[1]))
    yield room
    resource.setrlimit(resource.RLIMIT_NOFILE, limits)


def test_published_files_leave_descriptors_for_everybody_else(
    few_descriptors: int, tmp_path: Path, start_server: StartServer
) -> None:
    blobs = [b"%d" % number * 70_000 for number in range(2 * few_descriptors)]
    for blob in blobs:
        Client(app_over(tmp_path / "data")).push_blob(blob)
    settle()
    running = start_app(start_server, tmp_path / "data")
    for blob in blobs:
        client = running.connect()
        client.send(request(f"/v2/app/blobs/{digest_of(blob)}"))
        assert client.answer().body == blob
        client.close()
    assert 0 < running.server.lane.published < few_descriptors
    assert running.errors == []


# --- idle


def test_an_idle_connection_costs_no_greenlet(ways: TwoWays) -> None:
    server = ways.through.server
    clients = [ways.through.connect() for _ in range(50)]
    for raw in (OF_THE_APP, TAG, OF_THE_APP, SMALL_GET):
        for client in clients:
            client.send(raw)
        assert {client.answer().status for client in clients} == {200}
        wait_until(lambda: not server._serving and not len(server._greenlets))
        assert server.connections == server.lane.connections == 50
    for client in clients:
        client.close()
    wait_until(lambda: not server.connections)


@pytest.fixture
def quick_ticks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_module, "_TICK_S", 0.02)


def test_after_answers_of_the_lane_the_timeouts_are_those_of_any_connection(
    quick_ticks: None, lane_root: Path, start_server: StartServer
) -> None:
    running = start_app(start_server, lane_root, head_timeout_s=0.4, idle_timeout_s=0.6)
    publish(running, TAG)
    idle, begun, dribbling = (running.connect() for _ in range(3))
    for client in (idle, begun, dribbling):
        client.send(TAG)
        assert client.answer().status == 200
    begun.send(TAG[:30])
    assert dribbling.send_until_refused(b"G", limit=1000, pause_s=0.02) < 1000
    answer = begun.answer()
    assert (answer.status, answer.headers["connection"]) == (408, "close")
    assert idle.rest() == b""
    statuses = [record.status for record in running.records]
    assert statuses.count(408) == 2
    wait_until(lambda: not running.server.connections)


def test_a_client_that_never_reads_is_cut_and_logged(
    quick_ticks: None, huge_root: Path, start_server: StartServer
) -> None:
    running = publish(start_app(start_server, huge_root, send_timeout_s=0.2), HUGE_GET)
    client = running.connect()
    client.send(HUGE_GET)
    wait_until(lambda: running.server.connections)
    wait_until(lambda: not running.server.connections)
    with pytest.raises(ConnectionResetError):
        client.rest()
    (line,) = take_lines(running)
    assert b'" 200 ' in line
    assert int(line.split()[-3]) < len(HUGE)


@pytest.mark.parametrize("is_published", [True, False], ids=["lane", "app"])
def test_what_a_drain_cuts_is_logged(
    huge_root: Path, start_server: StartServer, is_published: bool
) -> None:
    running = start_app(start_server, huge_root)
    if is_published:
        publish(running, HUGE_GET)
    client = running.connect()
    client.send(HUGE_GET)
    client.read(1000)
    assert running.server.drain(0.1) is False
    with pytest.raises((AssertionError, ConnectionResetError)):
        client.read(len(HUGE))
    (line,) = take_lines(running)
    assert b'" 200 ' in line
    assert int(line.split()[-3]) < len(HUGE)


# --- pipelined, split, slow

PIPELINED = {
    "the lane's": [TAG, TAG_HEAD, SMALL_GET, TAG] * 50,
    "every other the lane's": [TAG, OF_THE_APP, SMALL_GET, OF_THE_APP] * 50,
    "big ones between": ([TAG] * 9 + [BIG_GET] + [TAG_HEAD] * 9 + [OF_THE_APP]) * 10,
    "big ones in a row": [BIG_GET] * 20,
}


@pytest.mark.parametrize("name", PIPELINED)
@pytest.mark.parametrize("pause_s", [0, 0.001], ids=["fast", "slow"])
def test_whoever_reads_gets_every_pipelined_answer_and_every_line(
    ways: TwoWays, name: str, pause_s: float
) -> None:
    raw = b"".join(PIPELINED[name])
    expected = exchange(ways.around, raw)
    exchange(ways.through, raw)
    found = exchange(ways.through, raw, reads=lambda: gevent.sleep(pause_s))
    assert found == expected
    assert len(found.lines) == len(PIPELINED[name])
    assert found.by_lane == len(PIPELINED[name]) - PIPELINED[name].count(OF_THE_APP)


MIXED = [TAG, OF_THE_APP, request("/v2/", "Range: bytes=0-1"), BIG_GET, TAG_HEAD]


def test_requests_mean_the_same_split_at_every_byte(ways: TwoWays) -> None:
    raw = b"".join(MIXED)
    expected = exchange(ways.around, raw)
    exchange(ways.through, raw)
    cuts = [[raw[:at], raw[at:]] for at in range(1, len(raw), 3)]
    cuts.append([raw[at : at + 1] for at in range(len(raw))])
    for pieces in cuts:
        found = exchange(ways.through, *pieces)
        assert found == expected
        assert found.by_lane == 3


def test_a_connection_left_open_is_answered_as_far_as_it_went(ways: TwoWays) -> None:
    client = ways.through.connect()
    for at in (1, 20, len(TAG) - 1):
        client.send(TAG + TAG_HEAD + OF_THE_APP + TAG[:at])
        answers = [client.answer(method) for method in ("GET", "HEAD", "GET")]
        client.send(TAG[at:])
        answers.append(client.answer())
        assert [each.status for each in answers] == [200] * 4
        assert answers[0].body == answers[3].body == encode(MANIFEST)


def test_a_slow_request_and_a_fast_one_follow_each_other(
    ways: TwoWays, tmp_path: Path, start_server: StartServer
) -> None:
    running = start_app(start_server, tmp_path / "data")
    Client(app_over(tmp_path / "data")).push_blob(SMALL)
    settle()
    publish(running, SMALL_GET)
    client = running.connect()
    for number in range(5):
        content = b"%d" % number * 1000
        by_lane = running.server.lane.answered
        target = f"/v2/app/blobs/uploads/?digest={digest_of(content)}"
        client.send(SMALL_GET + request(target, "Transfer-Encoding: chunked", method="POST"))
        assert client.answer().body == SMALL
        for at in range(0, 1000, 100):
            client.send(b"64\r\n" + content[at : at + 100] + b"\r\n")
            gevent.sleep(0.001)
        assert len(running.server._serving) == 1
        client.send(b"0\r\n\r\n" + SMALL_GET + SMALL_GET)
        assert [client.answer().status for _ in range(2)] == [201, 200]
        assert client.answer().body == SMALL
        assert running.server.lane.answered == by_lane + 3
    wait_until(lambda: not running.server._serving)


# --- fairness


def test_manifests_are_answered_while_a_hundred_pull_slowly(huge: Running) -> None:
    pulling = [huge.connect() for _ in range(100)]
    for client in pulling:
        client.send(HUGE_GET)
    asking = huge.connect()
    for number in range(300):
        asking.send(TAG)
        assert asking.answer().body == encode(MANIFEST)
        assert pulling[number % len(pulling)].sock.recv(64 << 10)
    assert all(len(client.read(100_000)) == 100_000 for client in pulling[:10])
    assert huge.server.lane.connections == 101
    assert len(huge.server._greenlets) == 0


def test_a_fast_client_leaves_the_others_their_turns(huge: Running) -> None:
    stop = threading.Event()
    pulled = [0]

    def pull() -> None:
        buffer = bytearray(1 << 20)
        with socket.create_connection(("127.0.0.1", huge.port), timeout=10) as sock:
            sock.sendall(HUGE_GET * 1000)
            while not stop.is_set() and (count := sock.recv_into(buffer)):
                pulled[0] += count

    thread = threading.Thread(target=pull)
    thread.start()
    try:
        wait_until(lambda: pulled[0])
        began = pulled[0]
        asking = huge.connect()
        for _ in range(100):
            asking.send(TAG)
            assert asking.answer().status == 200
        assert pulled[0] - began < 100 * 16 * len(BIG)
    finally:
        stop.set()
        gevent.get_hub().threadpool.apply(thread.join)
    assert pulled[0] > 0
