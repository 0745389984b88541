"""What `fastreg.storage.base` promises of keys and objects, each promise by a test."""

import os
import time
from collections.abc import Iterator

import pytest

from fastreg.storage.base import ABSENT, Driver
from fastreg.storage.errors import (
    Conflict,
    InvalidKey,
    NotFound,
    StorageError,
)
from tests.storage.stores import Store

BAD_KEYS = [
    "",
    "/",
    "/a",
    "a/",
    "a//b",
    ".",
    "..",
    "a/../b",
    "a/./b",
    "../../etc/passwd",
    "a\0b",
    "a b",
    "a\n",
    "a%2fb",
    "a\\b",
    "ä",
    "\udcff",
    "s" * 256,
    "/".join(["s" * 200] * 16),
]


def fill(driver: Driver, *keys: str) -> None:
    for key in keys:
        driver.put(key, key.encode(), durable=False)


def stored(driver: Driver, key: str) -> bytes:
    return driver.get(key, 100 << 20)


# stat and get


def test_stat_tells_the_size_and_the_time_of_the_last_change(driver: Driver) -> None:
    driver.put("a/b", b"12345")
    stat = driver.stat("a/b")
    assert stat.size == 5
    assert abs(stat.modified - time.time()) < 3600


def test_get_returns_the_object_whole(driver: Driver) -> None:
    data = os.urandom(70_000)
    driver.put("a/b", data)
    assert driver.get("a/b", 70_000) == data


def test_get_returns_an_empty_object(driver: Driver) -> None:
    driver.put("a", b"")
    assert driver.get("a", 0) == b""
    assert driver.stat("a").size == 0


def test_get_refuses_an_object_larger_than_the_limit(driver: Driver) -> None:
    driver.put("a", b"12345")
    with pytest.raises(StorageError, match="5 bytes where 4 are allowed") as caught:
        driver.get("a", 4)
    assert not isinstance(caught.value, NotFound)


@pytest.mark.parametrize("key", ["nothing", "a/b/c", "a", "a/b/c/d", "a/bb/x"])
def test_what_is_not_stored_is_not_found(driver: Driver, key: str) -> None:
    fill(driver, "a/bb/c")
    with pytest.raises(NotFound):
        driver.stat(key)
    with pytest.raises(NotFound):
        driver.get(key, 10)
    with pytest.raises(NotFound):
        driver.open(key)
    with pytest.raises(NotFound):
        driver.delete(key)
    with pytest.raises(NotFound):
        driver.writer(key, append=True)


def test_below_an_object_nothing_is_found(driver: Driver) -> None:
    fill(driver, "a/b")
    with pytest.raises(NotFound):
        driver.stat("a/b/c")
    with pytest.raises(NotFound):
        driver.get("a/b/c", 10)
    with pytest.raises(NotFound):
        driver.open("a/b/c")
    with pytest.raises(NotFound):
        driver.delete("a/b/c")
    with pytest.raises(NotFound):
        driver.writer("a/b/c", append=True)


@pytest.mark.parametrize("key", BAD_KEYS)
def test_every_method_refuses_a_key_that_is_none(driver: Driver, key: str) -> None:
    with pytest.raises(InvalidKey):
        driver.stat(key)
    with pytest.raises(InvalidKey):
        driver.get(key, 1)
    with pytest.raises(InvalidKey):
        driver.put(key, b"")
    with pytest.raises(InvalidKey):
        driver.delete(key)
    with pytest.raises(InvalidKey):
        driver.open(key)
    with pytest.raises(InvalidKey):
        driver.writer(key, append=False)
    with pytest.raises(InvalidKey):
        driver.writer(key, append=True)


@pytest.mark.parametrize("prefix", [key for key in BAD_KEYS if key])
def test_list_refuses_a_prefix_that_is_no_key(driver: Driver, prefix: str) -> None:
    with pytest.raises(InvalidKey):
        driver.list(prefix)


def test_commit_refuses_a_key_that_is_none_and_keeps_the_bytes(driver: Driver) -> None:
    with driver.writer("u/data", append=False) as writer:
        writer.write(b"abc")
        with pytest.raises(InvalidKey):
            writer.commit("../b")
    with driver.writer("u/data", append=True) as writer:
        assert writer.size == 3


