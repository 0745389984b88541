"""Sessions into which a body is poured: from a socket to the file, unseen by Python."""

import os
import resource
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from gevent import GreenletExit

from fastreg.errors import SizeInvalid
from fastreg.fastlane import Sink
from fastreg.oci.digest import HEX_LENGTHS, Digest
from fastreg.registry import paths, session
from fastreg.registry.registry import Registry
from fastreg.registry.repository import Repository
from fastreg.storage.errors import StorageError
from fastreg.storage.local import LocalDriver
from tests.registry.images import read_blob
from tests.registry.pouring import Poured

NAME = "library/app"
CONTENT = os.urandom(1 << 20) + bytes(12_345)
DIGEST = Digest.of(CONTENT)
ALGORITHMS = sorted(HEX_LENGTHS)


@pytest.fixture
def repository(root: Path) -> Repository:
    return Registry(LocalDriver(root)).repository(NAME)


@pytest.fixture
def poured() -> Iterator[type[Poured]]:
    """The class, whose objects are closed after the test."""
    made: list[Poured] = []

    class Closed(Poured):
        def __init__(self, content: bytes, sent: int | None = None) -> None:
            super().__init__(content, sent)
            made.append(self)

    yield Closed
    for each in made:
        each.close()


@contextmanager
def files_of_at_most(size: int) -> Iterator[None]:
    """Let writing fail beyond `size`, as on a disk that is full."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("running", ALGORITHMS)
@pytest.mark.parametrize("final", ALGORITHMS)
def test_pieces_that_are_poured_become_the_blob(
    repository: Repository, poured: type[Poured], running: str, final: str
) -> None:
    upload_id = repository.uploads.start(running)
    first = poured(CONTENT[:300_000])
    assert repository.uploads.append(upload_id, first, start=0) == first.poured == 300_000
    digest = Digest.of(CONTENT, final)
    last = poured(CONTENT[300_000:])
    repository.uploads.finish(upload_id, last, digest, start=300_000)
    assert last.poured == (0 if final == "blake3" else len(CONTENT) - 300_000)
    assert read_blob(repository, digest) == CONTENT


def test_a_poured_body_that_breaks_off_is_kept_with_its_state(
    repository: Repository, poured: type[Poured], root: Path
) -> None:
    upload_id = repository.uploads.start()
    with pytest.raises(ConnectionResetError):
        repository.uploads.append(upload_id, poured(CONTENT, sent=400_001), start=0)
    assert repository.uploads.size(upload_id) == 400_001
    states = root / paths.hash_states(NAME, upload_id) / "sha256"
    assert sorted(os.listdir(states)) == ["0", "400001"]
    repository.uploads.finish(upload_id, poured(CONTENT[400_001:]), DIGEST, start=400_001)
    assert read_blob(repository, DIGEST) == CONTENT


@pytest.mark.parametrize("algorithm", ["sha256", "sha512"])
def test_what_a_thread_pours_after_its_request_was_killed_is_kept_with_its_state(
    repository: Repository, poured: type[Poured], root: Path, algorithm: str
) -> None:
    upload_id = repository.uploads.start(algorithm)
    data = root / paths.upload_data(NAME, upload_id)
    threads = []

    class Killed(poured):
        def pour(self, sink: Sink, max_bytes: int) -> int:
            threads.append(threading.Thread(target=super().pour, args=(sink, max_bytes)))
            threads[0].start()
            while not data.stat().st_size:
                pass
            raise GreenletExit

    with pytest.raises(GreenletExit):
        repository.uploads.append(upload_id, Killed(CONTENT), start=0)
    threads[0].join()
    size = repository.uploads.size(upload_id)
    assert data.read_bytes() == CONTENT[:size]
    states = root / paths.hash_states(NAME, upload_id) / algorithm
    assert sorted(os.listdir(states)) == sorted({"0", str(size)})


@pytest.mark.parametrize("algorithm", ["sha256", "sha512"])
def test_a_file_that_takes_no_more_keeps_what_it_took_and_goes_on(
    repository: Repository, poured: type[Poured], root: Path, algorithm: str
) -> None:
    upload_id = repository.uploads.start(algorithm)
    with pytest.raises(StorageError), files_of_at_most(700_001):
        repository.uploads.append(upload_id, poured(CONTENT), start=0)
    assert repository.uploads.size(upload_id) == 700_001
    assert (root / paths.upload_data(NAME, upload_id)).read_bytes() == CONTENT[:700_001]
    states = root / paths.hash_states(NAME, upload_id) / algorithm
    assert sorted(os.listdir(states)) == ["0", "700001"]
    digest = Digest.of(CONTENT, algorithm)
    repository.uploads.finish(upload_id, poured(CONTENT[700_001:]), digest, start=700_001)
    assert read_blob(repository, digest) == CONTENT


def test_a_poured_chunk_ends_where_it_was_announced_to(
    repository: Repository, poured: type[Poured]
) -> None:
    upload_id = repository.uploads.start()
    with pytest.raises(SizeInvalid, match="more came"):
        repository.uploads.append(upload_id, poured(CONTENT), start=0, length=500_000)
    assert repository.uploads.size(upload_id) == 500_000
    with pytest.raises(SizeInvalid, match=r"9.*1 came"):
        repository.uploads.append(upload_id, poured(CONTENT[500_000:][:1]), start=None, length=9)
    repository.uploads.finish(upload_id, poured(CONTENT[500_001:]), DIGEST, start=500_001)
    assert read_blob(repository, DIGEST) == CONTENT


def test_the_state_is_saved_on_the_way(
    repository: Repository, poured: type[Poured], root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session, "CHECKPOINT_BYTES", 100_000)
    upload_id = repository.uploads.start()
    states = root / paths.hash_states(NAME, upload_id) / "sha256"
    seen = []

    class Watched(poured):
        def pour(self, sink: Sink, max_bytes: int) -> int:
            seen.append(max(map(int, os.listdir(states))))
            return super().pour(sink, max_bytes)

    repository.uploads.append(upload_id, Watched(CONTENT[:350_000]), start=0)
    assert seen == sorted(seen)
    assert {0, 100_000, 200_000, 300_000} <= set(seen)
