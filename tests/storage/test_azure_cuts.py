"""Reading from Azure when answers are cut: it goes on there, or fails; it never mixes."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from azure.storage.blob import ContainerClient

from fastreg.storage.azure import AzureDriver
from fastreg.storage.base import Driver, Readable
from fastreg.storage.errors import StorageError
from tests.faulty import faults
from tests.faulty.cloud import Cloud
from tests.faulty.exchange import Exchange
from tests.faulty.proxy import FaultProxy
from tests.live.client import noise
from tests.live.processes import wait_until

MIB = 1 << 20
BLOB = "docker/registry/v2/blobs/sha256/ab/abcd/data"
RETRIES = 4
"""What `cloud` is set to."""


def read_into(received: bytearray, reader: Readable) -> None:
    with reader:
        while data := reader.read(300_000):
            received += data


def read_all(reader: Readable) -> bytes:
    received = bytearray()
    read_into(received, reader)
    return bytes(received)


@pytest.fixture(scope="module")
def content() -> bytes:
    return noise("a layer", 9 * MIB + 12_345)


@pytest.mark.parametrize("sent", [0, 1, 65_536, 200_000, 1_000_003])
@pytest.mark.parametrize("nth", [1, 2, 3])
def test_a_blob_cut_half_way_goes_on_where_it_was_cut(
    azure: Driver,
    proxy: FaultProxy,
    container: ContainerClient,
    content: bytes,
    sent: int,
    nth: int,
) -> None:
    container.upload_blob(BLOB, content)
    rule = proxy.inject("get", faults.cut_at(sent), nth=nth, times=2)
    assert read_all(azure.open(BLOB)) == content
    assert rule.is_done
    assert proxy.fetched_bytes() < len(content) + 3 * MIB
    assert all("if-match" in seen.headers for seen in proxy.requests("get") if seen.start)


def test_a_range_of_a_blob_cut_half_way_goes_on(
    azure: Driver, proxy: FaultProxy, container: ContainerClient, content: bytes
) -> None:
    container.upload_blob(BLOB, content)
    proxy.inject("get", faults.cut_at(70_000), times=3)
    assert read_all(azure.open(BLOB, 123, 6 * MIB)) == content[123 : 123 + 6 * MIB]
    assert all(seen.number <= 9 for seen in proxy.requests("get"))


def test_a_blob_replaced_while_it_is_read_is_never_mixed(
    azure: Driver, proxy: FaultProxy, container: ContainerClient, content: bytes
) -> None:
    container.upload_blob(BLOB, content)
    other = bytes(reversed(content))

    def fault(exchange: Exchange) -> None:
        container.upload_blob(BLOB, other, overwrite=True)
        exchange.pass_on()

    proxy.inject("get", fault, nth=2)
    received = bytearray()
    with pytest.raises(StorageError):
        read_into(received, azure.open(BLOB))
    assert content.startswith(received)


def test_a_blob_deleted_while_it_is_read_is_an_error(
    azure: Driver, proxy: FaultProxy, container: ContainerClient, content: bytes
) -> None:
    container.upload_blob(BLOB, content)

    def fault(exchange: Exchange) -> None:
        container.delete_blob(BLOB)
        exchange.pass_on()

    proxy.inject("get", fault, nth=2)
    with pytest.raises(StorageError):
        read_all(azure.open(BLOB))


def test_a_blob_that_is_cut_again_and_again_ends_in_an_error(
    azure: Driver, proxy: FaultProxy, container: ContainerClient, content: bytes
) -> None:
    container.upload_blob(BLOB, content)
    proxy.inject("get", faults.cut_at(0), nth=2, times=1000)
    with pytest.raises(StorageError):
        read_all(azure.open(BLOB))
    # Four ranges may be under way at once.
    assert proxy.count("get") <= 1 + 4 * (RETRIES + 1)


def test_a_line_that_breaks_every_moment_brings_the_blob_all_the_same(
    azure: Driver, proxy: FaultProxy, container: ContainerClient, content: bytes
) -> None:
    container.upload_blob(BLOB, content)
    proxy.inject("get", faults.cut_at(1_500_000), times=30)
    assert read_all(azure.open(BLOB)) == content
    assert proxy.fetched_bytes() < 2 * len(content)
    assert all("if-match" in seen.headers for seen in proxy.requests("get") if seen.start)


def test_an_answer_that_stalls_holds_up_no_other(cloud: Cloud, content: bytes) -> None:
    azure, proxy, container = AzureDriver(cloud.settings), cloud.proxy, cloud.container
    container.upload_blob(BLOB, content)
    container.upload_blob(f"{BLOB}/link", b"small")
    gate = threading.Event()
    proxy.inject("get", faults.stalled(gate, 100_000), key=BLOB)
    with ThreadPoolExecutor(1) as threads:
        waiting = threads.submit(lambda: read_all(azure.open(BLOB)))
        wait_until(lambda: any(s.sent_bytes >= 100_000 for s in proxy.requests("get")), "it stalls")
        try:
            assert azure.get(f"{BLOB}/link", 100) == b"small"
            assert read_all(azure.open(BLOB)) == content
            begun = [seen.start for seen in proxy.requests("get", BLOB)]
            assert begun.count(0) == 2, "nobody has lost patience yet"
        finally:
            gate.set()
        assert waiting.result() == content
