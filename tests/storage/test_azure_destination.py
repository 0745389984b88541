"""How an object gets to its final name in Azure: staged there unseen, or by a copy."""

import threading

import pytest

from fastreg.storage.azure import AzureDriver
from fastreg.storage.errors import Busy
from tests.faulty import faults
from tests.faulty.cloud import Cloud
from tests.storage.azure_samples import BLOCK, CONTENT, DATA, FINAL, SMALL, read_ranges, wait_until


@pytest.fixture
def azure(cloud: Cloud) -> AzureDriver:
    return AzureDriver(cloud.settings)


# where the destination is known


@pytest.mark.parametrize("content", [b"", SMALL, CONTENT[:BLOCK], CONTENT])
@pytest.mark.parametrize("append", [True, False])
def test_a_known_destination_is_written_without_a_copy_and_unseen(
    azure: AzureDriver, cloud: Cloud, content: bytes, append: bool
) -> None:
    if append:
        azure.writer(DATA, append=False).close()
    with azure.writer(DATA, append=append, destination=FINAL) as writer:
        assert not writer.keeps_bytes
        writer.write(content)
        assert not cloud.has(FINAL)
        writer.commit(FINAL)
    assert cloud.read(FINAL) == content
    assert cloud.keys == [FINAL]
    assert cloud.proxy.count("copy") == 0
    assert cloud.proxy.count("commit") == (len(content) >= BLOCK)


def test_a_destination_does_not_matter_for_what_has_bytes(azure: AzureDriver, cloud: Cloud) -> None:
    with azure.writer(DATA, append=False) as writer:
        writer.write(CONTENT[:100])
    with azure.writer(DATA, append=True, destination=FINAL) as writer:
        assert writer.keeps_bytes
        writer.write(CONTENT[100:])
        writer.sync()
        assert writer.size == len(CONTENT)
        writer.commit(FINAL)
    assert cloud.read(FINAL) == CONTENT
    assert cloud.proxy.count("copy") == 1


@pytest.mark.parametrize("content", [SMALL, CONTENT])
def test_pushers_of_the_same_content_all_succeed(
    azure: AzureDriver, cloud: Cloud, content: bytes
) -> None:
    writers = [azure.writer(f"u/{n}/data", append=False, destination=FINAL) for n in range(3)]
    for writer in writers:
        writer.write(content)
    for writer in writers:
        writer.commit(FINAL)
        assert cloud.read(FINAL) == content
    assert cloud.keys == [FINAL]


def test_a_pusher_whose_blocks_are_gone_with_the_blob_that_took_them_has_lost(
    azure: AzureDriver, cloud: Cloud
) -> None:
    with azure.writer(DATA, append=False, destination=FINAL) as writer:
        writer.write(CONTENT)
        cloud.proxy.inject("commit", faults.refuse(400, "InvalidBlockList"))
        with pytest.raises(Busy):
            writer.commit(FINAL)
        assert writer.size == 0
        writer.write(CONTENT)
        writer.commit(FINAL)
    assert cloud.read(FINAL) == CONTENT


@pytest.mark.parametrize("content", [SMALL, CONTENT])
@pytest.mark.parametrize("there", [b"", b"wrong", bytes(len(CONTENT)), CONTENT])
def test_a_blob_that_the_reference_registry_copied_there_is_replaced_if_wrong(
    azure: AzureDriver, cloud: Cloud, content: bytes, there: bytes
) -> None:
    blob = cloud.container.get_blob_client(FINAL)
    blob.create_append_blob()
    for at in range(0, len(there), BLOCK):
        blob.append_block(there[at : at + BLOCK])
    with azure.writer(DATA, append=False, destination=FINAL) as writer:
        writer.write(content)
        writer.commit(FINAL)
    assert cloud.read(FINAL) == content
    assert cloud.keys == [FINAL]


@pytest.mark.parametrize("content", [SMALL, CONTENT])
def test_a_blob_that_is_right_is_read_on_while_it_is_pushed_again(
    azure: AzureDriver, cloud: Cloud, content: bytes
) -> None:
    for session in ("u/1/data", "u/2/data"):
        with azure.writer(session, append=False, destination=FINAL) as writer:
            writer.write(content)
            if cloud.has(FINAL):
                reader = azure.open(FINAL)
            writer.commit(FINAL)
    with reader:
        assert b"".join(iter(lambda: reader.read(1 << 20), b"")) == content
    assert cloud.keys == [FINAL]


def test_a_small_blob_is_put_where_azure_replaces_no_blob_of_another_type(
    azure: AzureDriver, cloud: Cloud
) -> None:
    blob = cloud.container.get_blob_client(FINAL)
    blob.create_append_blob()
    blob.append_block(b"wrong")
    cloud.proxy.inject("put", faults.refuse(409, "InvalidBlobType"), key=FINAL)
    with azure.writer(DATA, append=False, destination=FINAL) as writer:
        writer.write(SMALL)
        writer.commit(FINAL)
    assert cloud.read(FINAL) == SMALL
    assert cloud.keys == [FINAL]


