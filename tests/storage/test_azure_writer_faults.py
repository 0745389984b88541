"""Writers of the Azure driver on bad days: what was committed is whole, and there once."""

import contextlib
import threading

import pytest
from azure.storage.blob import ContainerClient

from fastreg.storage.base import Driver, Writer
from fastreg.storage.errors import Busy, StorageError
from tests.faulty import faults
from tests.faulty.exchange import Exchange
from tests.faulty.faults import Fault
from tests.faulty.proxy import FaultProxy
from tests.live.client import noise
from tests.live.processes import wait_until

MIB = 1 << 20
SESSION = "docker/registry/v2/repositories/app/_uploads/1234/data"
BLOB = "docker/registry/v2/blobs/sha256/ab/abcd/data"
SIZE = 10 * MIB + 777
"""Two blocks, and a rest."""

STAGED: dict[str, Fault] = {
    "throttled": faults.refuse(503, Retry_After="0"),
    "failed": faults.refuse(500, "InternalError"),
    "gateway": faults.gateway,
    "reset": faults.reset,
    "applied, then failed": faults.lose(500),
    "applied, then reset": faults.lose(None),
    "delivered twice": faults.twice,
}


@pytest.fixture(params=STAGED)
def fault(request: pytest.FixtureRequest) -> Fault:
    return STAGED[request.param]


@pytest.fixture(scope="module")
def content() -> bytes:
    return noise("a layer", SIZE)


def stored(container: ContainerClient, key: str) -> bytes:
    """What the account has under the key, asked past the proxy."""
    return bytes(container.download_blob(key).readall())


def is_there(container: ContainerClient, key: str) -> bool:
    return bool(container.get_blob_client(key).exists())


def write(writer: Writer, content: bytes) -> None:
    for start in range(0, len(content), 700_000):
        writer.write(content[start : start + 700_000])


# --- staging and committing


@pytest.mark.parametrize("kind", ["put block", "commit"])
@pytest.mark.parametrize("nth", [1, 2])
def test_what_is_written_is_kept_once(
    azure: Driver,
    proxy: FaultProxy,
    container: ContainerClient,
    content: bytes,
    fault: Fault,
    kind: str,
    nth: int,
) -> None:
    rule = proxy.inject(kind, fault, nth=nth)
    with azure.writer(SESSION, append=False) as writer:
        write(writer, content[: 5 * MIB])
        writer.sync()
        write(writer, content[5 * MIB :])
        writer.sync()
        assert writer.size == SIZE
    assert rule.is_done
    assert stored(container, SESSION) == content


def test_a_block_that_arrives_after_the_commit_changes_nothing(
    azure: Driver, proxy: FaultProxy, container: ContainerClient, content: bytes
) -> None:
    gate = threading.Event()
    proxy.inject("put block", faults.late(gate))
    with azure.writer(SESSION, append=False) as writer:
        write(writer, content)
        writer.sync()
        gate.set()
        first = proxy.requests("put block")[0]
        wait_until(lambda: first.is_over, "it has arrived")
        writer.write(b"more")
        writer.sync()
    assert stored(container, SESSION) == content + b"more"


def test_a_commit_that_arrives_after_the_next_changes_nothing(
    azure: Driver, proxy: FaultProxy, container: ContainerClient, content: bytes
) -> None:
    gate = threading.Event()
    with azure.writer(SESSION, append=False) as writer:
        proxy.inject("commit", faults.late(gate))
        write(writer, content[: 5 * MIB])
        writer.sync()
        write(writer, content[5 * MIB :])
        writer.sync()
        gate.set()
        first = proxy.requests("commit")[0]
        wait_until(lambda: first.is_over, "it has arrived")
    assert stored(container, SESSION) == content


def test_of_two_writers_one_is_told_that_it_lost(
    azure: Driver, container: ContainerClient, content: bytes
) -> None:
    container.upload_blob(SESSION, b"")
    with azure.writer(SESSION, append=True) as one, azure.writer(SESSION, append=True) as other:
        write(one, content)
        write(other, bytes(reversed(content)))
        other.sync()
        with pytest.raises(Busy):
            one.sync()
    assert stored(container, SESSION) == bytes(reversed(content))


