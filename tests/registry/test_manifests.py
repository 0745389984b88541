"""Manifests: pushed with all they need, returned as they were, deleted with their tags."""

import threading
from contextlib import suppress
from pathlib import Path

import pytest

from fastreg.errors import ManifestBlobUnknown, ManifestUnknown, PreconditionFailed
from fastreg.oci import mediatypes as mt
from fastreg.oci.digest import HEX_LENGTHS, Digest
from fastreg.registry import paths
from fastreg.registry.content import MAX_MANIFEST_BYTES
from fastreg.registry.registry import Registry
from fastreg.registry.repository import Repository
from fastreg.registry.tags import Condition
from fastreg.storage.local import LocalDriver
from tests.registry.faults import HookedDriver, ignore
from tests.registry.images import (
    LAYER_TYPE,
    digest_of,
    image_of,
    index_of,
    push,
    push_blob,
    push_image,
)

NAME = "library/app"
ONE, TWO, THREE = (Digest.of(text) for text in (b"1", b"2", b"3"))


@pytest.mark.parametrize("algorithm", sorted(HEX_LENGTHS))
def test_a_manifest_is_returned_as_it_was_pushed(repository: Repository, algorithm: str) -> None:
    manifest = image_of(push_blob(repository, b"{}"))
    digest = push(repository, manifest, "v1", "latest", algorithm=algorithm)
    for stored in (repository.manifests.read(digest), repository.manifests.read_tag("latest")):
        assert stored.content == manifest.content
        assert stored.digest == digest
        assert stored.media_type == mt.OCI_MANIFEST
    assert repository.manifests.has(digest)
    assert list(repository.tags.list()) == ["latest", "v1"]


def test_a_manifest_of_one_repository_is_unknown_in_another(registry: Registry) -> None:
    digest = push_image(registry.repository("one"), "image", "v1")
    other = registry.repository("other")
    assert not other.manifests.has(digest)
    for act in (
        lambda: other.manifests.read(digest),
        lambda: other.manifests.read_tag("v1"),
        lambda: other.manifests.delete(digest),
    ):
        with pytest.raises(ManifestUnknown):
            act()


def test_every_missing_reference_is_told_once(repository: Repository) -> None:
    push_blob(repository, b"1")
    manifest = image_of(TWO, [ONE, THREE, TWO, THREE])
    with pytest.raises(ManifestBlobUnknown) as refused:
        push(repository, manifest, "v1")
    assert [m["digest"] for m in refused.value.missing] == [str(TWO), str(THREE)]
    assert list(repository.tags.list()) == []
    assert not repository.manifests.has(digest_of(manifest))


def test_a_blob_that_only_another_repository_holds_is_missing(registry: Registry) -> None:
    push_blob(registry.repository("other"), b"1")
    with pytest.raises(ManifestBlobUnknown):
        push(registry.repository(NAME), image_of(ONE))


def test_the_children_of_an_index_must_be_manifests_here(registry: Registry) -> None:
    repository = registry.repository(NAME)
    child = push_image(repository, "amd64")
    elsewhere = push_image(registry.repository("other"), "arm64")
    blob = push_blob(repository, b"1")
    with pytest.raises(ManifestBlobUnknown) as refused:
        push(repository, index_of(child, elsewhere, blob))
    assert [m["digest"] for m in refused.value.missing] == [str(elsewhere), str(blob)]
    digest = push(repository, index_of(child), "multi")
    assert repository.manifests.read_tag("multi").media_type == mt.OCI_INDEX
    assert push(repository, index_of(digest, child_type=mt.OCI_INDEX), "nested")


def test_an_index_may_list_layers_as_build_caches_do(repository: Repository) -> None:
    layer = push_blob(repository, b"1")
    index = index_of(layer, child_type=LAYER_TYPE)
    assert repository.manifests.has(push(repository, index))
    with pytest.raises(ManifestBlobUnknown):
        push(repository, index_of(layer, TWO, child_type=LAYER_TYPE))


def test_a_failed_condition_stores_nothing(repository: Repository, driver: HookedDriver) -> None:
    push_image(repository, "old", "v1")
    manifest = image_of(push_blob(repository, b"{}"))
    with pytest.raises(PreconditionFailed):
        repository.manifests.put(
            manifest, digest_of(manifest), ["v2", "v1"], Condition(must_not_exist=True)
        )
    assert list(repository.tags.list()) == ["v1"]
    assert not repository.manifests.has(digest_of(manifest))
    assert list(driver.inner.list(paths.tags(NAME))) == ["v1"]


