"""What a manifest that is asked for says of the blobs that will be asked for next."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from fastreg.api.app import App
from fastreg.api.call import Settings
from fastreg.oci.digest import Digest
from fastreg.registry import paths
from fastreg.registry.registry import Registry
from fastreg.storage.local import LocalDriver
from tests.api.client import OCI_INDEX, Client, encode, index
from tests.api.samples import CONFIG, CONTENT, DIGEST, LAYER, MANIFEST, put, url_of


class Noting(LocalDriver):
    """Notes what it is told to bring nearer."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.prefetched: list[str] = []

    def prefetch(self, key: str) -> None:
        self.prefetched.append(key)


@pytest.fixture
def driver(root: Path) -> Noting:
    return Noting(root)


@pytest.fixture
def make(driver: Noting) -> Callable[[bool], Client]:
    def make(prefetch: bool) -> Client:
        client = Client(App(Registry(driver), Settings(prefetch=prefetch)))
        for blob in (CONFIG, LAYER):
            client.push_blob(blob)
        put(client, "v1")
        return client

    return make


@pytest.mark.parametrize("reference", ["v1", DIGEST])
def test_the_blobs_of_an_image_are_prefetched(
    driver: Noting, make: Callable[[bool], Client], reference: str
) -> None:
    assert make(True).get(url_of(reference)).body == CONTENT
    assert driver.prefetched == [paths.blob_data(Digest.of(blob)) for blob in (CONFIG, LAYER)]


def test_nothing_is_prefetched_unless_it_is_asked_for(
    driver: Noting, make: Callable[[bool], Client]
) -> None:
    assert make(False).get(url_of("v1")).status == 200
    assert driver.prefetched == []


def test_who_only_looks_prefetches_nothing(driver: Noting, make: Callable[[bool], Client]) -> None:
    client = make(True)
    assert client.head(url_of("v1")).status == 200
    assert client.get(url_of("v1"), If_None_Match=f'"{DIGEST}"').status == 304
    assert client.get(url_of("absent")).status == 404
    assert driver.prefetched == []


def test_an_index_prefetches_nothing(driver: Noting, make: Callable[[bool], Client]) -> None:
    client = make(True)
    content = encode(index(MANIFEST))
    assert put(client, "all", content, Content_Type=OCI_INDEX).status == 201
    assert client.get(url_of("all")).status == 200
    assert driver.prefetched == []
