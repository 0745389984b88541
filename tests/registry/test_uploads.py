"""Upload sessions: bytes that arrive in pieces, are kept whatever happens, and become a blob."""

import os
import threading
import uuid
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastreg.errors import (
    BlobUploadUnknown,
    DigestInvalid,
    SizeInvalid,
    UploadOutOfOrder,
)
from fastreg.oci.digest import HEX_LENGTHS, Digest
from fastreg.registry import paths
from fastreg.registry.registry import Registry
from fastreg.registry.repository import Repository
from fastreg.storage.errors import NoSpace, StorageError
from fastreg.storage.local import LocalDriver
from fastreg.storage.local_handles import LocalWriter
from tests.registry.faults import HookedDriver, ignore
from tests.registry.images import Body, push_blob, read_blob

NAME = "library/app"
CONTENT = bytes(range(256)) * 40
DIGEST = Digest.of(CONTENT)
ALGORITHMS = sorted(HEX_LENGTHS)


def left_of(driver: HookedDriver, upload_id: str) -> list[str]:
    return list(driver.inner.list(paths.upload(NAME, upload_id)))


def test_a_new_session_holds_nothing_and_is_known_to_every_process(
    repository: Repository, driver: HookedDriver
) -> None:
    upload_id = repository.uploads.start()
    assert Registry(driver.inner).repository(NAME).uploads.size(upload_id) == 0


def test_a_session_is_unknown_to_another_repository(registry: Registry) -> None:
    upload_id = registry.repository("one").uploads.start()
    other = registry.repository("other").uploads
    for act in (
        lambda: other.size(upload_id),
        lambda: other.append(upload_id, Body(b"x"), start=None),
        lambda: other.finish(upload_id, Body(b"x"), DIGEST, start=None),
        lambda: other.cancel(upload_id),
    ):
        with pytest.raises(BlobUploadUnknown):
            act()


@pytest.fixture(scope="module")
def fresh_registry(tmp_path_factory: pytest.TempPathFactory) -> Callable[[], Registry]:
    """Another process over the directory of this module's property tests."""
    root = tmp_path_factory.mktemp("root")
    return lambda: Registry(LocalDriver(root))


@st.composite
def _requests(draw: st.DrawFn) -> list[tuple[bytes, bool]]:
    """What clients send: pieces of one content, each with whether the request breaks off."""
    content = draw(st.binary(max_size=3000))
    cuts = draw(st.lists(st.integers(0, len(content)), max_size=6).map(sorted))
    edges = [0, *cuts, len(content)]
    return [(content[a:b], draw(st.booleans())) for a, b in pairwise(edges)]


@given(_requests(), st.sampled_from(ALGORITHMS), st.sampled_from(ALGORITHMS), st.booleans())
@settings(max_examples=60, deadline=None)
def test_whatever_breaks_off_a_session_ends_as_the_whole_blob(
    fresh_registry: Callable[[], Registry],
    requests: list[tuple[bytes, bool]],
    running: str,
    final: str,
    finish_breaks_too: bool,
) -> None:
    content = b"".join(piece for piece, _ in requests)
    digest = Digest.of(content, final)
    upload_id = fresh_registry().repository("a").uploads.start(running)
    size = 0
    *chunks, (last, breaks) = requests
    for piece, broken in chunks:
        sessions = fresh_registry().repository("a").uploads
        half = len(piece) // 2
        body = Body(piece[:half], piece[half:], failure=ConnectionResetError() if broken else None)
        if broken:
            with pytest.raises(ConnectionResetError):
                sessions.append(upload_id, body, start=size)
        else:
            assert sessions.append(upload_id, body, start=size) == size + len(piece)
        size += len(piece)
        assert fresh_registry().repository("a").uploads.size(upload_id) == size
    if breaks or finish_breaks_too:
        with pytest.raises(TimeoutError):
            fresh_registry().repository("a").uploads.finish(
                upload_id, Body(last[:7], failure=TimeoutError()), digest, start=size
            )
        last = last[7:]
    repository = fresh_registry().repository("a")
    repository.uploads.finish(upload_id, Body(last), digest, start=None)
    assert read_blob(repository, digest) == content
    with pytest.raises(BlobUploadUnknown):
        repository.uploads.size(upload_id)


