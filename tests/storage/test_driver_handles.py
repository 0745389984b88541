"""What `fastreg.storage.base` promises of readables and writers, each promise by a test."""

import os

import pytest

from fastreg.storage.base import Driver
from fastreg.storage.errors import (
    Busy,
    NotFound,
    StorageError,
)
from tests.storage.stores import Store, hear, say


def stored(driver: Driver, key: str) -> bytes:
    return driver.get(key, 100 << 20)


# open


@pytest.mark.parametrize(
    ("offset", "length", "expected"),
    [
        (0, None, b"0123456789"),
        (0, 3, b"012"),
        (4, 3, b"456"),
        (4, None, b"456789"),
        (8, 100, b"89"),
        (9, 1, b"9"),
        (3, 0, b""),
        (10, None, b""),
        (10, 1, b""),
        (99, None, b""),
        (99, 99, b""),
    ],
)
def test_open_gives_the_range_cut_to_the_object(
    driver: Driver, offset: int, length: int | None, expected: bytes
) -> None:
    driver.put("a", b"0123456789")
    with driver.open("a", offset, length) as readable:
        assert (readable.size, readable.length) == (10, len(expected))
        assert readable.offset == min(offset, 10)
        assert b"".join(iter(lambda: readable.read(2), b"")) == expected
        assert readable.read(2) == b""


def test_reads_give_at_most_what_is_asked_for(driver: Driver) -> None:
    driver.put("a", b"0123456789")
    with driver.open("a", 1) as readable:
        assert readable.read(4) == b"1234"
        assert readable.read(0) == b""
        assert readable.read(100) == b"56789"


def test_large_ranges_are_read_whole(driver: Driver) -> None:
    data = os.urandom(3 << 20)
    with driver.writer("u/data", append=False) as writer:
        writer.write(data)
        writer.commit("b/data")
    with driver.open("b/data", 1000, (2 << 20) + 1) as readable:
        read = b"".join(iter(lambda: readable.read(100_000), b""))
    assert read == data[1000 : 1000 + (2 << 20) + 1]


def test_two_readables_of_an_object_do_not_disturb_each_other(driver: Driver) -> None:
    driver.put("a", b"0123456789")
    with driver.open("a") as one, driver.open("a", 5) as two:
        assert [one.read(2), two.read(2), one.read(2), two.read(2)] == [b"01", b"56", b"23", b"78"]


def test_a_file_descriptor_holds_the_range_where_the_driver_says(driver: Driver) -> None:
    driver.put("a", b"0123456789")
    with driver.open("a", 2, 5) as readable:
        fd = readable.fileno()
        assert fd is None or os.pread(fd, readable.length, readable.offset) == b"23456"


def test_a_readable_outlives_the_object(driver: Driver) -> None:
    data = os.urandom(100_000)
    driver.put("a/b", data)
    with driver.open("a/b") as readable:
        first = readable.read(10)
        driver.delete("a/b")
        assert first + b"".join(iter(lambda: readable.read(9999), b"")) == data


def test_a_readable_keeps_to_the_object_that_was_replaced(driver: Driver) -> None:
    driver.put("a", b"old old")
    with driver.open("a") as readable:
        driver.put("a", b"new")
        assert readable.read(100) == b"old old"


def test_a_readable_keeps_to_the_object_that_a_writer_starts_anew(driver: Driver) -> None:
    driver.put("a", b"old old")
    with driver.open("a") as readable, driver.writer("a", append=False) as writer:
        writer.write(b"n")
        assert readable.read(100) == b"old old"


def test_closing_a_readable_twice_is_fine(driver: Driver) -> None:
    driver.put("a", b"x")
    readable = driver.open("a")
    readable.close()
    readable.close()
    assert stored(driver, "a") == b"x"


# writer


def test_a_writer_appends_in_any_kind_of_buffer(driver: Driver) -> None:
    with driver.writer("u/data", append=False) as writer:
        assert writer.size == 0
        writer.write(b"bytes ")
        writer.write(bytearray(b"bytearray "))
        writer.write(memoryview(b"<memoryview>")[1:-1])
        writer.write(b"")
        assert writer.size == 26
        writer.commit("b/data")
    assert stored(driver, "b/data") == b"bytes bytearray memoryview"


def test_the_next_writer_goes_on_where_the_last_one_stopped(store: Store) -> None:
    with store.driver.writer("u/data", append=False) as writer:
        writer.write(b"one ")
    with store.reopen().writer("u/data", append=True) as writer:
        assert writer.size == 4
        writer.write(b"two")
        writer.commit("b/data")
    assert stored(store.driver, "b/data") == b"one two"


def test_a_writer_keeps_its_bytes_when_the_block_fails(driver: Driver) -> None:
    def fail() -> None:
        with driver.writer("u/data", append=False) as writer:
            writer.write(b"kept")
            raise ConnectionResetError

    with pytest.raises(ConnectionResetError):
        fail()
    with driver.writer("u/data", append=True) as writer:
        assert writer.size == 4


def test_a_new_writer_starts_empty(driver: Driver) -> None:
    with driver.writer("u/data", append=False) as writer:
        writer.write(b"old bytes")
    with driver.writer("u/data", append=False) as writer:
        assert writer.size == 0
        writer.write(b"new")
        writer.commit("b/data")
    assert stored(driver, "b/data") == b"new"


def test_sync_can_be_called_any_time(driver: Driver) -> None:
    with driver.writer("u/data", append=False) as writer:
        writer.sync()
        writer.write(b"abc")
        writer.sync()
        writer.sync()
        assert writer.size == 3


