"""A cache that is damaged, lost or cannot be written: readers get the right bytes all the same."""

from __future__ import annotations

import errno
import os
import shutil
import stat
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NoReturn

import gevent
import pytest

from fastreg.storage import growing
from tests.storage.caches import Caching, bytes_of
from tests.storage.conftest import Mount

KIB, MIB = 1 << 10, 1 << 20


@pytest.fixture
def caching(tmp_path: Path) -> Iterator[Caching]:
    caching = Caching(tmp_path, {"sampling": 1.0})
    yield caching
    caching.settle()


def read_and_settle(caching: Caching, key: str) -> bytes:
    data = caching.read(key)
    caching.settle()
    return data


def let_it_begin(caching: Caching, key: str) -> None:
    while not (caching.partial(key).exists() and caching.partial(key).stat().st_size):
        gevent.sleep(0.001)


def overwrite(path: Path, offset: int, data: bytes) -> None:
    path.chmod(0o600)
    with open(path, "r+b") as file:
        file.seek(offset)
        file.write(data)
    path.chmod(0o400)


def test_a_file_that_became_shorter_is_fetched_again(caching: Caching) -> None:
    key, data = caching.put(2 * MIB)
    read_and_settle(caching, key)
    os.truncate(caching.file(key), MIB)
    assert read_and_settle(caching, key) == data
    assert caching.file(key).read_bytes() == data


def test_a_file_that_became_longer_is_fetched_again(caching: Caching) -> None:
    key, data = caching.put(2 * MIB)
    read_and_settle(caching, key)
    os.truncate(caching.file(key), 3 * MIB)
    assert read_and_settle(caching, key) == data
    assert caching.file(key).read_bytes() == data


def test_a_flipped_bit_is_noticed_and_the_file_fetched_again(caching: Caching) -> None:
    key, data = caching.put(6 * MIB)
    read_and_settle(caching, key)
    overwrite(caching.file(key), 5 * MIB, b"damage")
    read_and_settle(caching, key)  # after which it was looked at
    assert not caching.file(key).exists()
    assert read_and_settle(caching, key) == data
    assert caching.file(key).read_bytes() == data


def test_a_file_that_the_disk_cannot_read_any_more_is_fetched_again(
    caching: Caching, monkeypatch: pytest.MonkeyPatch
) -> None:
    key, data = caching.put(MIB)
    read_and_settle(caching, key)
    with monkeypatch.context() as bad_sector:
        bad_sector.setattr(growing.os, "preadv", fail(errno.EIO))
        caching.driver.open(key).close()
        caching.settle()
    assert not caching.file(key).exists()
    assert read_and_settle(caching, key) == data


def fail(number: int) -> Callable[..., NoReturn]:
    def call(*args: object) -> NoReturn:
        raise OSError(number, os.strerror(number))

    return call


def test_a_whole_file_is_verified_again_and_kept(caching: Caching) -> None:
    key, data = caching.put(6 * MIB)
    for _ in range(3):
        assert read_and_settle(caching, key) == data
    assert caching.far.opened == [0]


def test_a_file_with_other_permissions_is_still_complete(caching: Caching) -> None:
    key, data = caching.put(MIB)
    read_and_settle(caching, key)
    caching.file(key).chmod(0o644)
    with caching.driver.open(key) as readable:
        assert readable.fileno() is not None
        assert b"".join(map(bytes_of, readable.segments())) == data
    assert caching.far.opened == [0]


def test_a_directory_that_is_gone_is_made_anew(caching: Caching) -> None:
    key, data = caching.put(2 * MIB)
    read_and_settle(caching, key)
    shutil.rmtree(caching.path)
    assert read_and_settle(caching, key) == data
    assert caching.file(key).read_bytes() == data


def test_a_directory_that_goes_while_it_is_filled_cuts_nobody(caching: Caching) -> None:
    key, data = caching.put(4 * MIB)
    caching.far.faults.delay_s = 0.02
    reader = gevent.spawn(caching.read, key)
    let_it_begin(caching, key)
    shutil.rmtree(caching.path)
    late = gevent.spawn(caching.read, key)
    assert [reader.get() == data, late.get() == data] == [True, True]