def test_a_tag_that_is_named_twice_does_not_fail_its_own_condition(repository: Repository) -> None:
    manifest = image_of(push_blob(repository, b"{}"))
    digest = digest_of(manifest)
    repository.manifests.put(manifest, digest, ["v1", "v1"], Condition(must_not_exist=True))
    assert repository.tags.get("v1") == digest


def test_deleting_a_manifest_takes_all_its_tags_and_nothing_else(
    repository: Repository, driver: HookedDriver
) -> None:
    other = push_image(repository, "other", "v1", "other")
    digest = push_image(repository, "image", "v1", "v2", "latest")
    repository.manifests.delete(digest)
    assert list(repository.tags.list()) == ["other"]
    assert list(driver.inner.list(paths.tags(NAME))) == ["other"]
    assert repository.manifests.read_tag("other").digest == other
    assert repository.blobs.has(Digest.of(b"layer of image"))
    for act in (repository.manifests.read, repository.manifests.delete):
        with pytest.raises(ManifestUnknown):
            act(digest)


def test_a_deleted_manifest_can_be_pushed_again(repository: Repository) -> None:
    digest = push_image(repository, "image", "v1")
    repository.manifests.delete(digest)
    assert push_image(repository, "image", "v1") == digest
    assert repository.manifests.read_tag("v1").digest == digest


def test_deleting_in_one_repository_leaves_the_manifest_in_others(registry: Registry) -> None:
    one, other = registry.repository("one"), registry.repository("one/other")
    digest = push_image(one, "image", "v1")
    push_image(other, "image", "v1")
    one.manifests.delete(digest)
    assert other.manifests.read_tag("v1").digest == digest


def test_a_tag_that_moves_away_during_the_deletion_stays(
    repository: Repository, driver: HookedDriver
) -> None:
    other = push_image(repository, "other")
    digest = push_image(repository, "image", "v1", "v2")

    def move(call: str, key: str) -> None:
        if call == "delete" and key == paths.tag_current(NAME, "v1"):
            driver.before = ignore
            Registry(driver.inner).repository(NAME).tags.set("v1", other)

    driver.before = move
    repository.manifests.delete(digest)
    assert list(repository.tags.list()) == ["v1"]
    assert repository.manifests.read_tag("v1").digest == other


def test_a_tag_set_during_the_deletion_never_points_at_nothing(
    repository: Repository, driver: HookedDriver
) -> None:
    digest = push_image(repository, "image", "v1")

    def tag_again(call: str, key: str) -> None:
        if call == "delete" and key == paths.revision_link(NAME, digest):
            driver.before = ignore
            push_image(Registry(driver.inner).repository(NAME), "image", "v2")

    driver.before = tag_again
    repository.manifests.delete(digest)
    assert list(repository.tags.list()) == []
    assert not repository.manifests.has(digest)


def test_a_push_that_meets_a_deletion_wins_when_it_came_last(
    repository: Repository, driver: HookedDriver
) -> None:
    push_image(repository, "image", "v1")
    digest = repository.tags.get("v1")
    assert digest

    def delete(call: str, key: str) -> None:
        if call == "put" and key == paths.tag_current(NAME, "v2"):
            driver.before = ignore
            Registry(driver.inner).repository(NAME).manifests.delete(digest)

    driver.before = delete
    push_image(repository, "image", "v2")
    assert repository.manifests.read_tag("v2").digest == digest


@pytest.mark.parametrize(
    "damage", [b"", b"{}", b"\0" * 300, b" " * (MAX_MANIFEST_BYTES + 1)], ids=len
)
def test_damaged_content_reads_as_absent_until_it_is_pushed_again(
    repository: Repository, driver: HookedDriver, damage: bytes
) -> None:
    digest = push_image(repository, "image", "v1")
    driver.put(paths.blob_data(digest), damage)
    for act in (
        lambda: repository.manifests.read(digest),
        lambda: repository.manifests.read_tag("v1"),
    ):
        with pytest.raises(ManifestUnknown):
            act()
    push_image(repository, "image", "v1")
    assert repository.manifests.read_tag("v1").digest == digest


