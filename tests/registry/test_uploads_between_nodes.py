"""Uploads to a container that several machines share: any of them goes on with a session."""

import os
import threading
import time
from collections.abc import Callable
from contextlib import suppress

import pytest
from gevent import GreenletExit

from fastreg.errors import BlobUploadUnknown, DigestInvalid, UploadOutOfOrder
from fastreg.fastlane import Sha256
from fastreg.oci.digest import Digest
from fastreg.registry import paths, session
from fastreg.registry.registry import Registry
from fastreg.registry.uploads import Uploads
from fastreg.storage.azure import AzureDriver
from fastreg.storage.errors import StorageError
from tests.faulty import faults
from tests.faulty.cloud import Cloud
from tests.live.client import noise, pieces
from tests.registry.images import Body, read_blob

NAME = "library/app"
MIB = 1 << 20
CONTENT = noise("layer", 9 * MIB + 321)
DIGEST = Digest.of(CONTENT)
SMALL = b"small content"


@pytest.fixture
def node(cloud: Cloud) -> Callable[[], Registry]:
    """Makes the registry of one more machine."""
    return lambda: Registry(AzureDriver(cloud.settings))


@pytest.fixture
def uploads(node: Callable[[], Registry]) -> list[Uploads]:
    return [node().repository(NAME).uploads for _ in range(3)]


def body(content: bytes, failure: BaseException | None = None) -> Body:
    return Body(*pieces(content, 700_001), failure=failure)


def states_of(cloud: Cloud, upload_id: str) -> list[int]:
    states = f"{paths.hash_states(NAME, upload_id)}/sha256/"
    return sorted(int(key.removeprefix(states)) for key in cloud.keys if key.startswith(states))


@pytest.mark.parametrize("cut", [0, 1, 4 * MIB, 5_000_000, len(CONTENT)])
def test_a_session_begins_here_goes_on_there_and_ends_elsewhere(
    uploads: list[Uploads], node: Callable[[], Registry], cloud: Cloud, cut: int
) -> None:
    one, two, three = uploads
    upload_id = one.start()
    assert two.append(upload_id, body(CONTENT[:cut]), start=0) == cut
    assert one.size(upload_id) == three.size(upload_id) == cut
    three.finish(upload_id, body(CONTENT[cut:]), DIGEST, start=cut)
    assert read_blob(node().repository(NAME), DIGEST) == CONTENT
    assert sorted(cloud.keys) == [paths.blob_data(DIGEST), paths.layer_link(NAME, DIGEST)]
    for each in uploads:
        with pytest.raises(BlobUploadUnknown):
            each.size(upload_id)


def test_the_hash_goes_on_without_reading_the_bytes_again(
    uploads: list[Uploads], cloud: Cloud
) -> None:
    upload_id = uploads[0].start()
    uploads[1].append(upload_id, body(CONTENT[: 8 * MIB]), start=0)
    uploads[2].finish(upload_id, body(CONTENT[8 * MIB :]), DIGEST, start=8 * MIB)
    assert cloud.proxy.requests("get", paths.upload_data(NAME, upload_id)) == [
        seen for seen in cloud.proxy.requests("get") if "x-ms-range" not in seen.headers
    ]


def test_a_wrong_hash_state_does_not_cost_the_upload(uploads: list[Uploads], cloud: Cloud) -> None:
    upload_id = uploads[0].start()
    uploads[0].append(upload_id, body(CONTENT[:MIB]), start=0)
    wrong = Sha256()
    wrong.update(bytes(MIB))
    state = paths.hash_state(NAME, upload_id, "sha256", MIB)
    cloud.container.upload_blob(state, wrong.export_state(), overwrite=True)
    uploads[1].finish(upload_id, body(CONTENT[MIB:]), DIGEST, start=MIB)
    assert cloud.read(paths.blob_data(DIGEST)) == CONTENT


def test_what_a_machine_committed_before_it_died_is_gone_on_with(
    uploads: list[Uploads], cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session, "CHECKPOINT_BYTES", 4 * MIB)
    one, two, _ = uploads
    upload_id = one.start()

    class Dies(Body):
        def read(self, max_bytes: int) -> bytes:
            data = super().read(max_bytes)
            if not data:
                cloud.proxy.cut()  # nothing that this machine does is heard of any more
                raise GreenletExit
            return data

    with pytest.raises((GreenletExit, StorageError)):
        one.append(upload_id, Dies(*pieces(CONTENT, 700_001)), start=0)
    cloud.proxy.heal()
    size = two.size(upload_id)
    assert 4 * MIB <= size < len(CONTENT)
    assert states_of(cloud, upload_id)[-1] == size
    two.finish(upload_id, body(CONTENT[size:]), DIGEST, start=size)
    assert cloud.read(paths.blob_data(DIGEST)) == CONTENT


