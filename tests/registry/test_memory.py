"""Memory does not grow with a blob, in either direction."""

import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from fastreg.oci.digest import Digest
from fastreg.registry.hashing import new_hasher
from fastreg.registry.repository import Repository
from tests.registry.images import Endless

SIZE = 300 << 20
BOUND = 8 << 20


@contextmanager
def _bounded_memory() -> Iterator[None]:
    tracemalloc.start()
    try:
        yield
        assert tracemalloc.get_traced_memory()[1] < BOUND
    finally:
        tracemalloc.stop()


def _digest(size: int, algorithm: str) -> Digest:
    hasher = new_hasher(algorithm)
    for block in Endless(size).blocks():
        hasher.update(block)
    return Digest(algorithm, hasher.hexdigest())


def test_a_large_blob_goes_in_and_out_in_little_memory(repository: Repository) -> None:
    digest = _digest(SIZE, "sha256")
    upload_id = repository.uploads.start()
    with _bounded_memory():
        repository.uploads.append(upload_id, Endless(SIZE), start=0)
        repository.uploads.finish(upload_id, Endless(0), digest, start=SIZE)
    assert repository.blobs.find(digest).size == SIZE
    with _bounded_memory(), repository.blobs.find(digest).open() as readable:
        assert sum(len(data) for data in iter(lambda: readable.read(1 << 20), b"")) == SIZE
    repository.blobs.delete(digest)


@pytest.mark.parametrize("algorithm", ["sha512", "blake3"])
def test_hashing_a_session_again_takes_little_memory(
    repository: Repository, algorithm: str
) -> None:
    size = 40 << 20
    digest = _digest(size, algorithm)
    upload_id = repository.uploads.start("sha256")
    with _bounded_memory():
        repository.uploads.append(upload_id, Endless(size), start=0)
        repository.uploads.finish(upload_id, Endless(0), digest, start=size)
    assert repository.blobs.find(digest).size == size
