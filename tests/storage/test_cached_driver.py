"""What stands before a far store: what it remembers, what it tells of changes, what it fetches
before anyone asks."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import gevent
import pytest

from fastreg.storage.base import Driver, Generation
from fastreg.storage.cache import MAX_PREFETCHES, MAX_QUEUED
from fastreg.storage.errors import Conflict, NotFound, StorageError
from tests.storage.caches import Caching, bytes_of, key_of

MIB = 1 << 20


@pytest.fixture
def caching(tmp_path: Path) -> Iterator[Caching]:
    caching = Caching(tmp_path)
    yield caching
    caching.settle()


@pytest.fixture
def reading(caching: Caching) -> Driver:
    return caching.driver.for_reading()


def counted(driver: Driver, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What the driver is asked, from now on."""
    asked: list[str] = []
    for name in ("stat", "get"):
        method = getattr(driver, name)

        def call(*args: Any, name: str = name, method: Any = method) -> Any:
            asked.append(name)
            return method(*args)

        monkeypatch.setattr(driver, name, call)
    return asked


def test_a_question_is_answered_from_memory(
    caching: Caching, reading: Driver, monkeypatch: pytest.MonkeyPatch
) -> None:
    key, data = caching.put(MIB)
    asked = counted(caching.far, monkeypatch)
    for _ in range(5):
        assert reading.stat(key).size == MIB
        with reading.open(key) as readable:
            assert b"".join(map(bytes_of, readable.segments())) == data
    assert asked == ["stat"]


def test_a_change_is_never_asked_from_memory(
    caching: Caching, reading: Driver, monkeypatch: pytest.MonkeyPatch
) -> None:
    caching.far.put("link", b"one")
    assert reading.get("link", 10) == b"one"
    caching.far.put("link", b"two")
    assert reading.get("link", 10) == b"one"
    assert caching.driver.get("link", 10) == b"two"
    assert caching.driver.stat("link").version == caching.far.stat("link").version


def write(driver: Driver) -> None:
    with driver.writer("a", append=False) as writer:
        writer.write(b"more")
        writer.sync()


def commit(driver: Driver) -> None:
    with driver.writer("upload", append=False) as writer:
        writer.write(b"more")
        writer.commit("a")


def abort(driver: Driver) -> None:
    driver.writer("a", append=True).abort()


CHANGES: list[Callable[[Driver], None]] = [
    lambda driver: driver.put("a", b"two"),
    lambda driver: driver.delete("a"),
    write,
    commit,
    abort,
]


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_is_seen_by_the_next_question(
    caching: Caching, reading: Driver, change: Callable[[Driver], None]
) -> None:
    caching.driver.put("a", b"1")
    before = reading.stat("a").version
    witness = reading.witness("a")
    assert isinstance(witness, Generation)
    change(caching.driver)
    assert caching.generations.memory[witness.counter] != witness.value
    assert version_or_none(reading, "a") != before
    assert version_or_none(reading, "a") == version_or_none(caching.far, "a")


def version_or_none(driver: Driver, key: str) -> str | None:
    try:
        return driver.stat(key).version
    except NotFound:
        return None


def test_a_change_that_failed_is_taken_for_one_that_may_have_taken_effect(
    caching: Caching, reading: Driver, monkeypatch: pytest.MonkeyPatch
) -> None:
    caching.driver.put("a", b"one")
    assert reading.get("a", 10) == b"one"
    put = caching.far.put

    def lose_the_answer(*args: Any, **options: Any) -> None:
        put(*args, **options)
        raise StorageError("a", "the answer was lost")

    monkeypatch.setattr(caching.far, "put", lose_the_answer)
    with pytest.raises(StorageError):
        caching.driver.put("a", b"two")
    assert reading.get("a", 10) == b"two"


def test_conditions_pass_through(caching: Caching) -> None:
    caching.driver.put("a", b"one")
    with pytest.raises(Conflict):
        caching.driver.put("a", b"two", if_version="other")
    with pytest.raises(Conflict):
        caching.driver.delete("a", if_version="other")
    assert caching.driver.get("a", 10) == b"one"