def test_the_longest_names_can_be_stored(driver: Driver) -> None:
    key = f"{'x' * 255}/{'y' * 255}/z"
    fill(driver, key)
    assert stored(driver, key) == key.encode()


# put


def test_put_replaces(driver: Driver) -> None:
    driver.put("a/b", b"a longer first one")
    driver.put("a/b", b"second")
    assert stored(driver, "a/b") == b"second"


def test_what_was_put_is_there_for_another_driver(store: Store) -> None:
    store.driver.put("a/b/c", b"x")
    store.driver.put("a/d", b"y", durable=False)
    assert stored(store.reopen(), "a/b/c") == b"x"
    assert stored(store.reopen(), "a/d") == b"y"


def test_every_put_gives_another_version(driver: Driver) -> None:
    versions = set()
    for _ in range(200):
        driver.put("a", b"always the same", durable=False)
        versions.add(driver.stat("a").version)
    assert len(versions) == 200


def test_the_version_stays_while_nothing_is_put(driver: Driver) -> None:
    driver.put("a", b"x")
    before = driver.stat("a").version
    driver.get("a", 1)
    fill(driver, "b")
    assert driver.stat("a").version == before


def test_put_on_the_expected_version_replaces(driver: Driver) -> None:
    driver.put("a", b"1")
    driver.put("a", b"2", if_version=driver.stat("a").version)
    assert stored(driver, "a") == b"2"


def test_put_on_another_version_conflicts_and_changes_nothing(driver: Driver) -> None:
    driver.put("a", b"1")
    old = driver.stat("a").version
    driver.put("a", b"2")
    with pytest.raises(Conflict):
        driver.put("a", b"3", if_version=old)
    assert stored(driver, "a") == b"2"


def test_put_on_absence_creates(driver: Driver) -> None:
    driver.put("a/b", b"1", if_version=ABSENT)
    assert stored(driver, "a/b") == b"1"


def test_put_on_absence_conflicts_with_what_is_there(driver: Driver) -> None:
    driver.put("a", b"1")
    with pytest.raises(Conflict):
        driver.put("a", b"2", if_version=ABSENT)
    assert stored(driver, "a") == b"1"


def test_put_on_a_version_conflicts_with_absence_and_leaves_nothing(driver: Driver) -> None:
    driver.put("other", b"1")
    version = driver.stat("other").version
    with pytest.raises(Conflict):
        driver.put("a/b/c", b"2", if_version=version)
    assert list(driver.list("")) == ["other"]


def test_put_below_an_object_fails_and_changes_nothing(tree: Driver) -> None:
    fill(tree, "a")
    with pytest.raises(StorageError) as caught:
        tree.put("a/b", b"x")
    assert not isinstance(caught.value, NotFound)
    assert stored(tree, "a") == b"a"


# delete


def test_delete_takes_the_object_away(store: Store) -> None:
    fill(store.driver, "a/b")
    store.driver.delete("a/b")
    with pytest.raises(NotFound):
        store.driver.stat("a/b")
    with pytest.raises(NotFound):
        store.reopen().get("a/b", 10)
    with pytest.raises(NotFound):
        store.driver.delete("a/b")


def test_delete_leaves_the_siblings(driver: Driver) -> None:
    fill(driver, "a/b/c", "a/b/d", "a/bb", "a-b")
    driver.delete("a/b/c")
    assert [stored(driver, key) for key in ("a/b/d", "a/bb", "a-b")] == [b"a/b/d", b"a/bb", b"a-b"]


def test_what_was_deleted_can_be_put_again(driver: Driver) -> None:
    fill(driver, "a/b/c")
    driver.delete("a/b/c")
    driver.put("a/b/c", b"again", if_version=ABSENT)
    assert stored(driver, "a/b/c") == b"again"


def test_a_prefix_can_become_an_object_once_nothing_is_below_it(driver: Driver) -> None:
    fill(driver, "a/b/c")
    driver.delete("a/b/c")
    driver.put("a", b"now an object")
    assert stored(driver, "a") == b"now an object"