def test_the_lost_answer_of_a_lost_race_is_no_success(
    azure: Driver, proxy: FaultProxy, container: ContainerClient, content: bytes
) -> None:
    container.upload_blob(SESSION, b"")

    def fault(exchange: Exchange) -> None:
        container.upload_blob(SESSION, b"theirs", overwrite=True)
        exchange.answer(500, "InternalError")

    with azure.writer(SESSION, append=True) as writer:
        write(writer, content)
        proxy.inject("commit", fault)
        with pytest.raises(Busy):
            writer.sync()
    assert stored(container, SESSION) == b"theirs"


def test_an_account_that_stays_down_is_not_stormed_by_a_writer(
    azure: Driver, proxy: FaultProxy, content: bytes
) -> None:
    proxy.choose(lambda seen: faults.refuse(503) if seen.kind == "put block" else None)
    with pytest.raises(StorageError):
        session_of(azure, content)
    assert 2 <= proxy.count("put block") <= 3 * 5


def test_a_session_goes_on_after_a_writer_that_died(
    azure: Driver, container: ContainerClient, content: bytes
) -> None:
    dead = azure.writer(SESSION, append=False)
    write(dead, content[: 5 * MIB])
    dead.sync()
    write(dead, b"never synced" * 500_000)
    with azure.writer(SESSION, append=True) as writer:
        assert writer.size == 5 * MIB
        write(writer, content[5 * MIB :])
        writer.sync()
        writer.commit(BLOB)
    with pytest.raises(StorageError):
        dead.close()
    assert stored(container, BLOB) == content
    assert not is_there(container, SESSION)


# --- the blob's own name known from the start


def test_blocks_under_the_final_name_are_committed_once(
    azure: Driver, proxy: FaultProxy, container: ContainerClient, content: bytes, fault: Fault
) -> None:
    rule = proxy.inject("commit", fault, key=BLOB)
    other = proxy.inject("put block", fault, key=BLOB, nth=2)
    container.upload_blob(SESSION, b"")
    with azure.writer(SESSION, append=True, destination=BLOB) as writer:
        write(writer, content)
        assert not is_there(container, BLOB)
        writer.commit(BLOB)
    assert rule.is_done
    assert other.is_done
    assert stored(container, BLOB) == content
    assert not is_there(container, SESSION)


def test_two_pushers_of_one_blob_both_succeed(
    azure: Driver, container: ContainerClient, content: bytes
) -> None:
    writers = [
        azure.writer(f"{SESSION}{number}", append=False, destination=BLOB) for number in (1, 2)
    ]
    for writer in writers:
        write(writer, content)
    for writer in writers:
        writer.commit(BLOB)
    assert stored(container, BLOB) == content


@pytest.mark.parametrize("there", ["nothing", "another's", "the same"])
def test_a_pusher_whose_blocks_another_commit_took_away_succeeds_only_with_the_blob(
    azure: Driver, proxy: FaultProxy, container: ContainerClient, content: bytes, there: str
) -> None:
    bytes_there = {"nothing": None, "another's": content[:-1], "the same": content}[there]

    def fault(exchange: Exchange) -> None:
        if bytes_there is not None:
            container.upload_blob(BLOB, bytes_there, overwrite=True)
        exchange.answer(400, "InvalidBlockList")

    proxy.inject("commit", fault, times=9, key=BLOB)
    with azure.writer(SESSION, append=False, destination=BLOB) as writer:
        write(writer, content)
        if there == "the same":
            writer.commit(BLOB)
        else:
            with pytest.raises(StorageError):
                writer.commit(BLOB)
    assert bytes_there == (stored(container, BLOB) if is_there(container, BLOB) else None)


# --- copies


def session_of(azure: Driver, content: bytes) -> Writer:
    writer = azure.writer(SESSION, append=False)
    write(writer, content)
    writer.sync()
    return writer


