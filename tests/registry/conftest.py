"""Registries over a directory. What is durable is the storage suite's subject: here no call
waits for the disk."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from fastreg.registry.registry import Registry
from fastreg.registry.repository import Repository
from fastreg.storage.local import LocalDriver
from tests.registry.faults import HookedDriver


@pytest.fixture(scope="module", autouse=True)
def no_waiting_for_the_disk() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda fd: None)
        patch.setattr(os, "fdatasync", lambda fd: None)
        yield


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "root"


@pytest.fixture
def driver(root: Path) -> HookedDriver:
    return HookedDriver(LocalDriver(root))


@pytest.fixture
def registry(driver: HookedDriver) -> Registry:
    return Registry(driver)


@pytest.fixture
def repository(registry: Registry) -> Repository:
    return registry.repository("library/app")
