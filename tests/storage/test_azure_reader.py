"""Ranges of a blob under way: early, some at once, bounded, and given up with the reader."""

import threading
from collections.abc import Iterator

import pytest
from azure.storage.blob import ContainerClient

from fastreg.storage import azure_transfers
from fastreg.storage.azure import AzureDriver
from fastreg.storage.base import Driver
from tests.faulty import faults
from tests.faulty.cloud import Cloud
from tests.faulty.proxy import FaultProxy
from tests.live.client import noise
from tests.live.processes import wait_until

MIB = 1 << 20
BLOB = "docker/registry/v2/blobs/sha256/ab/abcd/data"
FIRST = 256 << 10
RANGE = 4 * MIB
AHEAD = 4


@pytest.fixture(scope="module")
def content() -> bytes:
    return noise("a layer", 8 * RANGE)


@pytest.fixture
def blob(container: ContainerClient, content: bytes) -> str:
    container.upload_blob(BLOB, content)
    return BLOB


@pytest.fixture
def gate(proxy: FaultProxy, blob: str) -> Iterator[threading.Event]:
    """Until it opens, the account answers no range but the first."""
    gate = threading.Event()
    proxy.inject("get", faults.held(gate), nth=2, times=1000)
    yield gate
    gate.set()


def test_the_first_bytes_are_read_while_the_rest_is_under_way(
    azure: Driver, blob: str, content: bytes, gate: threading.Event
) -> None:
    with azure.open(blob) as reader:
        assert reader.read(FIRST) == content[:FIRST]
        gate.set()
        assert b"".join(iter(lambda: reader.read(MIB), b"")) == content[FIRST:]


def test_nothing_more_is_asked_for_before_the_first_bytes_were_read(
    azure: Driver, proxy: FaultProxy, blob: str
) -> None:
    with azure.open(blob) as reader:
        assert reader.read(FIRST - 1)
        assert proxy.count("get") == 1


def test_some_ranges_are_under_way_at_once_and_no_more(
    cloud: Cloud, proxy: FaultProxy, blob: str, content: bytes, gate: threading.Event
) -> None:
    with AzureDriver(cloud.settings).open(blob) as reader:
        segments = reader.segments()
        assert next(segments) == content[:FIRST]
        thread = threading.Thread(target=next, args=(segments,))
        thread.start()
        wait_until(lambda: proxy.count("get") == 1 + AHEAD, "the ranges are asked for")
        gate.set()
        thread.join()
        assert proxy.count("get") == 1 + AHEAD
    starts = sorted(seen.start for seen in proxy.requests("get"))
    assert starts == [0, *range(FIRST, FIRST + AHEAD * RANGE, RANGE)]


def test_a_range_is_asked_for_to_its_end_and_not_beyond(
    azure: Driver, proxy: FaultProxy, blob: str, content: bytes
) -> None:
    with azure.open(blob, 5, FIRST + RANGE + 7) as reader:
        assert b"".join(map(bytes, reader.segments())) == content[5 : 5 + FIRST + RANGE + 7]
    assert proxy.count("get") == 3
    assert proxy.fetched_bytes() == FIRST + RANGE + 7


def test_a_reader_that_leaves_asks_for_nothing_more(
    azure: Driver, proxy: FaultProxy, blob: str, content: bytes
) -> None:
    with azure.open(blob) as reader:
        read = [reader.read(FIRST), reader.read(1)]
    assert b"".join(read) == content[: FIRST + 1]
    asked = proxy.count("get")
    assert asked <= 1 + AHEAD
    with azure.open(blob) as another:
        assert another.read(1) == content[:1]
    assert proxy.count("get") <= asked + 1


def test_readers_that_wait_hold_little_when_they_are_many(
    cloud: Cloud,
    proxy: FaultProxy,
    blob: str,
    content: bytes,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(azure_transfers, "_READ_OF_ALL", 4 * MIB)
    driver = AzureDriver(cloud.settings)
    readers = [driver.open(blob) for _ in range(4)]
    for reader in readers:
        assert reader.read(FIRST) == content[:FIRST]
        assert reader.read(1) == content[FIRST : FIRST + 1]
    assert proxy.fetched_bytes() <= 4 * (FIRST + MIB)
    for reader in readers:
        rest = b"".join(iter(lambda reader=reader: reader.read(RANGE), b""))  # type: ignore[misc]
        assert rest == content[FIRST + 1 :]
        reader.close()


def test_the_share_of_readers_that_left_is_for_others(
    cloud: Cloud, proxy: FaultProxy, blob: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(azure_transfers, "_READ_OF_ALL", AHEAD * RANGE)
    driver = AzureDriver(cloud.settings)
    for _ in range(3):
        driver.open(blob).close()
    with driver.open(blob) as reader:
        reader.read(FIRST)
        before = proxy.count("get")
        reader.read(1)
        wait_until(lambda: proxy.count("get") == before + AHEAD, "all ranges are asked for")
        assert proxy.count("get") == before + AHEAD