def test_a_copy_is_done_once(
    azure: Driver, proxy: FaultProxy, container: ContainerClient, content: bytes, fault: Fault
) -> None:
    rule = proxy.inject("copy", fault)
    with session_of(azure, content) as writer:
        writer.commit(BLOB)
    assert rule.is_done
    assert stored(container, BLOB) == content
    assert not is_there(container, SESSION)


def test_a_copy_that_takes_long_is_waited_for(
    azure: Driver, proxy: FaultProxy, container: ContainerClient, content: bytes
) -> None:
    pending = faults.with_headers(x_ms_copy_status="pending")
    proxy.inject("copy", pending)
    rule = proxy.inject("head", pending, times=6, key=BLOB)
    with session_of(azure, content) as writer:
        writer.commit(BLOB)
    assert rule.is_done
    assert stored(container, BLOB) == content


def failing_copy(container: ContainerClient, status: str) -> tuple[Fault, Fault]:
    """A copy that begins, and ends without a byte: what the account says of it."""

    def begin(exchange: Exchange) -> None:
        container.upload_blob(BLOB, b"", overwrite=True)
        head = {"x-ms-copy-id": "1-2-3", "x-ms-copy-status": "pending"}
        head["ETag"] = container.get_blob_client(BLOB).get_blob_properties().etag
        exchange.say(202, "", head)

    ended = faults.with_headers(x_ms_copy_id="1-2-3", x_ms_copy_status=status)
    return begin, ended


@pytest.mark.parametrize("status", ["failed", "aborted"])
def test_a_copy_that_fails_leaves_no_empty_blob(
    azure: Driver, proxy: FaultProxy, container: ContainerClient, content: bytes, status: str
) -> None:
    begin, ended = failing_copy(container, status)
    proxy.inject("copy", begin, times=100)
    proxy.inject("head", ended, times=100, key=BLOB)
    with session_of(azure, content) as writer, pytest.raises(StorageError):
        writer.commit(BLOB)
    assert not is_there(container, BLOB)
    assert stored(container, SESSION) == content
    assert proxy.count("copy") <= 5


def test_a_copy_that_lies_about_its_end_is_noticed_by_its_length(
    azure: Driver, proxy: FaultProxy, container: ContainerClient, content: bytes
) -> None:
    begin, ended = failing_copy(container, "success")
    proxy.inject("copy", begin, times=100)
    proxy.inject("head", ended, times=100, key=BLOB)
    with session_of(azure, content) as writer, pytest.raises(StorageError):
        writer.commit(BLOB)
    assert not is_there(container, BLOB)
    assert stored(container, SESSION) == content


def test_a_copy_that_the_account_refuses_harms_no_blob_that_is_there(
    azure: Driver, proxy: FaultProxy, container: ContainerClient, content: bytes
) -> None:
    container.upload_blob(BLOB, content)
    proxy.inject("copy", faults.refuse(403, "CannotVerifyCopySource"), times=100)
    with session_of(azure, content) as writer:
        try:
            writer.commit(BLOB)
        except StorageError:
            assert stored(container, SESSION) == content
    assert stored(container, BLOB) == content


def test_a_commit_heals_a_blob_of_another_length(
    azure: Driver, container: ContainerClient, content: bytes
) -> None:
    container.upload_blob(BLOB, content[:-1])
    with session_of(azure, content) as writer:
        writer.commit(BLOB)
    assert stored(container, BLOB) == content


def test_a_session_that_could_not_be_deleted_can_be_committed_again(
    azure: Driver, proxy: FaultProxy, container: ContainerClient, content: bytes
) -> None:
    proxy.inject("delete", faults.refuse(503), times=100, key=SESSION)
    with contextlib.suppress(StorageError), session_of(azure, content) as writer:
        writer.commit(BLOB)
    assert stored(container, BLOB) == content
    proxy.heal()
    with azure.writer(SESSION, append=True) as writer:
        writer.commit(BLOB)
    assert stored(container, BLOB) == content
    assert not is_there(container, SESSION)
