"""LocalDriver's readables and writers: the page cache, descriptors, and killed greenlets."""

import errno
import fcntl
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import gevent
import pytest

from fastreg.storage.base import OffLoop
from fastreg.storage.errors import Busy, NoSpace, StorageError
from fastreg.storage.local import LocalDriver


def open_descriptors() -> set[str]:
    return {entry.name for entry in os.scandir("/proc/self/fd")}


def failing(number: int) -> Callable[..., NoReturn]:
    def fail(*args: Any, **named: Any) -> NoReturn:
        raise OSError(number, os.strerror(number))

    return fail


# reading


@pytest.mark.parametrize("number", [errno.EAGAIN, errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS])
def test_what_the_page_cache_does_not_give_is_read_off_the_loop(
    root: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    calls = []

    def off_loop(fn: Callable[..., Any], /, *args: Any) -> Any:
        calls.append(fn)
        return fn(*args)

    driver = LocalDriver(root, off_loop)
    driver.put("a", b"0123456789")
    calls.clear()
    monkeypatch.setattr(os, "preadv", failing(number))
    with driver.open("a", 2, 5) as readable:
        assert [readable.read(3), readable.read(3), readable.read(3)] == [b"234", b"56", b""]
    assert len(calls) == 2


def test_what_is_in_the_page_cache_is_read_where_the_call_is_made(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = LocalDriver(root)
    writer.put("a", b"0123456789")
    # Not every file system can say what it has cached.
    monkeypatch.setattr(os, "preadv", lambda fd, buffers, offset, flags: 4)
    reader = LocalDriver(root, failing(errno.EDEADLK))
    with reader.open("a") as readable:
        assert len(readable.read(10)) == 4


def test_a_file_that_becomes_shorter_is_an_error_and_not_an_end(
    local: LocalDriver, root: Path
) -> None:
    local.put("a", b"0123456789")
    with local.open("a") as readable:
        os.truncate(root / "a", 4)
        assert readable.read(100) == b"0123"
        with pytest.raises(StorageError, match="shorter"):
            readable.read(100)


def test_a_negative_range_is_a_mistake(local: LocalDriver) -> None:
    local.put("a", b"x")
    with pytest.raises(ValueError, match="range"):
        local.open("a", -1)
    with pytest.raises(ValueError, match="range"):
        local.open("a", 0, -1)


def test_a_closed_object_cannot_be_used(local: LocalDriver) -> None:
    local.put("a", b"x")
    readable = local.open("a")
    readable.close()
    with pytest.raises(ValueError, match="closed"):
        readable.read(1)
    with pytest.raises(ValueError, match="closed"):
        readable.fileno()
    writer = local.writer("u/data", append=False)
    writer.close()
    with pytest.raises(ValueError, match="closed"):
        writer.write(b"x")


# descriptors


def test_no_descriptor_is_left_open(local: LocalDriver, monkeypatch: pytest.MonkeyPatch) -> None:
    before = open_descriptors()
    local.put("a/b", b"x")
    local.get("a/b", 1)
    list(local.list(""))
    with local.writer("u/data", append=False) as writer:
        with pytest.raises(Busy):
            local.writer("u/data", append=True)
        writer.commit("a/c")
    local.writer("u/data", append=False).abort()
    local.delete("a/b")
    with pytest.raises(StorageError):
        local.get("a/c/d", 1)
    with pytest.raises(StorageError):
        local.get("a", 1)
    monkeypatch.setattr(os, "fsync", failing(errno.EIO))
    with pytest.raises(StorageError):
        local.put("a/b", b"x")
    assert open_descriptors() == before


def test_descriptors_are_not_inherited(local: LocalDriver) -> None:
    local.put("a", b"x")
    with local.open("a") as readable, local.writer("u/data", append=False):
        source = f"import os; os.fstat({readable.fileno()})"
        child = subprocess.run([sys.executable, "-c", source], capture_output=True, check=False)
        assert b"Bad file descriptor" in child.stderr


class Stopper:
    """Lets a function wait in its thread until the test says go."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self.function = function
        self.started = threading.Event()
        self.going = threading.Event()
        self.done = threading.Event()

    def __call__(self, *args: Any, **named: Any) -> Any:
        self.started.set()
        assert self.going.wait(10)
        result = self.function(*args, **named)
        self.done.set()
        return result


def close_once_free(driver: LocalDriver, key: str) -> int:
    """Wait until the key has no writer; return its size."""
    for _ in range(500):
        try:
            with driver.writer(key, append=True) as writer:
                return writer.size
        except Busy:
            gevent.sleep(0.01)
    pytest.fail("the key was never released")


def test_a_killed_greenlet_leaves_the_write_its_descriptor_and_the_key_busy(
    root: Path, in_threads: OffLoop, monkeypatch: pytest.MonkeyPatch
) -> None:
    driver = LocalDriver(root, in_threads)
    stopper = Stopper(os.pwrite)
    monkeypatch.setattr(os, "pwrite", stopper)

    def upload() -> None:
        with driver.writer("u/data", append=False) as writer:
            writer.write(b"abc")

    greenlet = gevent.spawn(upload)
    assert in_threads(stopper.started.wait, 10)
    greenlet.kill()
    with pytest.raises(Busy):
        driver.writer("u/data", append=True)
    stopper.going.set()
    assert in_threads(stopper.done.wait, 10)
    assert close_once_free(driver, "u/data") == 3


def test_a_greenlet_killed_while_it_opens_a_writer_does_not_hold_the_key(
    root: Path, in_threads: OffLoop, monkeypatch: pytest.MonkeyPatch
) -> None:
    driver = LocalDriver(root, in_threads)
    stopper = Stopper(fcntl.flock)
    with monkeypatch.context() as patch:
        patch.setattr(fcntl, "flock", stopper)
        greenlet = gevent.spawn(driver.writer, "u/data", append=False)
        assert in_threads(stopper.started.wait, 10)
        greenlet.kill()
    stopper.going.set()
    assert in_threads(stopper.done.wait, 10)
    assert close_once_free(driver, "u/data") == 0


def test_bytes_that_go_straight_to_the_file_are_the_writers(root: Path) -> None:
    driver = LocalDriver(root)
    with driver.writer("a", append=False) as writer:
        writer.write(b"abc")
        assert writer.file is not None
        with writer.file as fd:
            os.pwrite(fd, b"def", writer.size)
        writer.wrote(6, None)
        writer.write(b"g")
        writer.commit("b")
    assert driver.get("b", 100) == b"abcdefg"


def test_a_failure_to_write_to_the_file_is_told_as_the_disks(root: Path) -> None:
    with LocalDriver(root).writer("a", append=False) as writer:
        with pytest.raises(NoSpace):
            writer.wrote(3, OSError(errno.ENOSPC, "full"))
        assert writer.size == 3
        with pytest.raises(StorageError):
            writer.wrote(3, OSError(errno.EIO, "broken"))


def test_a_file_in_use_stays_open_and_locked_when_its_writer_closes(root: Path) -> None:
    driver = LocalDriver(root)
    writer = driver.writer("a", append=False)
    assert writer.file is not None
    with writer.file as fd:
        writer.close()
        os.pwrite(fd, b"abc", 0)
        with pytest.raises(Busy):
            driver.writer("a", append=True)
    with driver.writer("a", append=True) as after:
        assert after.size == 3