def test_a_directory_that_goes_with_its_filler_leaves_the_origin(caching: Caching) -> None:
    key, data = caching.put(4 * MIB)
    caching.far.faults.delay_s = 0.02
    caching.far.faults.fail_at, caching.far.faults.failures = 2 * MIB, 1
    reader = gevent.spawn(caching.read, key)
    let_it_begin(caching, key)
    shutil.rmtree(caching.path)
    assert reader.get() == data


def test_a_file_where_the_directory_should_be_is_no_readers_problem(tmp_path: Path) -> None:
    caching = Caching(tmp_path)
    caching.path.write_text("in the way")
    key, data = caching.put(2 * MIB)
    assert read_and_settle(caching, key) == data
    assert caching.path.read_text() == "in the way"


@pytest.fixture
def disk(mount: Mount, tmp_path: Path) -> Path:
    return mount(tmp_path / "cache", ["-t", "tmpfs", "-o", "size=64m", "none"])


def remount(where: Path, how: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{how}", str(where)], check=True)


def test_a_read_only_cache_gives_what_it_has_and_the_origin_the_rest(
    caching: Caching, disk: Path
) -> None:
    has, lacks = caching.put(2 * MIB, 1), caching.put(2 * MIB, 2)
    read_and_settle(caching, has[0])
    remount(disk, "ro")
    assert read_and_settle(caching, has[0]) == has[1]
    assert caching.far.opened == [0]
    assert read_and_settle(caching, lacks[0]) == lacks[1]
    remount(disk, "rw")
    assert read_and_settle(caching, lacks[0]) == lacks[1]
    assert caching.file(lacks[0]).exists()


def test_a_read_only_cache_with_a_damaged_file_gives_the_right_bytes(
    caching: Caching, disk: Path
) -> None:
    key, data = caching.put(2 * MIB)
    read_and_settle(caching, key)
    os.truncate(caching.file(key), MIB)
    remount(disk, "ro")
    assert read_and_settle(caching, key) == data
    remount(disk, "rw")


def test_a_write_that_fails_in_the_middle_is_no_readers_problem(
    caching: Caching, disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key, data = caching.put(4 * MIB)
    pwrite = os.pwrite

    def fail(fd: int, piece: Any, offset: int) -> int:
        if offset >= 2 * MIB:
            raise OSError(5, "Input/output error")
        return pwrite(fd, piece, offset)

    monkeypatch.setattr(os, "pwrite", fail)
    assert read_and_settle(caching, key) == data
    monkeypatch.undo()
    gevent.sleep(1.1)  # for as long as the cache remembers the failure
    assert read_and_settle(caching, key) == data
    assert caching.file(key).read_bytes() == data


def test_a_failure_is_not_logged_for_every_reader(
    caching: Caching, capsys: pytest.CaptureFixture[str]
) -> None:
    caching.path.write_text("in the way")
    for seed in range(10):
        read_and_settle(caching, caching.put(KIB, seed)[0])
    assert capsys.readouterr().out.count("content not cached") == 1


def modes(path: Path) -> set[int]:
    return {stat.S_IMODE(p.stat().st_mode) for p in path.rglob("*")}


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077])
def test_what_is_cached_is_for_nobody_else_to_read(caching: Caching, umask: int) -> None:
    key, _ = caching.put(MIB)
    before = os.umask(umask)
    try:
        read_and_settle(caching, key)
    finally:
        os.umask(before)
    assert stat.S_IMODE(caching.path.stat().st_mode) == 0o700
    assert modes(caching.path) == {0o700, 0o600, 0o400}


def open_descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


@pytest.mark.parametrize("how", ["whole", "left", "cut", "far", "unread"])
def test_no_descriptor_is_left_open(caching: Caching, how: str) -> None:
    def use() -> None:
        key, _ = caching.put(10 * MIB, seed=hash(how) % 1000)
        if how == "cut":
            caching.far.faults.fail_at = 2 * MIB
        with caching.driver.open(key, 9 * MIB if how == "far" else 0) as readable:
            if how == "left":
                next(readable.segments())
            elif how != "unread":
                take_all(readable.segments)
        caching.settle()

    use()
    before = open_descriptors()
    shutil.rmtree(caching.path)
    use()
    assert open_descriptors() == before


def take_all(segments: Callable[[], Iterator[Any]]) -> None:
    try:
        for segment in segments():
            bytes_of(segment)
    except Exception:
        return