@pytest.mark.parametrize("lost", ["data", "link"])
def test_a_manifest_whose_data_or_link_is_gone_is_absent_until_it_is_pushed_again(
    repository: Repository, driver: HookedDriver, lost: str
) -> None:
    digest = push_image(repository, "image", "v1")
    driver.delete(paths.blob_data(digest) if lost == "data" else paths.revision_link(NAME, digest))
    assert not repository.manifests.has(digest)
    with pytest.raises(ManifestUnknown):
        repository.manifests.read_tag("v1")
    push_image(repository, "image")
    assert repository.manifests.read_tag("v1").digest == digest


def test_a_damaged_manifest_can_be_deleted_with_its_tags(
    repository: Repository, driver: HookedDriver
) -> None:
    digest = push_image(repository, "image", "v1")
    driver.put(paths.blob_data(digest), b"")
    repository.manifests.delete(digest)
    assert list(repository.tags.list()) == []
    assert not repository.manifests.has(digest)


def test_a_manifest_as_large_as_is_taken_is_returned(repository: Repository) -> None:
    config = push_blob(repository, b"{}")
    padding = "x" * (MAX_MANIFEST_BYTES - len(image_of(config, annotations={"a": ""}).content))
    manifest = image_of(config, annotations={"a": padding})
    assert len(manifest.content) == MAX_MANIFEST_BYTES
    assert repository.manifests.read(push(repository, manifest)).content == manifest.content


def test_what_the_registry_would_not_take_is_still_served_when_it_is_stored(
    repository: Repository, driver: HookedDriver
) -> None:
    for content, media_type in (
        (b'{"schemaVersion": 1, "fsLayers": []}', mt.DOCKER_SCHEMA1),
        (b"no manifest at all", "application/octet-stream"),
    ):
        digest = Digest.of(content)
        driver.put(paths.blob_data(digest), content)
        driver.put(paths.revision_link(NAME, digest), str(digest).encode())
        assert repository.manifests.read(digest).media_type == media_type


def test_a_push_wins_over_a_deletion_that_began_before_it(
    repository: Repository, driver: HookedDriver
) -> None:
    digest = push_image(repository, "image", "v1")
    pushed = []

    def push_once(call: str, key: str) -> None:
        if call == "delete" and key == paths.revision_link(NAME, digest) and not pushed:
            pushed.append(key)
            push_image(repository, "image", "v2")

    driver.after = push_once
    repository.manifests.delete(digest)
    assert pushed
    assert list(repository.tags.list()) == ["v2"]
    assert repository.manifests.read_tag("v2").digest == digest


@pytest.mark.parametrize("moment", ["tag", "revision"])
def test_a_push_wins_over_a_deletion_in_its_midst(
    repository: Repository, driver: HookedDriver, moment: str
) -> None:
    digest = push_image(repository, "image", "v1")
    key = paths.tag_current(NAME, "v2") if moment == "tag" else paths.revision_link(NAME, digest)
    deleted = []

    def delete_once(call: str, there: str) -> None:
        if call == "put" and there == key and not deleted:
            deleted.append(key)
            repository.manifests.delete(digest)

    driver.after = delete_once
    push_image(repository, "image", "v2")
    assert deleted
    assert list(repository.tags.list()) == ["v2"]
    assert repository.manifests.read_tag("v2").digest == digest


def test_threads_that_push_and_delete_one_manifest_leave_it_whole_or_gone(root: Path) -> None:
    first = Registry(LocalDriver(root)).repository(NAME)
    digest = push_image(first, "image", "v0")
    acknowledged = []

    def push_often(number: int) -> None:
        for n in range(10):
            push_image(Registry(LocalDriver(root)).repository(NAME), "image", f"v{number}-{n}")
            acknowledged.append(f"v{number}-{n}")

    def delete_often() -> None:
        for _ in range(20):
            with suppress(ManifestUnknown):
                Registry(LocalDriver(root)).repository(NAME).manifests.delete(digest)

    threads = [threading.Thread(target=push_often, args=[n]) for n in range(2)]
    threads.append(threading.Thread(target=delete_often))
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(acknowledged) == 20
    left = list(first.tags.list())
    assert first.manifests.has(digest) or not left
    for tag in left:
        assert first.manifests.read_tag(tag).digest == digest


def test_a_manifest_of_many_references_lets_others_run(driver: HookedDriver) -> None:
    turns: list[float] = []
    repository = Registry(driver, sleep=turns.append).repository(NAME)
    layers = [Digest.of(str(n).encode()) for n in range(1000)]
    with pytest.raises(ManifestBlobUnknown) as refused:
        push(repository, image_of(layers[0], layers))
    assert len(refused.value.missing) == 1000
    assert len(turns) >= 15
