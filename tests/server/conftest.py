"""Servers for the tests of a connection: real sockets, no threads, no processes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.server.lanes import push_everything
from tests.server.wire import StartServer, servers


@pytest.fixture
def start_server() -> Iterator[StartServer]:
    """Start a server: `start_server(app, **settings)`."""
    with servers() as start:
        yield start


@pytest.fixture(scope="session")
def lane_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data root with a bit of everything, not to be changed."""
    return push_everything(tmp_path_factory.mktemp("lanes") / "data")
