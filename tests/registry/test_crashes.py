"""A process that dies at any step of a change leaves a registry that is whole, and the change
can be made again.

Every operation is cut off before and after each change that it makes, an upload also in the
middle of a write; then another process looks at the same directory.
"""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from fastreg.errors import BlobUnknown, BlobUploadUnknown, ManifestUnknown
from fastreg.oci.digest import Digest
from fastreg.registry import paths
from fastreg.registry.purge import purge_uploads
from fastreg.registry.registry import Registry
from fastreg.registry.repository import Repository
from fastreg.storage.local import LocalDriver
from tests.registry import disk
from tests.registry.faults import Crash, CrashAt, HookedDriver
from tests.registry.images import (
    Body,
    digest_of,
    image_of,
    index_of,
    push,
    push_blob,
    push_image,
    read_blob,
)

NAME = "library/app"
CONFIG, LAYER = b"{}", b"layer " * 1000
IMAGE = image_of(Digest.of(CONFIG), [Digest.of(LAYER)])
SUBJECT = digest_of(IMAGE)
MOMENTS = ["before", "after"]

Act = Callable[[Repository], object]
Holds = Callable[[Repository], bool]


@dataclass(frozen=True)
class Operation:
    """`acts` in order; each, once it has returned, has promised that its `Holds` is true."""

    acts: list[tuple[Act, Holds]]
    prepare: Act = lambda repository: None


def _push_image(repository: Repository) -> None:
    push_blob(repository, CONFIG)
    push_blob(repository, LAYER)
    push(repository, IMAGE)


def _reads(tag: str, digest: Digest) -> Holds:
    return lambda repository: repository.manifests.read_tag(tag).digest == digest


def _tags_are(*tags: str) -> Holds:
    """Listed, and for any other registry too: no directory of another tag is left."""
    return lambda repository: (
        list(repository.tags.list()) == list(tags)
        and list(repository._store.driver.list(paths.tags(NAME))) == list(tags)
    )


def _referred_to_by(*digests: Digest) -> Holds:
    return lambda repository: (
        [d["digest"] for d in repository.referrers.list(SUBJECT)] == sorted(map(str, digests))
    )


def _push_two_versions(repository: Repository) -> None:
    push_image(repository, "old", "v1", "other")
    push_image(repository, "new", "v1", "v2")


OLD, NEW = (
    digest_of(
        image_of(
            Digest.of(f'{{"label":"{label}"}}'.encode()), [Digest.of(f"layer of {label}".encode())]
        )
    )
    for label in ("old", "new")
)
REFERRER = image_of(Digest.of(CONFIG), subject={"digest": str(SUBJECT), "size": 1})
INDEX = index_of(SUBJECT)


def _delete_manifest(digest: Digest) -> Act:
    def act(repository: Repository) -> None:
        with suppress(ManifestUnknown):
            repository.manifests.delete(digest)

    return act


def _delete_tag(tag: str) -> Act:
    def act(repository: Repository) -> None:
        with suppress(ManifestUnknown):
            repository.tags.delete(tag)

    return act


def _delete_blob(repository: Repository) -> None:
    with suppress(BlobUnknown):
        repository.blobs.delete(Digest.of(b"lonely"))


OPERATIONS = {
    "an image is pushed with two tags": Operation(
        [
            (lambda r: push_blob(r, CONFIG), lambda r: r.blobs.has(Digest.of(CONFIG))),
            (lambda r: push_blob(r, LAYER), lambda r: r.blobs.has(Digest.of(LAYER))),
            (lambda r: push(r, IMAGE, "v1", "latest"), _reads("v1", SUBJECT)),
            (lambda r: push(r, INDEX, "multi"), _reads("multi", digest_of(INDEX))),
        ]
    ),
    "a blob is mounted and tagged by a manifest": Operation(
        [
            (lambda r: r.blobs.mount(SUBJECT, r.blobs), lambda r: r.blobs.has(SUBJECT)),
            (lambda r: push(r, image_of(SUBJECT), "odd"), lambda r: "odd" in r.tags.list()),
        ],
        prepare=lambda r: push_blob(r, IMAGE.content),
    ),
    "a tag is moved": Operation(
        [(lambda r: r.tags.set("v1", NEW), _reads("v1", NEW))],
        prepare=lambda r: (push_image(r, "new"), push_image(r, "old", "v1", "other")),
    ),
    "a tag is moved by a push": Operation(
        [(lambda r: push_image(r, "new", "v1"), _reads("v1", NEW))],
        prepare=lambda r: push_image(r, "old", "v1", "other"),
    ),
    "a manifest is deleted with its tags": Operation(
        [(_delete_manifest(NEW), _tags_are("other"))], prepare=_push_two_versions
    ),
    "a tag is deleted": Operation(
        [(_delete_tag("v1"), _tags_are("other", "v2"))], prepare=_push_two_versions
    ),
    "a blob is deleted": Operation(
        [(_delete_blob, lambda r: not r.blobs.has(Digest.of(b"lonely")))],
        prepare=lambda r: (push_image(r, "old", "v1"), push_blob(r, b"lonely")),
    ),
    "a referrer is pushed": Operation(
        [(lambda r: push(r, REFERRER), _referred_to_by(digest_of(REFERRER)))], prepare=_push_image
    ),
    "a referrer is deleted": Operation(
        [(_delete_manifest(digest_of(REFERRER)), _referred_to_by())],
        prepare=lambda r: (_push_image(r), push(r, REFERRER)),
    ),
}


