"""Blobs: content shared by all, granted by a link, healed by pushing again."""

import pytest

from fastreg.errors import BlobUnknown
from fastreg.oci.digest import HEX_LENGTHS, Digest
from fastreg.registry import paths
from fastreg.registry.registry import Registry
from fastreg.registry.repository import Repository
from tests.registry.faults import HookedDriver
from tests.registry.images import push_blob, read_blob

NAME = "library/app"
CONTENT = b"some layer"
DIGEST = Digest.of(CONTENT)


@pytest.mark.parametrize("algorithm", sorted(HEX_LENGTHS))
@pytest.mark.parametrize("content", [b"", b"\0", b"x" * 70_000])
def test_a_pushed_blob_is_read_back(repository: Repository, algorithm: str, content: bytes) -> None:
    digest = push_blob(repository, content, algorithm)
    assert repository.blobs.find(digest).size == len(content)
    assert read_blob(repository, digest) == content


def test_a_range_of_a_blob_is_read(repository: Repository) -> None:
    push_blob(repository, CONTENT)
    with repository.blobs.find(DIGEST).open(5, 3) as readable:
        assert readable.read(100) == CONTENT[5:8]
        assert readable.size == len(CONTENT)


def test_a_blob_of_one_repository_is_unknown_in_another(registry: Registry) -> None:
    push_blob(registry.repository("one"), CONTENT)
    other = registry.repository("other")
    assert not other.blobs.has(DIGEST)
    with pytest.raises(BlobUnknown):
        other.blobs.find(DIGEST).open()


def test_a_mount_grants_a_blob_only_when_its_source_has_it(registry: Registry) -> None:
    source, target = registry.repository("source"), registry.repository("target")
    assert not target.blobs.mount(DIGEST, source.blobs)
    push_blob(source, CONTENT)
    assert target.blobs.mount(DIGEST, source.blobs)
    assert read_blob(target, DIGEST) == CONTENT


def test_deleting_a_blob_takes_it_from_one_repository_only(registry: Registry) -> None:
    one, other = registry.repository("one"), registry.repository("one/other")
    push_blob(one, CONTENT)
    push_blob(other, CONTENT)
    one.blobs.delete(DIGEST)
    assert not one.blobs.has(DIGEST)
    assert read_blob(other, DIGEST) == CONTENT
    with pytest.raises(BlobUnknown):
        one.blobs.delete(DIGEST)


def test_a_deleted_blob_can_be_pushed_again(repository: Repository) -> None:
    push_blob(repository, CONTENT)
    repository.blobs.delete(DIGEST)
    push_blob(repository, CONTENT)
    assert read_blob(repository, DIGEST) == CONTENT


@pytest.mark.parametrize("lost", [paths.blob_data(DIGEST), paths.layer_link("library/app", DIGEST)])
def test_a_blob_or_link_that_a_crash_left_empty_is_absent_until_pushed_again(
    repository: Repository, driver: HookedDriver, lost: str
) -> None:
    push_blob(repository, CONTENT)
    driver.put(lost, b"")
    assert not repository.blobs.has(DIGEST)
    with pytest.raises(BlobUnknown):
        repository.blobs.find(DIGEST).open()
    push_blob(repository, CONTENT)
    assert read_blob(repository, DIGEST) == CONTENT


@pytest.mark.parametrize("wrong", [b"some", CONTENT + b" and more"])
def test_pushing_again_heals_a_blob_of_the_wrong_size(
    repository: Repository, driver: HookedDriver, wrong: bytes
) -> None:
    push_blob(repository, CONTENT)
    driver.put(paths.blob_data(DIGEST), wrong)
    push_blob(repository, CONTENT)
    assert read_blob(repository, DIGEST) == CONTENT


def test_a_blob_that_goes_away_between_question_and_answer_is_unknown(
    repository: Repository, driver: HookedDriver
) -> None:
    push_blob(repository, CONTENT)

    def collect_garbage(call: str, key: str) -> None:
        if call == "open" and key == paths.blob_data(DIGEST):
            driver.inner.delete(key)

    driver.before = collect_garbage
    with pytest.raises(BlobUnknown):
        repository.blobs.find(DIGEST).open()


def test_holders_are_the_repositories_that_have_the_blob(
    registry: Registry, driver: HookedDriver
) -> None:
    for name in ("a", "b/c", "b-c"):
        push_blob(registry.repository(name), CONTENT if name != "b/c" else b"other")
    assert [r.name for r in registry.holders(DIGEST)] == ["a", "b-c"]
    driver.delete(paths.blob_data(DIGEST))
    assert list(registry.holders(DIGEST)) == []


@pytest.mark.parametrize("torn", [b"", b"\0" * 71, b"sha256:", str(DIGEST).encode()[:-1]])
def test_a_torn_link_grants_nothing_until_the_blob_is_pushed_again(
    repository: Repository, driver: HookedDriver, torn: bytes
) -> None:
    push_blob(repository, CONTENT)
    driver.put(paths.layer_link(NAME, DIGEST), torn)
    assert not repository.blobs.has(DIGEST)
    push_blob(repository, CONTENT)
    assert read_blob(repository, DIGEST) == CONTENT


def test_a_blob_is_found_where_its_link_says(repository: Repository, driver: HookedDriver) -> None:
    push_blob(repository, CONTENT)
    other = Digest.of(CONTENT, "sha512")
    driver.put(paths.layer_link(NAME, other), str(DIGEST).encode())
    assert repository.blobs.find(other).size == len(CONTENT)
    assert read_blob(repository, other) == CONTENT


@pytest.mark.parametrize("damage", [CONTENT[:-1], CONTENT + b"!", CONTENT.swapcase()])
def test_pushing_a_damaged_blob_again_heals_it(
    repository: Repository, driver: HookedDriver, damage: bytes
) -> None:
    push_blob(repository, CONTENT)
    driver.put(paths.blob_data(DIGEST), damage)
    push_blob(repository, CONTENT)
    assert read_blob(repository, DIGEST) == CONTENT
