"""Servers for the tests of a connection: real sockets, no threads, no processes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from fastreg.server.listener import bind
from fastreg.server.server import Server
from fastreg.server.settings import Settings
from tests.server.wire import Records, Running, StartServer


@pytest.fixture
def start_server() -> Iterator[StartServer]:
    """Start a server: `start_server(app, **settings)`."""
    started: list[Running] = []

    def start(app: Any, **settings: Any) -> Running:
        (sock,) = bind("127.0.0.1:0")
        records = Records()
        errors: list[tuple[str, dict[str, object]]] = []
        server = Server(
            [sock],
            app,
            settings=Settings(**settings),
            access_log=records,
            error_log=lambda event, fields: errors.append((event, fields)),
        )
        server.start()
        running = Running(server, sock.getsockname()[1], records, errors)
        sock.close()
        started.append(running)
        return running

    yield start
    for running in started:
        for client in running.clients:
            client.close()
        running.server.drain(0)
