"""How an object gets into Azure: in which requests, and what is seen of it meanwhile."""

import gc
import os
import resource
import threading

import pytest
from azure.storage.blob import BlobBlock

from fastreg.storage.azure import AzureDriver
from fastreg.storage.azure_writer import AzureWriter
from fastreg.storage.errors import Busy, NoSpace, NotFound, StorageError
from tests.faulty import faults
from tests.faulty.cloud import Cloud
from tests.storage.azure_samples import BLOCK, CONTENT, DATA, FINAL, SMALL, read_ranges, wait_until


@pytest.fixture
def azure(cloud: Cloud) -> AzureDriver:
    return AzureDriver(cloud.settings)


def blocks_of(cloud: Cloud, key: str) -> list[int]:
    committed, _ = cloud.container.get_blob_client(key).get_block_list()
    return [block.size for block in committed]


def open_memfds() -> list[str]:
    links = (f"/proc/self/fd/{fd}" for fd in os.listdir("/proc/self/fd"))
    return [name for name in map(_target, links) if "fastreg-window" in name]


def _target(link: str) -> str:
    try:
        return os.readlink(link)
    except FileNotFoundError:
        return ""


# sessions


def test_an_object_is_one_commit_of_blocks_on_a_grid(azure: AzureDriver, cloud: Cloud) -> None:
    with azure.writer(DATA, append=False) as writer:
        for at in range(0, len(CONTENT), 1_000_003):
            writer.write(CONTENT[at : at + 1_000_003])
        assert azure.stat(DATA).size == 0
        writer.sync()
        assert cloud.read(DATA) == CONTENT
    assert blocks_of(cloud, DATA) == [BLOCK, BLOCK, BLOCK, 12_345]
    assert cloud.proxy.count("commit") == 1
    assert cloud.proxy.count("put block") == 4


def test_steps_however_small_make_no_more_blocks(azure: AzureDriver, cloud: Cloud) -> None:
    sizes = [5, BLOCK - 5, 1, BLOCK, BLOCK + 7, 99]
    at = 0
    for size in sizes:
        with azure.writer(DATA, append=at > 0) as writer:
            assert writer.size == at
            writer.write(CONTENT[at : at + size])
        at += size
    assert cloud.read(DATA) == CONTENT[:at]
    assert blocks_of(cloud, DATA) == [BLOCK, BLOCK, BLOCK, at - 3 * BLOCK]


def test_a_writer_goes_on_after_each_sync(azure: AzureDriver, cloud: Cloud) -> None:
    with azure.writer(DATA, append=False) as writer:
        for at in range(0, 2 * BLOCK, 700_001):
            writer.write(CONTENT[at : at + 700_001])
            writer.sync()
            assert cloud.read(DATA) == CONTENT[: writer.size]
    assert blocks_of(cloud, DATA) == [BLOCK, BLOCK, writer.size - 2 * BLOCK]


def test_the_beginning_of_a_session_that_arrives_again_later_loses_nothing(
    azure: AzureDriver, cloud: Cloud
) -> None:
    gate = threading.Event()
    cloud.proxy.inject("put", faults.late(gate))
    with azure.writer(DATA, append=False) as writer:
        writer.write(CONTENT)
    gate.set()
    wait_until(lambda: all(seen.is_over for seen in cloud.proxy.requests("put")))
    assert cloud.read(DATA) == CONTENT


def test_a_new_writer_takes_the_place_of_what_is_there(azure: AzureDriver, cloud: Cloud) -> None:
    for content in (CONTENT, SMALL, CONTENT[:BLOCK]):
        with azure.writer(DATA, append=False) as writer:
            assert azure.stat(DATA).size == writer.size == 0
            writer.write(content)
        assert cloud.read(DATA) == content


def test_what_is_small_is_put_in_one_request(azure: AzureDriver, cloud: Cloud) -> None:
    azure.writer(DATA, append=False).close()
    cloud.proxy.heal()
    with azure.writer(DATA, append=True) as writer:
        writer.write(SMALL)
    assert [seen.kind for seen in cloud.proxy.seen] == ["get block list", "put"]
    assert cloud.read(DATA) == SMALL