def test_a_body_that_breaks_off_is_kept_with_its_state(
    uploads: list[Uploads], cloud: Cloud
) -> None:
    one, two, _ = uploads
    upload_id = one.start()
    with pytest.raises(ConnectionResetError):
        one.append(upload_id, body(CONTENT[:-9], ConnectionResetError()), start=0)
    assert two.size(upload_id) == len(CONTENT) - 9
    assert states_of(cloud, upload_id) == [0, len(CONTENT) - 9]
    two.finish(upload_id, body(CONTENT[-9:]), DIGEST, start=None)
    assert cloud.read(paths.blob_data(DIGEST)) == CONTENT


def test_of_two_writers_the_later_is_told_where_the_session_is(
    uploads: list[Uploads], cloud: Cloud
) -> None:
    one, two, three = uploads
    upload_id = one.start()

    class Overtaken(Body):
        def read(self, max_bytes: int) -> bytes:
            data = super().read(max_bytes)
            if not data and two.size(upload_id) == 0:
                two.append(upload_id, body(CONTENT[:5_000_000]), start=0)
            return data

    with pytest.raises(UploadOutOfOrder) as caught:
        one.append(upload_id, Overtaken(*pieces(bytes(6 * MIB), MIB)), start=0)
    assert caught.value.size == 5_000_000
    three.finish(upload_id, body(CONTENT[5_000_000:]), DIGEST, start=5_000_000)
    assert cloud.read(paths.blob_data(DIGEST)) == CONTENT


def test_a_finish_that_was_overtaken_harms_nothing(uploads: list[Uploads], cloud: Cloud) -> None:
    one, two, three = uploads
    upload_id = one.start()
    one.append(upload_id, body(CONTENT[:100]), start=0)

    class Overtaken(Body):
        def read(self, max_bytes: int) -> bytes:
            data = super().read(max_bytes)
            if not data and two.size(upload_id) == 100:
                two.append(upload_id, body(CONTENT[100:200]), start=100)
            return data

    rest = Overtaken(*pieces(CONTENT[100:], MIB))
    with pytest.raises(UploadOutOfOrder) as caught:
        one.finish(upload_id, rest, DIGEST, start=100)
    assert caught.value.size == 200
    assert not cloud.has(paths.blob_data(DIGEST))
    three.finish(upload_id, body(CONTENT[200:]), DIGEST, start=200)
    assert cloud.read(paths.blob_data(DIGEST)) == CONTENT


def test_a_session_that_ended_meanwhile_is_unknown_to_who_was_slower(
    uploads: list[Uploads], cloud: Cloud
) -> None:
    one, two, _ = uploads
    upload_id = one.start()

    class Cancelled(Body):
        def read(self, max_bytes: int) -> bytes:
            data = super().read(max_bytes)
            if not data:
                two.cancel(upload_id)
            return data

    with pytest.raises(BlobUploadUnknown):
        one.append(upload_id, Cancelled(*pieces(CONTENT, MIB)), start=0)
    assert cloud.keys == []


@pytest.mark.parametrize("content", [b"", SMALL, CONTENT])
def test_a_blob_whose_digest_is_known_is_never_copied(
    uploads: list[Uploads], cloud: Cloud, content: bytes
) -> None:
    digest = Digest.of(content)
    upload_id = uploads[0].start()
    uploads[1].finish(upload_id, body(content), digest, start=0)
    uploads[2].push(body(content), digest)
    assert cloud.proxy.count("copy") == 0
    assert cloud.read(paths.blob_data(digest)) == content
    assert sorted(cloud.keys) == [paths.blob_data(digest), paths.layer_link(NAME, digest)]


def test_a_small_blob_is_pushed_by_two_requests(uploads: list[Uploads], cloud: Cloud) -> None:
    uploads[0].start()
    cloud.proxy.heal()
    uploads[0].push(body(SMALL), Digest.of(SMALL))
    assert [seen.kind for seen in cloud.proxy.seen] == ["put", "put"]


def test_a_push_by_a_session_asks_for_no_more_than_it_needs(
    uploads: list[Uploads], cloud: Cloud
) -> None:
    asked = []
    uploads[0].size(uploads[0].start())
    cloud.proxy.heal()
    upload_id = uploads[0].start()
    asked.append(len(cloud.proxy.seen))
    uploads[0].append(upload_id, body(SMALL), start=0)
    asked.append(len(cloud.proxy.seen) - sum(asked))
    uploads[0].finish(upload_id, Body(), Digest.of(SMALL), start=None)
    asked.append(len(cloud.proxy.seen) - sum(asked))
    assert asked == [3, 6, 14]