def _count_changes(root: Path, operation: Operation) -> int:
    driver = HookedDriver(LocalDriver(root))
    repository = Registry(driver).repository(NAME)
    operation.prepare(repository)
    crash = CrashAt(0)
    crash.attach(driver)
    for act, holds in operation.acts:
        act(repository)
        assert holds(Registry(LocalDriver(root)).repository(NAME))
    assert crash.steps
    return crash.steps


def _run(operation: Operation, repository: Repository, acknowledged: list[Holds]) -> None:
    for act, holds in operation.acts:
        act(repository)
        acknowledged.append(holds)


@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize("operation", OPERATIONS.values(), ids=OPERATIONS)
def test_a_crash_at_any_step_leaves_a_whole_registry_where_the_operation_can_be_repeated(
    tmp_path: Path, operation: Operation, moment: str
) -> None:
    for step in range(1, _count_changes(tmp_path / "whole", operation) + 1):
        root = tmp_path / str(step)
        driver = HookedDriver(LocalDriver(root))
        repository = Registry(driver).repository(NAME)
        operation.prepare(repository)
        CrashAt(step, moment).attach(driver)
        acknowledged: list[Holds] = []
        with pytest.raises(Crash):
            _run(operation, repository, acknowledged)

        after = Registry(LocalDriver(root))
        disk.check(root, after)
        assert all(holds(after.repository(NAME)) for holds in acknowledged)

        for act, holds in operation.acts:
            act(after.repository(NAME))
            assert holds(after.repository(NAME)), step
        disk.check(root, Registry(LocalDriver(root)))


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_listed_referrer_and_its_manifest_agree_after_a_crash_of_its_deletion(
    tmp_path: Path, moment: str
) -> None:
    operation = OPERATIONS["a referrer is deleted"]
    for step in range(1, _count_changes(tmp_path / "whole", operation) + 1):
        root = tmp_path / str(step)
        driver = HookedDriver(LocalDriver(root))
        repository = Registry(driver).repository(NAME)
        operation.prepare(repository)
        list(Registry(LocalDriver(root)).repository(NAME).referrers.list(SUBJECT))
        CrashAt(step, moment).attach(driver)
        with pytest.raises(Crash):
            repository.manifests.delete(digest_of(REFERRER))
        after = Registry(LocalDriver(root)).repository(NAME)
        there = after.manifests.has(digest_of(REFERRER))
        assert bool(list(after.referrers.list(SUBJECT))) == there


PIECES = [LAYER[:2000], LAYER[2000:4000], LAYER[4000:]]


def _upload(repository: Repository, upload_id: str, acknowledged: list[int]) -> None:
    for piece in PIECES:
        size = repository.uploads.append(upload_id, Body(piece), start=None)
        acknowledged.append(size)
    repository.uploads.finish(upload_id, Body(), Digest.of(LAYER), start=None)


@pytest.mark.parametrize("moment", [*MOMENTS, "middle"])
@pytest.mark.parametrize("algorithm", ["sha256", "blake3"])
def test_an_upload_goes_on_after_a_crash_at_any_step(
    tmp_path: Path, moment: str, algorithm: str
) -> None:
    step = 0
    crashed = True
    while crashed and step < 100:
        step += 1
        root = tmp_path / str(step)
        driver = HookedDriver(LocalDriver(root))
        upload_id = Registry(driver).repository(NAME).uploads.start(algorithm)
        CrashAt(step, moment).attach(driver)
        acknowledged = [0]
        try:
            _upload(Registry(driver).repository(NAME), upload_id, acknowledged)
            crashed = False
        except Crash:
            after = Registry(LocalDriver(root)).repository(NAME)
            _go_on(after, upload_id, acknowledged[-1])
            assert read_blob(after, Digest.of(LAYER)) == LAYER
        disk.check(root, Registry(LocalDriver(root)))
    assert 10 < step < 100


def _go_on(repository: Repository, upload_id: str, acknowledged: int) -> None:
    try:
        size = repository.uploads.size(upload_id)
    except BlobUploadUnknown:
        # Its bytes are a blob already, and need not be sent again.
        size = len(LAYER)
    assert size >= acknowledged
    repository.uploads.finish(upload_id, Body(LAYER[size:]), Digest.of(LAYER), start=size)


@pytest.mark.parametrize("moment", MOMENTS)
def test_whatever_a_crash_left_of_a_session_is_purged_in_the_end(
    tmp_path: Path, moment: str
) -> None:
    def act(repository: Repository) -> None:
        upload_id = repository.uploads.start()
        repository.uploads.append(upload_id, Body(LAYER), start=0)
        repository.uploads.cancel(upload_id)

    steps = _count_changes(tmp_path / "whole", Operation([(act, lambda repository: True)]))
    for step in range(1, steps + 1):
        driver = HookedDriver(LocalDriver(tmp_path / str(step)))
        CrashAt(step, moment).attach(driver)
        with pytest.raises(Crash):
            act(Registry(driver).repository(NAME))
        after = Registry(LocalDriver(tmp_path / str(step)))
        assert list(after.names()) == []
        purge_uploads(after.store, 3600, now=1e11)
        assert list(after.store.driver.list("")) == []


def test_the_changes_of_a_push_come_in_the_order_that_never_leaves_a_link_to_nothing(
    driver: HookedDriver, registry: Registry
) -> None:
    repository = registry.repository(NAME)
    _push_image(repository)
    crash = CrashAt(0)
    crash.attach(driver)
    digest = push(repository, REFERRER, "v1")
    assert crash.calls == [
        f"put {paths.blob_data(digest)}",
        f"put {paths.revision_link(NAME, digest)}",
        f"put {paths.referrer_link(NAME, SUBJECT, digest)}",
        f"put {paths.tag_index_link(NAME, 'v1', digest)}",
        f"put {paths.tag_current(NAME, 'v1')}",
    ]
