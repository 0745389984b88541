"""How much the cache keeps, and what it lets go of for something new."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import gevent
import pytest

from fastreg.storage import cache_room
from fastreg.storage.base import Readable
from fastreg.storage.cache_files import stored
from tests.storage.caches import Caching, bytes_of
from tests.storage.conftest import Mount

KIB, MIB = 1 << 10, 1 << 20
Make = Callable[..., Caching]


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    made: list[Caching] = []

    def make(**options: Any) -> Caching:
        made.append(Caching(tmp_path, options))
        return made[-1]

    yield make
    for caching in made:
        caching.settle()


@pytest.fixture
def small(mount: Mount, tmp_path: Path) -> int:
    """The cache's file system has so many bytes."""
    mount(tmp_path / "cache", ["-t", "tmpfs", "-o", "size=4m", "none"])
    return 4 * MIB


def cached(caching: Caching) -> int:
    """Bytes that the files of the cache have in all."""
    return sum(path.stat().st_size for path in caching.path.rglob("*") if len(path.name) > 60)


def read_and_settle(caching: Caching, key: str) -> bytes:
    data = caching.read(key)
    caching.settle()
    return data


def use_long_ago(caching: Caching, key: str, hours: int) -> None:
    path = caching.file(key)
    then = path.stat().st_mtime - 3600 * hours
    os.utime(path, (then, then))


def test_the_least_recently_used_makes_room(make: Make) -> None:
    caching = make(max_size=11 * MIB)
    blobs = [caching.put(3 * MIB, seed) for seed in range(4)]
    for key, data in blobs[:3]:
        assert read_and_settle(caching, key) == data
    use_long_ago(caching, blobs[0][0], 2)
    use_long_ago(caching, blobs[1][0], 3)
    use_long_ago(caching, blobs[2][0], 1)
    assert read_and_settle(caching, blobs[3][0]) == blobs[3][1]
    assert [caching.file(key).exists() for key, _ in blobs] == [True, False, True, True]


def test_reading_counts_as_using(make: Make) -> None:
    caching = make(max_size=11 * MIB)
    blobs = [caching.put(3 * MIB, seed) for seed in range(4)]
    for key, _ in blobs[:3]:
        read_and_settle(caching, key)
        use_long_ago(caching, key, 1)
    read_and_settle(caching, blobs[0][0])
    read_and_settle(caching, blobs[3][0])
    assert caching.file(blobs[0][0]).exists()


def test_a_file_from_before_the_clock_was_set_back_makes_room_unless_it_is_read(make: Make) -> None:
    caching = make(max_size=11 * MIB)
    blobs = [caching.put(3 * MIB, seed) for seed in range(4)]
    for key, _ in blobs[:3]:
        read_and_settle(caching, key)
    for key, _ in blobs[:2]:
        use_long_ago(caching, key, -1000)
    read_and_settle(caching, blobs[0][0])
    read_and_settle(caching, blobs[3][0])
    assert [caching.file(key).exists() for key, _ in blobs] == [True, False, True, True]


def test_the_size_is_kept_at_every_moment(make: Make) -> None:
    caching = make(max_size=5 * MIB)
    blobs = [caching.put(2 * MIB, seed) for seed in range(6)]
    readers = [gevent.spawn(caching.read, key) for key, _ in blobs]
    most = 0
    while not all(reader.ready() for reader in readers):
        most = max(most, cached(caching))
        gevent.sleep(0.001)
    assert [reader.value for reader in readers] == [data for _, data in blobs]
    assert 0 < most <= 5 * MIB


def test_what_is_being_read_is_never_evicted(make: Make) -> None:
    caching = make(max_size=5 * MIB)
    blobs = [caching.put(2 * MIB, seed) for seed in range(3)]
    with ExitStack() as stack:
        for key, _ in blobs[:2]:
            read_and_settle(caching, key)
            use_long_ago(caching, key, 1)
            stack.enter_context(caching.driver.open(key))
        assert read_and_settle(caching, blobs[2][0]) == blobs[2][1]
        assert [caching.file(key).exists() for key, _ in blobs] == [True, True, False]


def test_a_descriptor_given_away_keeps_the_file_as_its_reader_does(make: Make) -> None:
    caching = make(max_size=5 * MIB)
    blobs = [caching.put(3 * MIB, seed) for seed in range(2)]
    read_and_settle(caching, blobs[0][0])
    with caching.driver.open(blobs[0][0]) as readable:
        kept = os.dup(descriptor_of(readable))
    read_and_settle(caching, blobs[1][0])
    assert caching.file(blobs[0][0]).exists()
    os.close(kept)
    gevent.sleep(2.1)  # for as long as the cache believes that it is full
    read_and_settle(caching, blobs[1][0])
    assert not caching.file(blobs[0][0]).exists()
    assert caching.file(blobs[1][0]).exists()


def test_what_is_too_large_for_now_keeps_nothing_smaller_out(make: Make) -> None:
    caching = make(max_size=5 * MIB)
    used, large, small = (caching.put(size * MIB, size) for size in (2, 4, 1))
    read_and_settle(caching, used[0])
    with caching.driver.open(used[0]):
        assert read_and_settle(caching, large[0]) == large[1]
        assert read_and_settle(caching, small[0]) == small[1]
    assert [caching.file(key).exists() for key, _ in (used, large, small)] == [True, False, True]


def descriptor_of(readable: Readable) -> int:
    fd = readable.fileno()
    assert fd is not None
    return fd


def test_a_blob_larger_than_the_cache_evicts_nothing(make: Make) -> None:
    caching = make(max_size=3 * MIB)
    small, large = caching.put(MIB, 1), caching.put(4 * MIB, 2)
    read_and_settle(caching, small[0])
    assert read_and_settle(caching, large[0]) == large[1]
    assert caching.file(small[0]).exists()
    assert cached(caching) == MIB