def test_a_writer_behind_tells_its_size_at_any_time(caching: Caching) -> None:
    with caching.driver.writer("u", append=False) as writer:
        writer.write(b"abc")
        assert writer.size == 3
        assert writer.keeps_bytes
        assert writer.file is not None
        with writer.file as fd:
            assert fd > 0


def test_a_deleted_blob_is_not_found_although_it_is_cached(
    caching: Caching, reading: Driver
) -> None:
    key, data = caching.put(MIB)
    assert caching.read(key) == data
    caching.settle()
    reading.stat(key)
    caching.driver.delete(key)
    for driver in (caching.driver, reading):
        with pytest.raises(NotFound):
            driver.open(key)


def test_a_blob_that_is_pushed_again_is_there_at_once(caching: Caching) -> None:
    key, data = caching.put(MIB)
    caching.read(key)
    caching.driver.delete(key)
    caching.driver.put(key, data)
    assert caching.read(key) == data


def test_an_empty_blob_needs_no_file(caching: Caching) -> None:
    key = key_of(b"")
    caching.far.put(key, b"")
    assert caching.read(key) == b""
    assert not caching.file(key).exists()


@pytest.mark.parametrize("key", ["a/b", "docker/registry/v2/repositories/a/_uploads/x/data"])
def test_what_can_change_is_not_cached(caching: Caching, key: str) -> None:
    caching.driver.put(key, b"one")
    assert caching.read(key) == b"one"
    caching.far.put(key, b"two")
    assert caching.read(key) == b"two"
    assert not caching.path.exists()


def test_a_range_must_be_one(caching: Caching) -> None:
    key, _ = caching.put(MIB)
    with pytest.raises(ValueError, match="range"):
        caching.driver.open(key, -1)
    with pytest.raises(ValueError, match="range"):
        caching.driver.open(key, 0, -1)


def test_a_range_behind_the_end_is_empty(caching: Caching) -> None:
    key, _ = caching.put(MIB)
    with caching.driver.open(key, 2 * MIB, 5) as readable:
        assert (readable.offset, readable.length) == (MIB, 0)
        assert list(readable.segments()) == []


# prefetch


def test_what_is_prefetched_is_there_when_it_is_asked_for(caching: Caching) -> None:
    blobs = [caching.put(MIB, seed) for seed in range(6)]
    for key, _ in blobs:
        caching.driver.prefetch(key)
    caching.settle()
    assert caching.far.sent == 6 * MIB
    assert [caching.read(key) for key, _ in blobs] == [data for _, data in blobs]
    assert caching.far.sent == 6 * MIB


def test_a_prefetch_and_a_reader_share_one_fetch(caching: Caching) -> None:
    key, data = caching.put(4 * MIB)
    caching.far.faults.delay_s = 0.01
    caching.driver.prefetch(key)
    caching.driver.prefetch(key)
    gevent.sleep(0.01)
    assert caching.read(key) == data
    caching.settle()
    assert caching.far.opened == [0]


def test_few_are_prefetched_at_once(caching: Caching) -> None:
    go_on: list[bool] = []

    def wait(position: int) -> None:
        while not go_on:
            time.sleep(0.001)

    blobs = [caching.put(100_000, seed) for seed in range(3 * MAX_PREFETCHES)]
    caching.far.faults.gate = wait
    for key, _ in blobs:
        caching.driver.prefetch(key)
    for _ in range(100):
        gevent.sleep(0.002)
    assert len(caching.far.opened) == MAX_PREFETCHES
    go_on.append(True)
    caching.settle()
    assert len(caching.far.opened) == len(blobs)


def test_more_than_can_wait_is_forgotten(caching: Caching) -> None:
    key, _ = caching.put(1000)
    for _ in range(3 * MAX_QUEUED):
        caching.driver.prefetch(key)
    caching.driver.prefetch(key_of(b"absent"))
    caching.settle()
    assert caching.far.opened == [0]


def test_a_prefetch_that_fails_is_nobodys_problem(caching: Caching) -> None:
    key, data = caching.put(MIB)
    caching.far.faults.fail_at = 0
    caching.driver.prefetch(key_of(b"absent"))
    caching.driver.prefetch("a/b")
    caching.driver.prefetch(key)
    caching.settle()
    caching.far.faults.fail_at = None
    assert caching.read(key) == data