def test_a_writer_that_writes_nothing_changes_nothing(azure: AzureDriver, cloud: Cloud) -> None:
    azure.writer(DATA, append=False).close()
    cloud.proxy.heal()
    with azure.writer(DATA, append=True) as writer:
        writer.sync()
    assert [seen.kind for seen in cloud.proxy.seen] == ["get block list"]


def test_of_two_writers_the_one_that_syncs_later_has_lost_and_mixes_nothing(
    azure: AzureDriver, cloud: Cloud
) -> None:
    azure.writer(DATA, append=False).close()
    one, other = (azure.writer(DATA, append=True) for _ in range(2))
    one.write(CONTENT)
    other.write(bytes(2 * BLOCK))
    one.sync()
    with pytest.raises(Busy):
        other.sync()
    assert other.size == 0
    other.close()
    one.write(b"more")
    one.close()
    assert cloud.read(DATA) == CONTENT + b"more"


def test_a_writer_whose_object_is_gone_says_so(azure: AzureDriver) -> None:
    azure.writer(DATA, append=False).close()
    with azure.writer(DATA, append=True) as writer:
        writer.write(CONTENT)
        azure.delete(DATA)
        with pytest.raises(NotFound):
            writer.sync()
        assert writer.size == 0


def test_blocks_that_nobody_committed_are_no_object(azure: AzureDriver, cloud: Cloud) -> None:
    writer = azure.writer(DATA, append=False, destination=FINAL)
    writer.write(CONTENT)
    writer.sync()
    assert writer.size == 0
    assert cloud.keys == []
    with pytest.raises(NotFound):
        azure.stat(FINAL)
    writer.abort()


def test_bytes_before_a_block_that_failed_are_kept(azure: AzureDriver, cloud: Cloud) -> None:
    azure.writer(DATA, append=False).close()
    cloud.proxy.inject("put block", faults.refuse(403, "Odd"), nth=4)
    with azure.writer(DATA, append=True) as writer:
        writer.write(CONTENT[: 3 * BLOCK])
        writer.write(CONTENT[3 * BLOCK :])
        with pytest.raises(StorageError, match="Odd"):
            writer.sync()
        # Which block comes fourth is chance.
        assert writer.size in (0, BLOCK, 2 * BLOCK, 3 * BLOCK)
        assert cloud.read(DATA) == CONTENT[: writer.size]
        writer.write(CONTENT[writer.size :])
    assert cloud.read(DATA) == CONTENT


@pytest.mark.parametrize("size", [0, 1000, BLOCK, 2 * BLOCK + 9])
def test_what_the_reference_registry_appended_is_gone_on_with(
    azure: AzureDriver, cloud: Cloud, size: int
) -> None:
    blob = cloud.container.get_blob_client(DATA)
    blob.create_append_blob()
    for at in range(0, size, 1 << 20):
        blob.append_block(CONTENT[at : min(size, at + (1 << 20))])
    with azure.writer(DATA, append=True) as writer:
        assert writer.size == size
        writer.write(CONTENT[size:-5])
    with azure.writer(DATA, append=True) as writer:
        writer.write(CONTENT[-5:])
    assert cloud.read(DATA) == CONTENT
    assert blocks_of(cloud, DATA) == [BLOCK, BLOCK, BLOCK, 12_345]
    assert cloud.keys == [DATA]


def test_what_another_program_put_is_gone_on_with(azure: AzureDriver, cloud: Cloud) -> None:
    blob = cloud.container.get_blob_client(DATA)
    for name, at in (("a", 0), ("b", 5_000_000)):
        blob.stage_block(name, CONTENT[at : at + 5_000_000])
    blob.commit_block_list([BlobBlock("a"), BlobBlock("b")])
    with azure.writer(DATA, append=True) as writer:
        writer.write(CONTENT[10_000_000:])
    assert cloud.read(DATA) == CONTENT
    assert cloud.keys == [DATA]


def test_an_appended_session_is_not_rewritten_for_nothing(azure: AzureDriver, cloud: Cloud) -> None:
    blob = cloud.container.get_blob_client(DATA)
    blob.create_append_blob()
    for at in range(0, len(CONTENT), BLOCK):
        blob.append_block(CONTENT[at : at + BLOCK])
    with azure.writer(DATA, append=True) as writer:
        writer.commit(FINAL)
    assert read_ranges(cloud) == cloud.proxy.count("put block") == 0
    assert cloud.read(FINAL) == CONTENT
    assert cloud.keys == [FINAL]