@pytest.mark.parametrize("running", ALGORITHMS)
@pytest.mark.parametrize("final", ALGORITHMS)
def test_any_algorithm_can_end_a_session_of_any_other(
    repository: Repository, running: str, final: str
) -> None:
    upload_id = repository.uploads.start(running)
    repository.uploads.append(upload_id, Body(CONTENT[:100]), start=0)
    digest = Digest.of(CONTENT, final)
    repository.uploads.finish(upload_id, Body(CONTENT[100:]), digest, start=100)
    assert read_blob(repository, digest) == CONTENT


@pytest.mark.parametrize("start", [0, 1, 99, 101, 10**15])
def test_a_body_that_belongs_elsewhere_is_refused_with_where_to_go_on(
    repository: Repository, start: int
) -> None:
    upload_id = repository.uploads.start()
    repository.uploads.append(upload_id, Body(CONTENT[:100]), start=0)
    for act in (
        lambda: repository.uploads.append(upload_id, Body(b"x"), start=start),
        lambda: repository.uploads.finish(upload_id, Body(b"x"), DIGEST, start=start),
    ):
        with pytest.raises(UploadOutOfOrder) as refused:
            act()
        assert refused.value.size == 100
    repository.uploads.finish(upload_id, Body(CONTENT[100:]), DIGEST, start=100)
    assert read_blob(repository, DIGEST) == CONTENT


def test_a_second_writer_is_refused_and_tears_nothing(repository: Repository) -> None:
    upload_id = repository.uploads.start()
    refused = []

    class Intruded(Body):
        def read(self, max_bytes: int) -> bytes:
            data = super().read(max_bytes)
            for act in (
                lambda: repository.uploads.append(upload_id, Body(b"x"), start=None),
                lambda: repository.uploads.finish(upload_id, Body(b"x"), DIGEST, start=None),
                lambda: repository.uploads.cancel(upload_id),
            ):
                with pytest.raises(UploadOutOfOrder) as error:
                    act()
                refused.append(error.value.size)
            return data

    body = Intruded(CONTENT[:50], CONTENT[50:100])
    assert repository.uploads.append(upload_id, body, start=0) == 100
    assert refused == [0] * 3 + [50] * 3 + [100] * 3
    repository.uploads.finish(upload_id, Body(CONTENT[100:]), DIGEST, start=100)
    assert read_blob(repository, DIGEST) == CONTENT