def test_delete_of_the_expected_version_deletes(driver: Driver) -> None:
    fill(driver, "a")
    driver.delete("a", if_version=driver.stat("a").version)
    with pytest.raises(NotFound):
        driver.stat("a")


def test_delete_of_another_version_conflicts_and_changes_nothing(driver: Driver) -> None:
    fill(driver, "a")
    old = driver.stat("a").version
    driver.put("a", b"2")
    with pytest.raises(Conflict):
        driver.delete("a", if_version=old)
    assert stored(driver, "a") == b"2"


def test_delete_of_a_version_of_nothing_is_not_found(driver: Driver) -> None:
    fill(driver, "a")
    version = driver.stat("a").version
    driver.delete("a")
    with pytest.raises(NotFound):
        driver.delete("a", if_version=version)


# list


def test_list_gives_each_name_directly_below_once(driver: Driver) -> None:
    fill(driver, "a/b", "a/c/d", "a/c/e/f", "x")
    assert list(driver.list("a")) == ["b", "c"]
    assert list(driver.list("a/c")) == ["d", "e"]
    assert list(driver.list("")) == ["a", "x"]


def test_list_sorts_bytewise_where_names_are_prefixes_of_names(driver: Driver) -> None:
    fill(
        driver,
        "p/a/x",
        "p/a-b/x",
        "p/a.b",
        "p/a0",
        "p/aa",
        "p/A",
        "p/a_b/x",
        "p/Z",
        "p/a-b.c",
        "p/-",
    )
    names = ["-", "A", "Z", "a", "a-b", "a-b.c", "a.b", "a0", "a_b", "aa"]
    assert list(driver.list("p")) == names


def test_list_loses_nothing_however_it_is_cut_into_pages(driver: Driver) -> None:
    names = sorted({"a", "a-b", "a.b", "a0", "aa", "a_b", "b", "A"})
    fill(driver, *(f"p/{name}/x" for name in names))
    for start, last in enumerate(["", *names]):
        assert list(driver.list("p", after=last)) == names[start:]


@pytest.mark.parametrize(
    ("after", "names"),
    [("aa", ["b", "c"]), ("b", ["c"]), ("b/x", ["c"]), ("c", []), ("ä", []), ("\ud800", [])],
)
def test_list_starts_after_a_name_that_need_not_exist(
    driver: Driver, after: str, names: list[str]
) -> None:
    fill(driver, "p/a", "p/b", "p/c")
    assert list(driver.list("p", after=after)) == names


def test_list_of_a_prefix_without_objects_is_empty(driver: Driver) -> None:
    fill(driver, "a/b", "a-c/d")
    assert list(driver.list("nothing")) == []
    assert list(driver.list("a/b")) == []
    assert list(driver.list("a/b/c")) == []
    assert list(driver.list("a/c")) == []


def test_a_prefix_goes_with_its_last_object(driver: Driver) -> None:
    fill(driver, "a/b/c/d", "a/b/e", "f")
    driver.delete("a/b/c/d")
    assert list(driver.list("a/b")) == ["e"]
    driver.delete("a/b/e")
    assert list(driver.list("")) == ["f"]


def test_list_of_an_empty_store_is_empty(driver: Driver) -> None:
    assert list(driver.list("")) == []


def test_list_of_many_names_is_whole_and_an_iterator(driver: Driver) -> None:
    names = [f"{number:03}" for number in range(300)]
    fill(driver, *(f"p/{name}/x" for name in names))
    listing = driver.list("p", after="009")
    assert isinstance(listing, Iterator)
    assert next(listing) == "010"
    assert list(listing) == names[11:]


def test_list_goes_on_while_its_names_are_deleted(driver: Driver) -> None:
    names = [f"{number:03}" for number in range(150)]
    fill(driver, *(f"p/{name}/x" for name in names))
    seen = []
    for name in driver.list("p"):
        seen.append(name)
        driver.delete(f"p/{name}/x")
    assert seen == names
    assert list(driver.list("")) == []