def test_a_copy_to_the_destination_is_waited_for_by_who_stages_there(
    azure: AzureDriver, cloud: Cloud
) -> None:
    for session in ("u/1/data", "u/2/data"):
        with azure.writer(session, append=False, destination=FINAL) as writer:
            writer.write(CONTENT)
            if cloud.has(FINAL):
                cloud.proxy.inject("commit", faults.refuse(409, "PendingCopyOperation"))
                pending = faults.with_headers(x_ms_copy_status="pending")
                rule = cloud.proxy.inject("head", pending, times=3, key=FINAL)
            writer.commit(FINAL)
    assert rule.is_done
    assert cloud.read(FINAL) == CONTENT


@pytest.mark.parametrize("end", ["abort", "close"])
def test_a_push_that_ends_early_leaves_nothing(azure: AzureDriver, cloud: Cloud, end: str) -> None:
    writer = azure.writer(DATA, append=False, destination=FINAL)
    writer.write(CONTENT)
    getattr(writer, end)()
    assert cloud.keys == []


# copies


def test_a_copy_over_the_same_verified_blob_is_not_made_twice(
    azure: AzureDriver, cloud: Cloud
) -> None:
    for session in ("u/1/data", "u/2/data"):
        with azure.writer(session, append=False) as writer:
            writer.write(CONTENT)
            writer.commit(FINAL)
    assert [seen.status for seen in cloud.proxy.requests("copy")] == [202, 409]
    assert read_ranges(cloud) == 0
    assert cloud.keys == [FINAL]


@pytest.mark.parametrize("content", [CONTENT, CONTENT[:-1] + b"!"])
@pytest.mark.parametrize("is_appended", [True, False])
def test_a_copy_over_an_unverified_blob_compares_it_first(
    azure: AzureDriver, cloud: Cloud, content: bytes, is_appended: bool
) -> None:
    blob = cloud.container.get_blob_client(FINAL)
    if is_appended:
        blob.create_append_blob()
        for at in range(0, len(content), BLOCK):
            blob.append_block(content[at : at + BLOCK])
    else:
        blob.upload_blob(content)
    before = blob.get_blob_properties().etag
    with azure.writer(DATA, append=False) as writer:
        writer.write(CONTENT)
        writer.commit(FINAL)
    assert cloud.read(FINAL) == CONTENT
    assert (blob.get_blob_properties().etag == before) == (content == CONTENT)
    assert cloud.keys == [FINAL]


@pytest.mark.parametrize("ends_first", [True, False])
def test_blocks_that_another_has_begun_to_stage_are_not_in_the_way_of_a_copy(
    azure: AzureDriver, cloud: Cloud, ends_first: bool
) -> None:
    with azure.writer("u/other/data", append=False, destination=FINAL) as other:
        other.write(CONTENT)
        with azure.writer(DATA, append=False) as writer:
            writer.write(CONTENT)
            if ends_first:
                other.commit(FINAL)
            writer.commit(FINAL)
        assert cloud.read(FINAL) == CONTENT
        if not ends_first:
            other.commit(FINAL)
    assert cloud.read(FINAL) == CONTENT
    assert cloud.keys == [FINAL]


def test_blocks_that_are_never_made_an_object_are_not_in_the_way_of_a_small_blob(
    azure: AzureDriver, cloud: Cloud
) -> None:
    with azure.writer("u/other/data", append=False, destination=FINAL) as other:
        other.write(CONTENT)
        with azure.writer(DATA, append=False) as writer:
            writer.write(b"small")
            writer.commit(FINAL)
        assert cloud.read(FINAL) == b"small"
    assert cloud.read(FINAL) == b"small"
    assert cloud.keys == [FINAL]


def test_a_copy_of_what_changed_meanwhile_is_refused(azure: AzureDriver, cloud: Cloud) -> None:
    gate = threading.Event()
    cloud.proxy.inject("copy", faults.held(gate))
    writer = azure.writer(DATA, append=False)
    writer.write(CONTENT)
    failures = []

    def commit() -> None:
        try:
            writer.commit(FINAL)
        except Busy as error:
            failures.append(error)

    thread = threading.Thread(target=commit)
    thread.start()
    wait_until(lambda: cloud.proxy.count("copy"))
    cloud.container.upload_blob(DATA, b"another's", overwrite=True)
    gate.set()
    thread.join()
    assert failures
    assert cloud.keys == [DATA]
    assert cloud.read(DATA) == b"another's"