def test_writers_in_many_threads_never_mix_their_bytes(repository: Repository) -> None:
    upload_id = repository.uploads.start()
    accepted = []
    begin = threading.Barrier(6)

    def send(byte: bytes) -> None:
        begin.wait()
        for _ in range(20):
            try:
                repository.uploads.append(upload_id, Body(byte * 50, byte * 50), start=None)
            except UploadOutOfOrder:
                continue
            accepted.append(byte)

    threads = [threading.Thread(target=send, args=(bytes([65 + n]),)) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    content = b"".join(byte * 100 for byte in accepted)
    assert accepted
    assert repository.uploads.size(upload_id) == len(content)
    runs = {content[at : at + 100] for at in range(0, len(content), 100)}
    assert all(len(set(run)) == 1 for run in runs)


def test_a_full_disk_keeps_exactly_what_it_counted_and_goes_on_once_there_is_room(
    repository: Repository, driver: HookedDriver
) -> None:
    upload_id = repository.uploads.start()
    full = True

    def fail_when_full(call: str, key: str) -> None:
        if call in ("write", "put") and full and repository.uploads.size(upload_id) >= 2000:
            raise NoSpace(key)

    driver.before = fail_when_full
    driver.partial = lambda size: 333
    pieces = [CONTENT[at : at + 1000] for at in range(0, 5000, 1000)]
    with pytest.raises(NoSpace):
        repository.uploads.append(upload_id, Body(*pieces), start=0)
    size = repository.uploads.size(upload_id)
    assert size == 2333
    assert driver.inner.get(paths.upload_data(NAME, upload_id), 9000) == CONTENT[:2333]
    with pytest.raises(NoSpace):
        repository.uploads.finish(upload_id, Body(CONTENT[size:]), DIGEST, start=size)
    size = repository.uploads.size(upload_id)
    full = False
    repository.uploads.finish(upload_id, Body(CONTENT[size:]), DIGEST, start=size)
    assert read_blob(repository, DIGEST) == CONTENT


def test_bytes_that_a_failed_sync_lost_are_sent_again(
    repository: Repository, driver: HookedDriver, root: Path
) -> None:
    upload_id = repository.uploads.start()
    repository.uploads.append(upload_id, Body(CONTENT[:500]), start=0)
    failed = []

    def lose_all(call: str, key: str) -> None:
        if call == "sync" and not failed:
            failed.append(key)
            os.truncate(root / key, 0)
            raise NoSpace(key)

    driver.before = lose_all
    with pytest.raises(NoSpace):
        repository.uploads.append(upload_id, Body(CONTENT[500:]), start=500)
    driver.before = ignore
    assert repository.uploads.size(upload_id) == 0
    repository.uploads.append(upload_id, Body(CONTENT[:700]), start=0)
    repository.uploads.finish(upload_id, Body(CONTENT[700:]), DIGEST, start=700)
    assert read_blob(repository, DIGEST) == CONTENT


def test_a_chunk_shorter_than_announced_is_kept_and_told(repository: Repository) -> None:
    upload_id = repository.uploads.start()
    with pytest.raises(SizeInvalid, match=r"100.*60"):
        repository.uploads.append(upload_id, Body(CONTENT[:60]), start=0, length=100)
    assert repository.uploads.size(upload_id) == 60
    repository.uploads.finish(upload_id, Body(CONTENT[60:]), DIGEST, start=60)
    assert read_blob(repository, DIGEST) == CONTENT


def test_a_chunk_longer_than_announced_is_cut_there_and_told(repository: Repository) -> None:
    upload_id = repository.uploads.start()
    with pytest.raises(SizeInvalid, match="more came"):
        repository.uploads.append(upload_id, Body(CONTENT[:160]), start=0, length=100)
    assert repository.uploads.size(upload_id) == 100
    with pytest.raises(SizeInvalid):
        repository.uploads.finish(
            upload_id, Body(CONTENT[100:]), DIGEST, start=100, length=len(CONTENT) - 101
        )
    repository.uploads.finish(upload_id, Body(CONTENT[-1:]), DIGEST, start=len(CONTENT) - 1)
    assert read_blob(repository, DIGEST) == CONTENT


def test_a_chunk_of_the_announced_length_is_taken(repository: Repository) -> None:
    upload_id = repository.uploads.start()
    size = repository.uploads.append(upload_id, Body(CONTENT[:99]), start=0, length=99)
    assert size == 99
    length = len(CONTENT) - 99
    repository.uploads.finish(upload_id, Body(CONTENT[99:]), DIGEST, start=99, length=length)
    assert read_blob(repository, DIGEST) == CONTENT


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_content_of_another_digest_ends_the_session_and_leaves_nothing(
    repository: Repository, driver: HookedDriver, algorithm: str
) -> None:
    expected = Digest.of(b"something else", algorithm)
    upload_id = repository.uploads.start(algorithm)
    repository.uploads.append(upload_id, Body(CONTENT[:100]), start=0)
    with pytest.raises(DigestInvalid) as refused:
        repository.uploads.finish(upload_id, Body(CONTENT[100:]), expected, start=None)
    assert refused.value.detail["actual"] == str(Digest.of(CONTENT, algorithm))
    assert refused.value.detail["size"] == len(CONTENT)
    assert list(driver.inner.list("")) == []
    with pytest.raises(BlobUploadUnknown):
        repository.uploads.size(upload_id)


def test_finishing_twice_succeeds_because_the_answer_may_have_been_lost(
    repository: Repository, driver: HookedDriver
) -> None:
    upload_id = repository.uploads.start()
    repository.uploads.finish(upload_id, Body(CONTENT), DIGEST, start=0)
    repository.uploads.finish(upload_id, Body(CONTENT), DIGEST, start=0)
    assert read_blob(repository, DIGEST) == CONTENT
    with pytest.raises(BlobUploadUnknown):
        repository.uploads.finish(upload_id, Body(), Digest.of(b"never sent"), start=None)
    assert left_of(driver, upload_id) == []


def test_two_sessions_of_one_blob_both_end_well(
    repository: Repository, driver: HookedDriver
) -> None:
    sessions = [repository.uploads.start() for _ in range(2)]
    for upload_id in sessions:
        repository.uploads.append(upload_id, Body(CONTENT), start=0)
    for upload_id in sessions:
        repository.uploads.finish(upload_id, Body(), DIGEST, start=None)
        assert left_of(driver, upload_id) == []
    assert read_blob(repository, DIGEST) == CONTENT


def test_many_pushes_of_one_blob_at_the_same_time_all_succeed(registry: Registry) -> None:
    failures = []
    begin = threading.Barrier(8)

    def push(name: str) -> None:
        begin.wait()
        try:
            for _ in range(5):
                push_blob(registry.repository(name), CONTENT)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=push, args=(f"r{n % 3}",)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert all(read_blob(registry.repository(f"r{n}"), DIGEST) == CONTENT for n in range(3))


def test_a_cancelled_session_leaves_nothing(repository: Repository, driver: HookedDriver) -> None:
    upload_id = repository.uploads.start("sha512")
    repository.uploads.append(upload_id, Body(CONTENT), start=0)
    repository.uploads.cancel(upload_id)
    assert list(driver.inner.list("")) == []
    for act in (
        lambda: repository.uploads.cancel(upload_id),
        lambda: repository.uploads.size(upload_id),
        lambda: repository.uploads.append(upload_id, Body(b"x"), start=None),
    ):
        with pytest.raises(BlobUploadUnknown):
            act()


def test_a_session_that_ended_is_not_begun_again_by_a_late_request(
    repository: Repository, driver: HookedDriver
) -> None:
    upload_id = repository.uploads.start()

    def end_in_between(call: str, key: str) -> None:
        if call == "open writer":
            driver.before = ignore
            driver.inner.delete(paths.upload_started_at(NAME, upload_id))

    driver.before = end_in_between
    with pytest.raises(BlobUploadUnknown):
        repository.uploads.append(upload_id, Body(b"x"), start=None)
    assert driver.inner.stat(paths.upload_data(NAME, upload_id)).size == 0


def test_a_session_is_begun_durably_before_it_can_hold_a_byte(root: Path) -> None:
    begun = []

    class Watched(LocalDriver):
        def put(
            self, key: str, data: bytes, *, if_version: str | None = None, durable: bool = True
        ) -> None:
            super().put(key, data, if_version=if_version, durable=durable)
            begun.append((key.rpartition("/")[2], durable))

        def writer(self, key: str, *, append: bool, destination: str | None = None) -> LocalWriter:
            begun.append(("data", append))
            return super().writer(key, append=append)

    Registry(Watched(root)).repository(NAME).uploads.start()
    assert begun == [("startedat", True), ("0", False), ("data", False)]


def test_a_finish_that_was_cut_short_after_the_blob_can_be_repeated(
    repository: Repository, driver: HookedDriver
) -> None:
    upload_id = repository.uploads.start()

    def fail(call: str, key: str) -> None:
        if call == "put" and key == paths.layer_link(NAME, DIGEST):
            raise StorageError(key)

    driver.before = fail
    with pytest.raises(StorageError):
        repository.uploads.finish(upload_id, Body(CONTENT), DIGEST, start=0)
    driver.before = ignore
    assert not repository.blobs.has(DIGEST)
    other = Digest.of(b"another blob of the registry")
    push_blob(Registry(driver.inner).repository("other"), b"another blob of the registry")
    with pytest.raises(BlobUploadUnknown):
        repository.uploads.finish(upload_id, Body(), other, start=None)
    repository.uploads.finish(upload_id, Body(), DIGEST, start=None)
    assert read_blob(repository, DIGEST) == CONTENT
    assert left_of(driver, upload_id) == []


def test_a_repeated_finish_is_answered_once_what_it_found_is_durable(
    repository: Repository, driver: HookedDriver
) -> None:
    push_blob(repository, CONTENT)
    synced = []
    driver.before = lambda call, key: synced.append(key) if call == "sync key" else None
    repository.uploads.finish(str(uuid.uuid4()), Body(b""), DIGEST, start=None)
    assert synced == [paths.blob_data(DIGEST), paths.layer_link(NAME, DIGEST)]


def test_a_whole_blob_that_fails_leaves_nothing(
    repository: Repository, driver: HookedDriver
) -> None:
    for body in (Body(b"of another digest"), Body(CONTENT[:9], failure=ConnectionResetError())):
        with pytest.raises((DigestInvalid, ConnectionResetError)):
            repository.uploads.push(body, DIGEST)
        assert list(driver.inner.list(paths.uploads(NAME))) == []