def test_a_blob_too_large_beside_what_is_being_read_evicts_nothing(make: Make) -> None:
    caching = make(max_size=6 * MIB)
    small, used, large = (caching.put(size * MIB, size) for size in (1, 2, 5))
    for key, _ in (small, used):
        read_and_settle(caching, key)
    with caching.driver.open(used[0]):
        assert read_and_settle(caching, large[0]) == large[1]
    assert [caching.file(key).exists() for key, _ in (small, used, large)] == [True, True, False]


def test_what_a_filler_left_is_given_to_nobody_where_it_cannot_be_verified(make: Make) -> None:
    caching = make(max_size=5 * MIB + 512 * KIB)
    used, left = caching.put(5 * MIB, 1), caching.put(4 * MIB, 2)
    read_and_settle(caching, used[0])
    caching.partial(left[0]).parent.mkdir(parents=True, exist_ok=True)
    caching.partial(left[0]).write_bytes(b"damage" + left[1][6 : 3 * MIB])
    with caching.driver.open(used[0]):
        assert read_and_settle(caching, left[0]) == left[1]
    assert not caching.file(left[0]).exists()


def test_a_growing_file_that_nobody_wants_is_evicted(make: Make) -> None:
    caching = make(max_size=4 * MIB)
    left, wanted = caching.put(3 * MIB, 1), caching.put(3 * MIB, 2)
    caching.partial(left[0]).parent.mkdir(parents=True)
    caching.partial(left[0]).write_bytes(left[1][: 2 * MIB])
    assert read_and_settle(caching, wanted[0]) == wanted[1]
    assert not caching.partial(left[0]).exists()
    assert caching.file(wanted[0]).exists()


def test_a_record_of_the_room_that_is_damaged_is_made_anew(make: Make) -> None:
    caching = make(max_size=4 * MIB)
    blobs = [caching.put(3 * MIB, seed) for seed in range(2)]
    read_and_settle(caching, blobs[0][0])
    (caching.path / ".room").write_text("rubbish")
    read_and_settle(caching, blobs[1][0])
    assert [caching.file(key).exists() for key, _ in blobs] == [False, True]


def test_files_that_the_record_does_not_know_are_counted_by_the_next_process(make: Make) -> None:
    caching = make(max_size=4 * MIB)
    blobs = [caching.put(3 * MIB, seed) for seed in range(2)]
    read_and_settle(caching, blobs[0][0])
    (caching.path / ".room").write_text("0")
    restarted = make(max_size=4 * MIB)
    read_and_settle(restarted, blobs[1][0])
    assert [caching.file(key).exists() for key, _ in blobs] == [False, True]


def test_a_share_of_the_disk_is_kept_free(make: Make, small: int) -> None:
    caching = make(max_size=0.5)
    blobs = [caching.put(700 * KIB, seed) for seed in range(8)]
    for key, data in blobs:
        assert read_and_settle(caching, key) == data
        assert cached(caching) <= small // 2
    assert cached(caching) >= 700 * KIB


def test_room_on_a_full_disk_is_made_seldom(
    make: Make, small: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    caching = make(max_size=1 << 40)
    count = 2 * small // (40 * KIB)
    looks: list[str] = []
    monkeypatch.setattr(cache_room, "stored", lambda root: looks.append(root) or stored(root))
    for seed in range(count):
        read_and_settle(caching, caching.put(40 * KIB, seed)[0])
    assert 1 < len(looks) < count / 4


def test_a_size_beyond_the_disk_does_not_fill_it(make: Make, small: int) -> None:
    caching = make(max_size=1 << 40)
    for seed in range(8):
        key, data = caching.put(700 * KIB, seed)
        assert read_and_settle(caching, key) == data
        assert cached(caching) <= small * 0.95
    assert cached(caching) >= 2 * MIB


def test_a_disk_that_others_fill_meanwhile_is_no_readers_problem(make: Make, small: int) -> None:
    caching = make(max_size=1 << 40)
    key, data = caching.put(3 * MIB)
    caching.far.faults.delay_s = 0.05
    caching.far.faults.piece_bytes = 256 * KIB
    with caching.driver.open(key) as readable:
        segments = readable.segments()
        got = bytes_of(next(segments))
        (caching.path / "others").write_bytes(bytes(2 * MIB))
        got += b"".join(map(bytes_of, segments))
    assert got == data
    caching.settle()
    assert not caching.file(key).exists()


def test_a_disk_that_is_full_to_the_last_byte_is_no_readers_problem(make: Make, small: int) -> None:
    caching = make(max_size=1 << 40)
    key, data = caching.put(2 * MIB)
    fill_up(caching.path / "others")
    assert read_and_settle(caching, key) == data
    (caching.path / "others").unlink()
    gevent.sleep(2.1)  # for as long as the cache believes that it is full
    assert read_and_settle(caching, key) == data
    assert caching.file(key).read_bytes() == data


def fill_up(path: Path) -> None:
    with open(path, "wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(4096))
        except OSError:
            return


@pytest.mark.parametrize("place", ["keep", "sha256/keep", "sha256/ab/keep", "a/b/c/d"])
def test_what_others_keep_in_the_directory_is_not_touched(make: Make, place: str) -> None:
    caching = make(max_size=4 * MIB)
    others = caching.path / place
    others.parent.mkdir(parents=True)
    others.write_bytes(bytes(3 * MIB))
    os.utime(others, (1, 1))
    for seed in range(3):
        key, data = caching.put(2 * MIB, seed)
        assert read_and_settle(caching, key) == data
    assert others.exists()
    assert caching.file(key).exists()
