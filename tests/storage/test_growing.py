"""One who fills and many who read, in one process: what each of them is promised."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NoReturn

import gevent
import pytest
from gevent.event import Event

from fastreg.storage.errors import NotFound, StorageError
from tests.storage.caches import Caching, bytes_of, key_of

MIB = 1 << 20


@pytest.fixture
def caching(tmp_path: Path) -> Iterator[Caching]:
    caching = Caching(tmp_path)
    yield caching
    caching.settle()


def stop_at(caching: Caching, offset: int) -> Callable[[], None]:
    """Have the far store wait before the piece at `offset`; return what lets it go on."""
    go_on: list[bool] = []

    def wait(position: int) -> None:
        while position >= offset and not go_on:
            time.sleep(0.001)

    caching.far.faults.gate = wait
    return lambda: go_on.append(True)


def wait_for(condition: Callable[[], bool]) -> None:
    with gevent.Timeout(30):
        while not condition():
            gevent.sleep(0.001)


def read_until_cut(caching: Caching, key: str) -> bytes:
    got = b""
    with caching.driver.open(key) as readable:
        try:
            for segment in readable.segments():
                got += bytes_of(segment)
        except StorageError:
            return got
    raise AssertionError("not cut")


def has(caching: Caching, key: str, size: int) -> Callable[[], bool]:
    partial = caching.partial(key)
    return lambda: partial.exists() and partial.stat().st_size >= size


def test_a_blob_is_fetched_once_however_many_read_it(caching: Caching) -> None:
    key, data = caching.put(5 * MIB + 123)
    caching.far.faults.delay_s = 0.005
    readers = [gevent.spawn(caching.read, key) for _ in range(20)]
    gevent.joinall(readers)
    assert [reader.value == data for reader in readers] == [True] * 20
    assert caching.far.sent == len(data)


def test_what_was_fetched_is_not_fetched_again(caching: Caching) -> None:
    key, data = caching.put(3 * MIB)
    assert caching.read(key) == data
    caching.settle()
    assert caching.read(key) == data
    assert caching.read(key, 5, 10) == data[5:15]
    assert caching.far.sent == len(data)


def test_a_complete_file_is_given_to_be_sent(caching: Caching) -> None:
    key, data = caching.put(MIB)
    caching.read(key)
    caching.settle()
    with caching.driver.open(key, 100, 50) as readable:
        assert list(map(bytes_of, readable.segments())) == [data[100:150]]
        assert readable.fileno() is not None
        assert (readable.size, readable.offset, readable.length) == (MIB, 100, 50)


def test_who_joins_late_begins_with_the_first_byte_at_once(caching: Caching) -> None:
    key, data = caching.put(4 * MIB)
    go_on = stop_at(caching, 2 * MIB)
    first = gevent.spawn(caching.read, key)
    wait_for(has(caching, key, 2 * MIB))
    with caching.driver.open(key) as late:
        assert late.fileno() is None
        segments = late.segments()
        assert bytes_of(next(segments)) == data[: 2 * MIB]
        go_on()
        assert b"".join(map(bytes_of, segments)) == data[2 * MIB :]
    assert first.get() == data
    assert caching.far.sent == len(data)


def test_reading_piece_by_piece_waits_in_the_same_way(caching: Caching) -> None:
    key, data = caching.put(3 * MIB)
    caching.far.faults.delay_s = 0.01
    with caching.driver.open(key, 1000) as readable:
        assert b"".join(iter(lambda: readable.read(100_000), b"")) == data[1000:]
        assert readable.read(10) == b""


def test_the_last_byte_waits_for_the_verification(caching: Caching) -> None:
    key, data = caching.put(2 * MIB)
    caching.far.faults.flip_at = MIB
    caching.far.faults.delay_s = 0.01
    got = read_until_cut(caching, key)
    assert len(got) < len(data)


def test_wrong_content_cuts_all_readers_and_is_not_kept(caching: Caching) -> None:
    key, data = caching.put(3 * MIB)
    caching.far.faults.flip_at = 10
    caching.far.faults.delay_s = 0.005
    readers = [gevent.spawn(read_until_cut, caching, key) for _ in range(10)]
    gevent.joinall(readers)
    assert all(len(reader.get()) < len(data) for reader in readers)
    caching.settle()
    assert not caching.file(key).exists()
    assert not caching.partial(key).exists()


def test_wrong_content_is_fetched_anew_by_the_next_reader(caching: Caching) -> None:
    key, data = caching.put(2 * MIB)
    caching.far.faults.flip_at = 10
    read_until_cut(caching, key)
    caching.settle()
    caching.far.faults.flip_at = None
    assert caching.read(key) == data


def test_a_range_far_ahead_is_read_by_itself(caching: Caching) -> None:
    key, data = caching.put(20 * MIB)
    go_on = stop_at(caching, 2 * MIB)
    with caching.driver.open(key, 15 * MIB, 100) as far:
        assert far.fileno() is None
        assert (far.offset, far.length) == (15 * MIB, 100)
        go_on()
        assert b"".join(map(bytes_of, far.segments())) == data[15 * MIB : 15 * MIB + 100]
    caching.settle()
    assert sorted(caching.far.opened) == [0, 15 * MIB]
    assert caching.file(key).read_bytes() == data


def test_a_range_that_is_there_already_does_not_wait(caching: Caching) -> None:
    key, data = caching.put(20 * MIB)
    go_on = stop_at(caching, 12 * MIB)
    first = gevent.spawn(caching.read, key)
    wait_for(has(caching, key, 12 * MIB))
    assert caching.read(key, 10 * MIB, MIB) == data[10 * MIB : 11 * MIB]
    assert caching.far.opened == [0]
    go_on()
    assert first.get() == data


def test_readers_that_leave_do_not_stop_the_filler(caching: Caching) -> None:
    key, data = caching.put(4 * MIB)
    go_on = stop_at(caching, MIB)
    with caching.driver.open(key) as readable:
        next(readable.segments())
    go_on()
    caching.settle()
    assert caching.file(key).read_bytes() == data


def test_a_reader_that_is_killed_closes_what_it_had(caching: Caching) -> None:
    key, data = caching.put(4 * MIB)
    go_on = stop_at(caching, MIB)
    reader = gevent.spawn(caching.read, key)
    wait_for(has(caching, key, MIB))
    reader.kill()
    go_on()
    caching.settle()
    assert caching.read(key) == data
    assert caching.far.sent == len(data)


def test_a_filler_that_failed_is_followed_by_one_that_goes_on_where_it_stopped(
    caching: Caching,
) -> None:
    key, data = caching.put(6 * MIB)
    caching.far.faults.fail_at, caching.far.faults.failures = 2 * MIB, 1
    assert caching.read(key) == data
    assert caching.far.opened == [0, 2 * MIB]
    assert caching.far.sent == len(data)
    caching.settle()
    assert caching.file(key).read_bytes() == data


def test_what_cannot_be_fetched_ends_with_an_error_for_everyone(caching: Caching) -> None:
    key, _ = caching.put(4 * MIB)
    caching.far.faults.fail_at = 2 * MIB
    readers = [gevent.spawn(read_until_cut, caching, key) for _ in range(5)]
    gevent.joinall(readers)
    # Nothing for who did not look at the file while it was being filled.
    assert {len(reader.get()) for reader in readers} <= {0, 2 * MIB}


def test_an_origin_that_ends_early_is_no_blob(caching: Caching) -> None:
    key, _ = caching.put(4 * MIB)
    caching.far.faults.end_at = 3 * MIB
    assert len(read_until_cut(caching, key)) <= 3 * MIB
    caching.settle()
    assert not caching.file(key).exists()


def test_a_growing_file_that_is_too_long_is_thrown_away(caching: Caching) -> None:
    key, data = caching.put(2 * MIB)
    caching.partial(key).parent.mkdir(parents=True)
    caching.partial(key).write_bytes(data + b"more")
    read_until_cut(caching, key)
    caching.settle()
    assert caching.read(key) == data


def test_what_an_earlier_filler_left_is_verified_too(caching: Caching) -> None:
    key, data = caching.put(4 * MIB)
    caching.partial(key).parent.mkdir(parents=True)
    caching.partial(key).write_bytes(b"x" + data[1 : 3 * MIB])
    assert len(read_until_cut(caching, key)) < len(data)
    caching.settle()
    assert caching.read(key) == data


def test_a_verified_file_that_never_got_its_name_is_verified_again(caching: Caching) -> None:
    key, data = caching.put(2 * MIB)
    caching.partial(key).parent.mkdir(parents=True)
    caching.partial(key).write_bytes(data)
    caching.partial(key).chmod(0o400)
    assert caching.read(key) == data
    caching.settle()
    assert caching.far.opened == []
    assert caching.file(key).read_bytes() == data
    assert not caching.partial(key).exists()


def test_an_absent_blob_is_not_found_and_leaves_nothing(caching: Caching) -> None:
    with pytest.raises(NotFound):
        caching.driver.open(key_of(b"absent"))
    assert not caching.path.exists()


def test_other_requests_run_while_a_blob_is_fetched_and_hashed(caching: Caching) -> None:
    key, data = caching.put(8 * MIB)
    caching.far.faults.delay_s = 0.01
    done = Event()
    turns = 0

    def count() -> None:
        nonlocal turns
        while not done.is_set():
            gevent.sleep(0)
            turns += 1

    counter = gevent.spawn(count)
    assert caching.read(key) == data
    done.set()
    counter.join()
    assert turns > 20


def test_all_who_wait_are_told_what_one_was_told(caching: Caching) -> None:
    key, data = caching.put(4 * MIB)
    caching.far.faults.fail_at = 0
    caching.far.faults.delay_s = 0.05
    readers = [gevent.spawn(read_until_cut, caching, key) for _ in range(20)]
    gevent.joinall(readers)
    assert [reader.get() for reader in readers] == [b""] * 20
    assert caching.far.opened == [0]
    caching.far.faults.fail_at = None
    assert caching.read(key) == data


def test_who_comes_again_after_a_failure_has_the_blob_fetched_once(caching: Caching) -> None:
    key, data = caching.put(4 * MIB)
    caching.far.faults.fail_at, caching.far.faults.failures = 0, 1
    gevent.joinall([gevent.spawn(read_until_cut, caching, key) for _ in range(20)])
    readers = [gevent.spawn(caching.read, key) for _ in range(20)]
    gevent.joinall(readers)
    assert [reader.value == data for reader in readers] == [True] * 20
    assert caching.far.sent == len(data)


def test_a_filler_that_fails_as_nobody_expects_is_not_begun_again_and_again(
    caching: Caching, monkeypatch: pytest.MonkeyPatch
) -> None:
    key, _ = caching.put(MIB)
    opened = []

    def fail(key: str, offset: int = 0, length: int | None = None) -> NoReturn:
        opened.append(offset)
        raise RuntimeError("cannot start new thread")

    monkeypatch.setattr(caching.far, "open", fail)
    with caching.driver.open(key) as readable, pytest.raises(RuntimeError):
        next(readable.segments())
    assert len(opened) == 2  # by the filler, and then by the reader itself