def test_a_session_is_begun_by_three_requests_at_once(uploads: list[Uploads], cloud: Cloud) -> None:
    gate = threading.Event()
    cloud.proxy.inject("put", faults.held(gate), times=3)
    thread = threading.Thread(target=uploads[0].start)
    thread.start()
    try:
        deadline = time.monotonic() + 60
        while cloud.proxy.count("put") < 3 and time.monotonic() < deadline:
            time.sleep(0.005)
        assert cloud.proxy.count("put") == 3
    finally:
        gate.set()
        thread.join()


def test_machines_that_push_the_same_blob_at_once_all_succeed(
    uploads: list[Uploads], cloud: Cloud
) -> None:
    failures: list[BaseException] = []

    def push(each: Uploads) -> None:
        try:
            each.push(body(CONTENT), DIGEST)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=push, args=(each,)) for each in uploads]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert cloud.read(paths.blob_data(DIGEST)) == CONTENT
    assert sorted(cloud.keys) == [paths.blob_data(DIGEST), paths.layer_link(NAME, DIGEST)]


@pytest.mark.parametrize(
    "failure", [None, ConnectionResetError(), GreenletExit()], ids=["wrong", "reset", "killed"]
)
def test_a_push_that_fails_leaves_nothing_to_be_seen(
    uploads: list[Uploads], cloud: Cloud, failure: BaseException | None
) -> None:
    with pytest.raises(type(failure) if failure else DigestInvalid):
        uploads[0].push(body(CONTENT[1:], failure), DIGEST)
    assert cloud.keys == []


def test_a_body_with_the_digest_that_breaks_off_is_sent_again_to_the_session(
    uploads: list[Uploads], cloud: Cloud
) -> None:
    one, two, _ = uploads
    upload_id = one.start()
    with pytest.raises(ConnectionResetError):
        one.finish(upload_id, body(CONTENT[:-9], ConnectionResetError()), DIGEST, start=0)
    assert two.size(upload_id) == 0
    two.finish(upload_id, body(CONTENT), DIGEST, start=0)
    assert cloud.read(paths.blob_data(DIGEST)) == CONTENT


def test_a_finish_whose_link_failed_is_ended_elsewhere(
    uploads: list[Uploads], cloud: Cloud
) -> None:
    one, two, _ = uploads
    upload_id = one.start()
    one.append(upload_id, body(CONTENT), start=0)
    cloud.proxy.inject("put", faults.refuse(403, "Odd"), key="/link")
    with pytest.raises(StorageError):
        one.finish(upload_id, Body(), DIGEST, start=None)
    two.finish(upload_id, Body(), DIGEST, start=None)
    assert cloud.read(paths.layer_link(NAME, DIGEST)) == str(DIGEST).encode()


def test_a_session_of_the_reference_registry_is_ended(uploads: list[Uploads], cloud: Cloud) -> None:
    upload_id = "0b3b1b1e-5f43-4f0e-9f4c-b9f0a3a5e0a1"
    hasher = Sha256()
    hasher.update(CONTENT[: 6 * MIB])
    blob = cloud.container.get_blob_client(paths.upload_data(NAME, upload_id))
    blob.create_append_blob()
    for at in range(0, 6 * MIB, 4 * MIB):
        blob.append_block(CONTENT[at : min(at + 4 * MIB, 6 * MIB)])
    for key, content in (
        (paths.upload_started_at(NAME, upload_id), b"2026-01-01T00:00:00Z"),
        (paths.hash_state(NAME, upload_id, "sha256", 6 * MIB), hasher.export_state()),
    ):
        cloud.container.upload_blob(key, content)
    assert uploads[0].append(upload_id, body(CONTENT[6 * MIB : -9]), start=6 * MIB)
    uploads[1].finish(upload_id, body(CONTENT[-9:]), DIGEST, start=None)
    assert cloud.read(paths.blob_data(DIGEST)) == CONTENT
    assert sorted(cloud.keys) == [paths.blob_data(DIGEST), paths.layer_link(NAME, DIGEST)]


def test_no_window_is_left_open(uploads: list[Uploads]) -> None:
    before = windows()
    for failure in (None, ConnectionResetError(), GreenletExit()):
        upload_id = uploads[0].start()
        with suppress(ConnectionResetError, GreenletExit):
            uploads[0].append(upload_id, body(CONTENT, failure), start=0)
    assert windows() <= before


def windows() -> set[str]:
    """The files in memory that this process has open."""
    found = set()
    for fd in os.listdir("/proc/self/fd"):
        with suppress(FileNotFoundError):
            if "fastreg-window" in os.readlink(f"/proc/self/fd/{fd}"):
                found.add(fd)
    return found
