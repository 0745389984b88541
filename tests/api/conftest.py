"""The application over every driver, with whatever settings a test wants.

A test that uses `root` is about files, and for the local disk alone.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from fastreg.api.app import App
from fastreg.api.call import Settings
from fastreg.registry.registry import Registry
from fastreg.storage.azure import AzureDriver
from fastreg.storage.azure_client import AzureSettings
from fastreg.storage.base import Driver
from fastreg.storage.local import LocalDriver
from tests.api.client import Client
from tests.api.samples import CONFIG, LAYER
from tests.azurite import Azurite

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


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "driver" in metafunc.fixturenames:
        kinds = ["local"] if "root" in metafunc.fixturenames else ["local", "azure"]
        metafunc.parametrize("driver", kinds, indirect=True)


_places = count()


@pytest.fixture(scope="session")
def container(azurite: Azurite) -> AzureSettings:
    return azurite.new_container()


@pytest.fixture
def driver(request: pytest.FixtureRequest) -> Driver:
    if request.param == "local":
        return LocalDriver(request.getfixturevalue("root"))
    container = request.getfixturevalue("container")
    # A container of its own would cost each test more than all that it asks.
    return AzureDriver(replace(container, root_directory=f"test-{next(_places)}"))


@pytest.fixture
def registry(driver: Driver) -> Registry:
    return Registry(driver)


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