# memory and threads


def test_no_more_than_six_blocks_are_in_memory(azure: AzureDriver, cloud: Cloud) -> None:
    gate = threading.Event()
    cloud.proxy.inject("put block", faults.held(gate), times=100)
    writer = azure.writer(DATA, append=False, destination=FINAL)
    assert isinstance(writer, AzureWriter)
    done = threading.Event()

    def write() -> None:
        for at in range(0, 8 * BLOCK, 1 << 20):
            writer.write(CONTENT[at % (2 * BLOCK) :][: 1 << 20])
        done.set()

    thread = threading.Thread(target=write)
    thread.start()
    wait_until(lambda: cloud.proxy.count("put block") == 5 and writer.size == 6 * BLOCK)
    assert not done.wait(0.3)
    assert writer.size == 6 * BLOCK
    with writer.file as fd:
        assert os.fstat(fd).st_blocks * 512 <= 6 * BLOCK
    gate.set()
    thread.join()
    writer.abort()
    assert cloud.keys == []


def test_the_more_writers_the_fewer_blocks_each_has_on_its_way(
    azure: AzureDriver, cloud: Cloud
) -> None:
    gate = threading.Event()
    cloud.proxy.inject("put block", faults.held(gate), times=100)
    writers = [azure.writer(f"u/{n}/data", append=False, destination=FINAL) for n in range(4)]
    for writer in writers:
        writer.write(CONTENT[:BLOCK])
    threads = [threading.Thread(target=writer.write, args=(CONTENT[BLOCK:],)) for writer in writers]
    for thread in threads:
        thread.start()
    wait_until(lambda: cloud.proxy.count("put block") == len(writers))
    wait_until(lambda: all(writer.size == 2 * BLOCK for writer in writers))
    assert cloud.proxy.count("put block") == len(writers)
    gate.set()
    for thread in threads:
        thread.join()
    for writer in writers:
        writer.abort()
    alone = azure.writer(DATA, append=False, destination=FINAL)
    gate.clear()
    before = cloud.proxy.count("put block")
    alone.write(CONTENT)
    wait_until(lambda: cloud.proxy.count("put block") == before + 3)
    gate.set()
    alone.abort()


def test_the_room_ends_with_the_block(azure: AzureDriver) -> None:
    with azure.writer(DATA, append=False, destination=FINAL) as writer:
        assert writer.room == BLOCK
        writer.write(CONTENT[:1000])
        assert writer.room == BLOCK - 1000
        writer.write(CONTENT[1000:BLOCK])
        assert writer.room == BLOCK


def test_bytes_may_come_by_the_descriptor(azure: AzureDriver, cloud: Cloud) -> None:
    with azure.writer(DATA, append=False) as writer:
        at = 0
        while at < len(CONTENT):
            piece = CONTENT[at : at + min(writer.room, 3_000_001)]
            with writer.file as fd:
                assert os.pwrite(fd, piece, at) == len(piece)
            at += len(piece)
            writer.wrote(at, None)
        writer.commit(FINAL)
    assert cloud.read(FINAL) == CONTENT


def test_what_memory_does_not_take_is_told_and_what_came_before_kept(
    azure: AzureDriver, cloud: Cloud
) -> None:
    with azure.writer(DATA, append=False) as writer:
        with pytest.raises(NoSpace):
            writer.wrote(0, OSError(28, "No space left on device"))
        writer.write(SMALL)
    assert cloud.read(DATA) == SMALL


def test_a_file_that_takes_no_more_is_an_error_of_the_store(azure: AzureDriver) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    with azure.writer(DATA, append=False, destination=FINAL) as writer:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
        try:
            with pytest.raises(StorageError):
                writer.write(bytes(2000))
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_windows_are_given_back_however_a_writer_ends(azure: AzureDriver) -> None:
    gc.collect()  # windows that failures of earlier tests still hold
    before = len(open_memfds())
    for end in ("commit", "abort", "close"):
        writer = azure.writer(DATA, append=False, destination=FINAL)
        writer.write(CONTENT)
        assert len(open_memfds()) > before
        if end == "commit":
            writer.commit(FINAL)
        else:
            getattr(writer, end)()
        del writer
        gc.collect()  # what failed in passing and was tried again is held by its traceback
        assert len(open_memfds()) <= before
