"""A disk that is full: nothing torn, bytes kept, and on it goes once there is room."""

import os
from pathlib import Path

import pytest

from fastreg.storage.errors import NoSpace
from fastreg.storage.local import LocalDriver


@pytest.fixture
def full(small_disk: Path) -> tuple[LocalDriver, Path]:
    """A driver with `old`, and a file that takes all the rest of the disk but 64 KiB."""
    driver = LocalDriver(small_disk / "root")
    driver.put("old/link", b"the old one")
    filler = small_disk / "filler"
    with filler.open("wb") as file:
        free = os.statvfs(small_disk)
        file.write(b"\0" * (free.f_bavail * free.f_frsize - 65_536))
    return driver, filler


def temporary_files(driver_root: Path) -> list[Path]:
    return list((driver_root / ".fastreg/tmp").iterdir())


def test_put_on_a_full_disk_changes_nothing(full: tuple[LocalDriver, Path]) -> None:
    driver, filler = full
    before = driver.stat("old/link")
    with pytest.raises(NoSpace):
        driver.put("old/link", b"n" * 200_000)
    with pytest.raises(NoSpace):
        driver.put("new/deep/link", b"n" * 200_000)
    assert driver.stat("old/link") == before
    assert list(driver.list("")) == ["old"]
    assert temporary_files(filler.parent / "root") == []
    assert not (filler.parent / "root/new").exists()
    filler.unlink()
    driver.put("old/link", b"n" * 200_000)
    assert driver.stat("old/link").size == 200_000


def test_a_writer_on_a_full_disk_keeps_its_bytes_and_goes_on(
    full: tuple[LocalDriver, Path],
) -> None:
    driver, filler = full
    data = os.urandom(300_000)
    with driver.writer("u/data", append=False) as writer:
        writer.write(data[:10_000])
        with pytest.raises(NoSpace):
            writer.write(data[10_000:])
        assert 10_000 <= writer.size < 100_000
        assert writer.size == driver.stat("u/data").size
        kept = writer.size
    with driver.writer("u/data", append=True) as writer:
        assert writer.size == kept
        with pytest.raises(NoSpace):
            writer.write(data[kept:])
        writer.sync()
        filler.unlink()
        writer.write(data[writer.size :])
        writer.commit("b/data")
    assert driver.get("b/data", 300_000) == data


def test_deleting_makes_room_on_a_full_disk(full: tuple[LocalDriver, Path]) -> None:
    driver, _ = full
    with driver.writer("u/data", append=False) as writer:
        with pytest.raises(NoSpace):
            writer.write(bytes(200_000))
        writer.abort()
    driver.delete("old/link")
    driver.put("new/link", b"x" * 30_000)
    assert list(driver.list("")) == ["new"]


@pytest.fixture
def no_inodes(small_disk: Path) -> tuple[LocalDriver, list[Path]]:
    """A driver with `old` and `u/data`, and files that take every inode."""
    driver = LocalDriver(small_disk / "root")
    driver.put("old/link", b"old")
    with driver.writer("u/data", append=False) as writer:
        writer.write(b"abc")
    fillers: list[Path] = []
    try:
        while len(fillers) < 100:
            path = small_disk / f"filler-{len(fillers)}"
            path.touch()
            fillers.append(path)
    except OSError:
        pass
    return driver, fillers


@pytest.mark.parametrize("free", [0, 1, 2, 3])
def test_a_disk_without_inodes_is_a_full_disk(
    no_inodes: tuple[LocalDriver, list[Path]], free: int
) -> None:
    driver, fillers = no_inodes
    for _ in range(free):
        fillers.pop().unlink()
    with pytest.raises(NoSpace):
        driver.put("new/a/b/c/link", b"new")
    with pytest.raises(NoSpace):
        driver.writer("v/a/b/c/data", append=False)
    with driver.writer("u/data", append=True) as writer:
        with pytest.raises(NoSpace):
            writer.commit("b/1/2/3/4/data")
        assert writer.size == 3
    assert list(driver.list("")) == ["old", "u"]
    for path in fillers:
        path.unlink()
    driver.put("new/a/b/c/link", b"new")
    with driver.writer("u/data", append=True) as writer:
        writer.commit("b/1/2/3/4/data")
    assert list(driver.list("")) == ["b", "new", "old"]