@pytest.mark.parametrize("append", [True, False])
def test_a_second_writer_is_told_that_the_key_is_busy(locking: Store, append: bool) -> None:
    with locking.driver.writer("u/data", append=False) as writer:
        writer.write(b"abc")
        with pytest.raises(Busy):
            locking.driver.writer("u/data", append=append)
        with pytest.raises(Busy):
            locking.reopen().writer("u/data", append=append)
        writer.write(b"def")
        writer.commit("b/data")
    assert stored(locking.driver, "b/data") == b"abcdef"


def test_writers_of_different_keys_do_not_disturb_each_other(driver: Driver) -> None:
    with (
        driver.writer("u/1/data", append=False) as one,
        driver.writer("u/2/data", append=False) as two,
    ):
        one.write(b"1")
        two.write(b"22")
        assert (one.size, two.size) == (1, 2)


def test_closing_a_writer_releases_the_key_and_twice_is_fine(locking: Store) -> None:
    writer = locking.driver.writer("u/data", append=False)
    writer.close()
    writer.close()
    with locking.driver.writer("u/data", append=True) as next_writer:
        writer.close()
        with pytest.raises(Busy):
            locking.driver.writer("u/data", append=True)
        assert next_writer.size == 0


def test_a_writer_is_released_when_its_process_is_killed(locking: Store) -> None:
    child = locking.start(
        "writer = driver.writer('u/data', append=False)\n"
        "writer.write(b'x' * 100000)\n"
        "print('written', flush=True)\n"
        "input()"
    )
    assert hear(child) == "written"
    with pytest.raises(Busy):
        locking.driver.writer("u/data", append=True)
    child.kill()
    child.wait()
    with locking.driver.writer("u/data", append=True) as writer:
        assert writer.size == 100_000


def test_a_writer_of_another_process_that_goes_on_keeps_the_key(locking: Store) -> None:
    child = locking.start(
        "with driver.writer('u/data', append=False) as writer:\n"
        "    print('open', flush=True)\n"
        "    input()\n"
        "    writer.write(b'abc')\n"
        "print('closed', flush=True)"
    )
    assert hear(child) == "open"
    with pytest.raises(Busy):
        locking.driver.writer("u/data", append=False)
    say(child, "go on")
    assert hear(child) == "closed"
    with locking.driver.writer("u/data", append=True) as writer:
        assert writer.size == 3


def test_writing_below_an_object_fails_and_changes_nothing(tree: Driver) -> None:
    tree.put("a", b"a")
    with pytest.raises(StorageError) as caught:
        tree.writer("a/b", append=False)
    assert not isinstance(caught.value, NotFound)
    assert stored(tree, "a") == b"a"


# commit and abort


def test_commit_moves_the_bytes_and_closes(driver: Driver) -> None:
    with driver.writer("u/1/data", append=False) as writer:
        writer.write(b"abc")
        writer.commit("b/x/data")
    assert stored(driver, "b/x/data") == b"abc"
    assert list(driver.list("")) == ["b"]
    with pytest.raises(NotFound):
        driver.writer("u/1/data", append=True)


def test_commit_of_nothing_is_an_empty_object(driver: Driver) -> None:
    with driver.writer("u/1/data", append=False) as writer:
        writer.commit("b/x/data")
    assert driver.stat("b/x/data").size == 0


@pytest.mark.parametrize("there", [b"", b"to", b"wrong", b"right", b"too long"])
def test_commit_replaces_what_is_there(driver: Driver, there: bytes) -> None:
    driver.put("b/data", there)
    with driver.open("b/data") as reading, driver.writer("u/data", append=False) as writer:
        writer.write(b"right")
        writer.commit("b/data")
        assert reading.read(100) == there
    assert stored(driver, "b/data") == b"right"
    assert list(driver.list("")) == ["b"]


def test_commit_leaves_the_other_keys_of_the_session(driver: Driver) -> None:
    driver.put("u/1/startedat", b"then")
    with driver.writer("u/1/data", append=False) as writer:
        writer.write(b"abc")
        writer.commit("b/data")
    assert list(driver.list("u/1")) == ["startedat"]
    driver.delete("u/1/startedat")
    assert list(driver.list("")) == ["b"]


def test_commit_that_fails_keeps_the_bytes(tree: Driver) -> None:
    tree.put("b", b"an object where a prefix is needed")
    with tree.writer("u/data", append=False) as writer:
        writer.write(b"abc")
        with pytest.raises(StorageError):
            writer.commit("b/data")
        writer.write(b"def")
        writer.commit("c/data")
    assert stored(tree, "c/data") == b"abcdef"


def test_commit_of_bytes_that_were_deleted_is_not_found(store: Store) -> None:
    with store.driver.writer("u/data", append=False) as writer:
        writer.write(b"abc")
        store.reopen().delete("u/data")
        with pytest.raises(NotFound):
            writer.commit("b/data")
    assert list(store.driver.list("")) == []


def test_abort_deletes_and_closes(driver: Driver) -> None:
    with driver.writer("u/1/data", append=False) as writer:
        writer.write(b"abc")
        writer.abort()
    assert list(driver.list("")) == []
    with driver.writer("u/1/data", append=False) as writer:
        assert writer.size == 0


def test_abort_leaves_the_successor_of_what_was_deleted(store: Store) -> None:
    with store.driver.writer("u/data", append=False) as writer:
        store.driver.delete("u/data")
        store.driver.put("u/data", b"another")
        writer.abort()
    assert stored(store.driver, "u/data") == b"another"
