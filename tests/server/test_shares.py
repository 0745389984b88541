"""Connections spread over the workers that wait at the same socket."""

from __future__ import annotations

import pytest

from fastreg.server.listener import bind
from fastreg.server.server import Server
from fastreg.server.shares import Share, Shares
from tests.server.wire import Client, get, hello


def test_a_worker_is_ahead_while_another_has_fewer_connections() -> None:
    shares = Shares(3)
    one, other = shares.claim(), shares.claim()
    assert not one.is_ahead()
    one.tell(2)
    other.tell(1)
    assert (one.is_ahead(), other.is_ahead()) == (True, False)
    other.tell(2)
    assert not one.is_ahead()


def test_a_worker_that_left_holds_nobody_back() -> None:
    shares = Shares(2)
    one, other = shares.claim(), shares.claim()
    one.tell(5)
    other.leave()
    assert not one.is_ahead()
    shares.claim().tell(0)  # there is no slot for it while the other drains
    assert not one.is_ahead()
    other.free()
    again = shares.claim()
    assert one.is_ahead()
    again.tell(6)
    assert again.is_ahead()


def test_a_worker_without_a_slot_takes_whom_it_can() -> None:
    shares = Shares(1)
    first, without = shares.claim(), shares.claim()
    without.tell(100)
    assert not without.is_ahead()
    first.tell(1)
    assert not first.is_ahead()
    assert not Share.alone().is_ahead()


@pytest.mark.parametrize("count", [2, 7, 16])
def test_connections_one_after_the_other_are_shared_evenly(count: int) -> None:
    (sock,) = bind("127.0.0.1:0")
    shares = Shares(2)
    servers = [Server([sock], hello, share=shares.claim()) for _ in range(2)]
    clients = []
    try:
        for server in servers:
            server.start()
        for _ in range(count):
            clients.append(Client(sock.getsockname()[1]))
            clients[-1].send(get())
            assert clients[-1].answer().status == 200
        counts = sorted(server.connections for server in servers)
        assert counts == [count // 2, count - count // 2]
    finally:
        for client in clients:
            client.close()
        for server in servers:
            server.drain(0)
        sock.close()
