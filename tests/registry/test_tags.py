"""Tags: moved atomically and on conditions, deleted alone, listed in order."""

import threading
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastreg.errors import ManifestUnknown, PreconditionFailed
from fastreg.oci.digest import Digest
from fastreg.registry import paths
from fastreg.registry.registry import Registry
from fastreg.registry.repository import Repository
from fastreg.registry.tags import Condition
from fastreg.storage.errors import StorageError
from fastreg.storage.local import LocalDriver
from tests.registry.faults import HookedDriver, ignore
from tests.registry.images import push_image

NAME = "library/app"
ONE, TWO, THREE = (Digest.of(text) for text in (b"1", b"2", b"3"))
MUST_CREATE = Condition(must_not_exist=True)


def must_be(*digests: Digest | str) -> Condition:
    return Condition(must_be=frozenset(str(d) for d in digests))


def history_of(driver: HookedDriver, tag: str) -> list[str]:
    return list(driver.inner.list(f"{paths.tag_index(NAME, tag)}/sha256"))


def test_a_tag_points_at_what_it_was_last_set_to(repository: Repository) -> None:
    assert repository.tags.get("v1") is None
    repository.tags.set("v1", ONE)
    repository.tags.set("v1", TWO)
    assert repository.tags.get("v1") == TWO


@pytest.mark.parametrize(
    ("condition", "before", "holds"),
    [
        (MUST_CREATE, None, True),
        (MUST_CREATE, ONE, False),
        (must_be(ONE), ONE, True),
        (must_be(ONE), TWO, False),
        (must_be(ONE), None, False),
        (must_be(ONE, TWO), TWO, True),
        (must_be("*"), ONE, True),
        (must_be("*"), None, False),
        (must_be("not a digest"), ONE, False),
    ],
)
def test_a_tag_is_set_only_if_the_condition_holds(
    repository: Repository, condition: Condition, before: Digest | None, holds: bool
) -> None:
    if before:
        repository.tags.set("v1", before)
    if holds:
        repository.tags.set("v1", THREE, condition)
        assert repository.tags.get("v1") == THREE
    else:
        with pytest.raises(PreconditionFailed):
            repository.tags.set("v1", THREE, condition)
        assert repository.tags.get("v1") == before


@pytest.mark.parametrize("condition", [MUST_CREATE, must_be(ONE)])
def test_a_change_between_the_question_and_the_move_fails_the_condition(
    repository: Repository, driver: HookedDriver, condition: Condition
) -> None:
    if condition != MUST_CREATE:
        repository.tags.set("v1", ONE)

    def move_first(call: str, key: str) -> None:
        if call == "put" and key == paths.tag_current(NAME, "v1"):
            driver.before = ignore
            Registry(driver.inner).repository(NAME).tags.set("v1", TWO)

    driver.before = move_first
    with pytest.raises(PreconditionFailed):
        repository.tags.set("v1", THREE, condition)
    assert repository.tags.get("v1") == TWO


