"""The locks and names of the cache's files, where two meet at the same file."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from fastreg.storage import cache_files
from fastreg.storage.cache_files import CacheFiles, evict, fill_up_to, filling_size
from fastreg.storage.local_handles import Descriptor

NAME = "alg/ab/abcdef"


@pytest.fixture
def files(tmp_path: Path) -> CacheFiles:
    return CacheFiles(str(tmp_path / "cache"))


def complete(files: CacheFiles, data: bytes = b"content") -> None:
    files.open_growing(NAME).close()
    filler = open_to_fill(files)
    os.pwrite(filler.number, data, 0)
    files.finish(NAME, filler.number)
    filler.close()


def open_to_fill(files: CacheFiles) -> Descriptor:
    descriptor = files.open_to_fill(NAME)
    assert descriptor is not None
    return descriptor


def content(descriptor: Descriptor | None) -> bytes:
    assert descriptor is not None
    return os.pread(descriptor.number, 100, 0)


def test_one_fills_a_file_at_a_time(files: CacheFiles) -> None:
    files.open_growing(NAME).close()
    filler = open_to_fill(files)
    assert files.open_to_fill(NAME) is None
    filler.close()
    open_to_fill(files).close()


def test_the_filler_tells_how_long_the_file_will_be(files: CacheFiles) -> None:
    with files.open_growing(NAME) as reader:
        assert filling_size(reader) is None
        filler = open_to_fill(files)
        assert filling_size(reader) == 1
        fill_up_to(filler.number, 12345)
        assert filling_size(reader) == 12345
        filler.close()
        assert filling_size(reader) is None


def test_readers_and_the_filler_do_not_disturb_each_other(files: CacheFiles) -> None:
    readers = [files.open_growing(NAME) for _ in range(3)]
    filler = open_to_fill(files)
    readers.append(files.open_growing(NAME))
    os.pwrite(filler.number, b"content", 0)
    files.finish(NAME, filler.number)
    assert [content(reader) for reader in readers] == [b"content"] * 4


def test_nothing_is_evicted_that_someone_has_open(files: CacheFiles) -> None:
    complete(files)
    reader = files.open_complete(NAME)
    assert not evict(files.path(NAME))
    assert content(reader) == b"content"
    assert reader is not None
    reader.close()
    assert evict(files.path(NAME))
    assert files.open_complete(NAME) is None


def test_a_growing_file_is_kept_by_its_filler_alone(files: CacheFiles) -> None:
    files.open_growing(NAME).close()
    filler = open_to_fill(files)
    assert not evict(files.partial(NAME))
    filler.close()
    assert evict(files.partial(NAME))
    assert files.open_to_fill(NAME) is None


def test_who_opens_a_file_while_it_is_evicted_gets_another(
    files: CacheFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    complete(files)
    flock = cache_files.fcntl.flock

    def evict_before(fd: int, operation: int) -> None:
        monkeypatch.undo()
        os.unlink(files.path(NAME))  # between the opening and the lock
        flock(fd, operation)

    monkeypatch.setattr(cache_files.fcntl, "flock", evict_before)
    assert files.open_complete(NAME) is None
    growing = files.open_growing(NAME)
    assert os.fstat(growing.number).st_nlink == 1


def test_who_joins_as_the_file_gets_its_name_reads_the_complete_one(
    files: CacheFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    files.open_growing(NAME).close()
    filler = open_to_fill(files)
    os.pwrite(filler.number, b"content", 0)
    # A reader has found neither file complete; before it opens the growing one, that is.
    assert files.open_complete(NAME) is None
    files.finish(NAME, filler.number)
    filler.close()
    assert content(files.open_growing(NAME)) == b"content"


def test_who_takes_over_as_the_file_gets_its_name_finds_nothing_to_do(
    files: CacheFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    files.open_growing(NAME).close()
    filler = open_to_fill(files)
    lock = cache_files.fill_up_to

    def finish_before(fd: int, size: int) -> None:
        monkeypatch.undo()
        files.finish(NAME, filler.number)
        filler.close()
        lock(fd, size)

    monkeypatch.setattr(cache_files, "fill_up_to", finish_before)
    assert files.open_to_fill(NAME) is None
    assert files.open_complete(NAME) is not None


def test_what_is_discarded_leaves_the_name_to_another(files: CacheFiles) -> None:
    reader = files.open_growing(NAME)
    filler = open_to_fill(files)
    files.discard(NAME, filler.number)
    assert cache_files.is_wrong(os.fstat(reader.number))
    filler.close()
    another = files.open_growing(NAME)
    assert not os.path.sameopenfile(another.number, reader.number)
    open_to_fill(files).close()


def test_discarding_spares_what_has_taken_the_name_since(files: CacheFiles) -> None:
    files.open_growing(NAME).close()
    filler = open_to_fill(files)
    os.unlink(files.partial(NAME))
    files.open_growing(NAME).close()
    files.discard(NAME, filler.number)
    assert os.path.exists(files.partial(NAME))


def test_finishing_a_file_that_lost_its_name_names_nothing(files: CacheFiles) -> None:
    files.open_growing(NAME).close()
    filler = open_to_fill(files)
    os.unlink(files.partial(NAME))
    files.finish(NAME, filler.number)
    assert cache_files.is_verified(os.fstat(filler.number))
    assert files.open_complete(NAME) is None


def test_a_directory_where_a_file_should_be_is_an_error(files: CacheFiles) -> None:
    os.makedirs(files.partial(NAME))
    with pytest.raises(OSError, match="directory"):
        files.open_growing(NAME)


def test_openers_and_an_evictor_race_without_harm(files: CacheFiles) -> None:
    stop = threading.Event()
    complete(files)

    def evict_all() -> None:
        while not stop.is_set():
            evict(files.path(NAME))
            evict(files.partial(NAME))

    evictor = threading.Thread(target=evict_all)
    evictor.start()
    try:
        for _ in range(300):
            growing = files.open_growing(NAME)
            assert os.fstat(growing.number).st_nlink == 1
            assert files.is_growing(NAME, growing.number) or content(growing) == b"content"
            filler = files.open_to_fill(NAME)
            if filler is not None:
                os.pwrite(filler.number, b"content", 0)
                files.finish(NAME, filler.number)
                filler.close()
            assert content(growing) == b"content"
            growing.close()
    finally:
        stop.set()
        evictor.join()
