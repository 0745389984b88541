"""The application over a local directory, with whatever settings a test wants."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fastreg.api.app import App
from fastreg.api.call import Settings
from fastreg.registry.registry import Registry
from fastreg.storage.local import LocalDriver
from tests.api.client import Client
from tests.api.samples import CONFIG, LAYER

MakeClient = Callable[..., Client]


@pytest.fixture(autouse=True)
def _no_sync(monkeypatch: pytest.MonkeyPatch) -> None:
    """Durability is for the drivers' suite to prove; syncs took 22 s of the 32 s here."""
    for name in ("fsync", "fdatasync"):
        monkeypatch.setattr(os, name, lambda fd: None)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """The data root: everything that may be written lies below."""
    return tmp_path / "data"


@pytest.fixture
def registry(root: Path) -> Registry:
    return Registry(LocalDriver(root))


@pytest.fixture
def app(registry: Registry) -> App:
    return App(registry, Settings(delete_enabled=True))


@pytest.fixture
def client(app: App) -> Client:
    return Client(app)


@pytest.fixture
def stocked(client: Client) -> Client:
    """The blobs of MANIFEST are there."""
    for blob in (CONFIG, LAYER):
        client.push_blob(blob)
    return client


@pytest.fixture
def client_with(registry: Registry) -> MakeClient:
    """Make a client of the same registry under other settings."""

    def make(**settings: Any) -> Client:
        return Client(App(registry, Settings(**settings)))

    return make