@pytest.mark.parametrize("exists", [False, True])
def test_exactly_one_of_many_conditional_moves_wins(root: Path, exists: bool) -> None:
    count, rounds = 6, 8
    for n in range(rounds):
        tag = f"v{n}"
        if exists:
            Registry(LocalDriver(root)).repository(NAME).tags.set(tag, ONE)
        condition = must_be(ONE) if exists else MUST_CREATE
        won: list[Digest] = []
        begin = threading.Barrier(count)

        def move(
            number: int,
            tag: str = tag,
            condition: Condition = condition,
            won: list[Digest] = won,
            begin: threading.Barrier = begin,
        ) -> None:
            tags = Registry(LocalDriver(root)).repository(NAME).tags
            digest = Digest.of(b"mover %d" % number)
            begin.wait()
            try:
                tags.set(tag, digest, condition)
            except PreconditionFailed:
                return
            won.append(digest)

        threads = [threading.Thread(target=move, args=(number,)) for number in range(count)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert won == [Registry(LocalDriver(root)).repository(NAME).tags.get(tag)]


def test_deleting_a_tag_leaves_its_siblings_and_its_manifest(
    repository: Repository, driver: HookedDriver
) -> None:
    first = push_image(repository, "first", "v1", "v10", "other")
    second = push_image(repository, "second", "v1")
    assert len(history_of(driver, "v1")) == 2
    repository.tags.delete("v1")
    assert list(repository.tags.list()) == ["other", "v10"]
    assert list(driver.inner.list(paths.tags(NAME))) == ["other", "v10"]
    assert repository.manifests.read_tag("v10").digest == first
    assert repository.manifests.read(second).digest == second
    with pytest.raises(ManifestUnknown):
        repository.tags.delete("v1")


def test_deleting_every_tag_of_a_digest_takes_their_history_along(
    repository: Repository, driver: HookedDriver
) -> None:
    repository.tags.set("moved-here", TWO)
    repository.tags.set("moved-here", ONE)
    repository.tags.set("moved-away", ONE)
    repository.tags.set("moved-away", TWO)
    repository.tags.delete_all_of(ONE)
    assert list(driver.inner.list(paths.tags(NAME))) == ["moved-away"]
    assert history_of(driver, "moved-away") == [TWO.hex]
    assert repository.tags.get("moved-away") == TWO


@pytest.mark.parametrize("moved", ["stat", "get", "delete"])
def test_a_tag_that_moves_away_meanwhile_is_not_deleted(
    repository: Repository, driver: HookedDriver, moved: str
) -> None:
    repository.tags.set("v1", ONE)

    def move(call: str, key: str) -> None:
        if call == moved and key == paths.tag_current(NAME, "v1"):
            driver.before = ignore
            Registry(driver.inner).repository(NAME).tags.set("v1", TWO)

    driver.before = move
    repository.tags.delete_all_of(ONE)
    assert repository.tags.get("v1") == TWO


TORN = [b"", b"\0" * 71, b"sha256:", b"sha256:" + b"a" * 63, b"sha256:" + b"\xff" * 64, b"../../x"]


@pytest.mark.parametrize("torn", TORN)
def test_a_torn_tag_reads_as_absent_everywhere_and_can_be_set_again(
    repository: Repository, driver: HookedDriver, torn: bytes
) -> None:
    digest = push_image(repository, "image", "v0", "v1")
    driver.put(paths.tag_current(NAME, "v1"), torn)
    assert repository.tags.get("v1") is None
    assert list(repository.tags.list()) == ["v0"]
    with pytest.raises(ManifestUnknown):
        repository.manifests.read_tag("v1")
    repository.tags.set("v1", digest, MUST_CREATE)
    assert repository.manifests.read_tag("v1").digest == digest


def test_a_tag_that_another_program_rewrites_in_place_is_read_again(
    repository: Repository, driver: HookedDriver
) -> None:
    repository.tags.set("v1", ONE)

    def shrink(call: str, key: str) -> None:
        if (call, key) == ("get", paths.tag_current(NAME, "v1")):
            driver.before = ignore
            raise StorageError(key, "became shorter while it was read")

    driver.before = shrink
    assert repository.tags.get("v1") == ONE
    assert driver.before is ignore


def test_a_torn_tag_can_be_deleted(repository: Repository, driver: HookedDriver) -> None:
    driver.put(paths.tag_current(NAME, "v1"), b"")
    repository.tags.delete("v1")
    assert list(driver.inner.list("")) == []


def test_a_link_that_ends_in_a_newline_is_read(
    repository: Repository, driver: HookedDriver
) -> None:
    driver.put(paths.tag_current(NAME, "v1"), f"{ONE}\n".encode())
    assert repository.tags.get("v1") == ONE


def test_what_is_no_tag_is_not_listed(repository: Repository, driver: HookedDriver) -> None:
    repository.tags.set("v1", ONE)
    for odd in ("-v", ".v", "x" * 129):
        driver.put(paths.tag_current(NAME, odd), str(ONE).encode())
    driver.put(f"{paths.tags(NAME)}/file", b"no directory")
    assert list(repository.tags.list()) == ["v1"]


TAGS = st.text("ab01AB._-", min_size=1, max_size=4).filter(lambda t: t[0] not in ".-")


@given(st.sets(TAGS, max_size=12), st.one_of(TAGS, st.text(max_size=4)))
@settings(max_examples=40, deadline=None)
def test_tags_are_listed_bytewise_and_go_on_after_any_text(
    tmp_path_factory: pytest.TempPathFactory, names: set[str], after: str
) -> None:
    tags = Registry(LocalDriver(tmp_path_factory.mktemp("root"))).repository(NAME).tags
    for name in names:
        tags.set(name, ONE)
    assert list(tags.list()) == sorted(names)
    assert list(tags.list(after)) == sorted(n for n in names if n > after)


def test_pages_of_tags_where_one_is_anothers_prefix_lose_nothing(repository: Repository) -> None:
    names = sorted(["v", "v1", "v1.0", "v1-a", "v1_a", "V1", "v10", "_", "a" * 128])
    for name in names:
        repository.tags.set(name, ONE)
    listed, last = [], ""
    for _ in range(len(names) + 1):
        page = [tag for tag, _ in zip(repository.tags.list(last), range(2), strict=False)]
        if not page:
            break
        listed += page
        last = page[-1]
    assert listed == names
