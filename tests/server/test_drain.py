"""Stopping: nobody who is being served notices, nobody is waited for longer than said."""

from __future__ import annotations

import socket
from typing import Any

import gevent
import pytest

from tests.server.wire import StartServer, get, hello, wait_until


def slow(environ: Any, start_response: Any) -> list[bytes]:
    gevent.sleep(0.2)
    return hello(environ, start_response)


def test_a_running_request_is_finished(start_server: StartServer) -> None:
    running = start_server(slow)
    client = running.connect()
    client.send(get())
    gevent.sleep(0.02)
    draining = gevent.spawn(running.server.drain, 5)
    answer = client.answer()
    assert (answer.body, answer.headers["connection"]) == (b"hello", "close")
    assert draining.get() is True


def test_nothing_is_accepted_while_draining(start_server: StartServer) -> None:
    running = start_server(hello)
    assert running.server.drain(1) is True
    with pytest.raises(ConnectionRefusedError):
        running.connect()


def test_idle_connections_are_closed_at_once(start_server: StartServer) -> None:
    running = start_server(hello, drain_grace_s=0)
    client = running.connect()
    client.send(get())
    assert client.answer().status == 200
    wait_until(lambda: running.server.lane.connections == running.server.connections)
    assert running.server.drain(60) is True
    assert client.rest() == b""


def test_a_request_already_sent_is_served(start_server: StartServer) -> None:
    running = start_server(hello, drain_grace_s=0)
    client = running.connect()
    client.send(get())
    assert client.answer().status == 200
    client.send(get())
    assert running.server.drain(60) is True
    assert client.answer().headers["connection"] == "close"


def test_a_connection_in_use_may_send_one_more_request(start_server: StartServer) -> None:
    running = start_server(hello, drain_grace_s=0.3)
    fresh, used = running.connect(), running.connect()
    used.send(get())
    assert used.answer().status == 200
    draining = gevent.spawn(running.server.drain, 60)
    gevent.sleep(0.05)
    for client in (fresh, used):
        client.send(get())
        assert client.answer().headers["connection"] == "close"
    assert draining.get() is True


def test_what_takes_too_long_is_cut(start_server: StartServer) -> None:
    closed = []

    class Endless:
        def __iter__(self) -> Any:
            while True:
                yield b"x"
                gevent.sleep(0.01)

        def close(self) -> None:
            closed.append(True)

    def app(environ: Any, start_response: Any) -> Endless:
        start_response("200 OK", [])
        return Endless()

    running = start_server(app)
    client = running.connect()
    client.send(get())
    client.read(10)
    assert running.server.drain(0.1) is False
    assert closed == [True]
    assert not client.rest().endswith(b"0\r\n\r\n")
    assert running.errors == []


def test_who_waits_in_the_queue_is_served(start_server: StartServer) -> None:
    running = start_server(hello)
    clients = [socket.create_connection(("127.0.0.1", running.port)) for _ in range(30)]
    for client in clients:
        client.sendall(get())
    # Nothing was accepted yet: this loop has not had its turn.
    assert not running.server.connections
    assert running.server.drain(5) is True
    for client in clients:
        with client:
            client.settimeout(5)
            assert client.recv(1000).startswith(b"HTTP/1.1 200")
