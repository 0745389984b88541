"""How much the cache may keep: a number of bytes, and what the disk must have free.

`<root>/.room` says how many bytes are used or promised; whoever adds to it holds its lock.
It is never too low while the machine runs, and made right whenever the files are looked at:
by the first promise of each process, and when room has to be made.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final, NamedTuple

import structlog

from fastreg.storage.cache_files import (
    PARTIAL,
    evict,
    fill_up_to,
    filling_size,
    is_unused,
    stored,
)

log = structlog.get_logger()

_AT_ONCE: Final = 0.1
"""Of what is used goes besides, so that all files are looked at seldom."""
_FREE_SHARE: Final = 0.05
_FREE_BYTES: Final = 4 << 30
_REFUSE_S: Final = 2.0
_SKEW_NS: Final = 60 * 10**9


class NoRoom(OSError):
    """Nothing more can be evicted, and it does not fit."""


class _File(NamedTuple):
    used_ns: int
    size: int
    path: str


class Room:
    """All calls wait for the disk, but for one. `max_size` is in bytes; or, as a float, a
    share of what the cache has and the disk has free."""

    def __init__(self, root: str, max_size: int | float) -> None:
        self._root = os.path.abspath(root)
        self._max_size = max_size
        self._has_counted = False
        self._refused = 0.0, 0
        """Until when, and which size, so that not all files are looked at for everyone."""

    def promise(self, fd: int, size: int) -> None:
        """Promise its filler that the file can have `size` bytes; evict the least recently
        used for it. Raises NoRoom, and OSError where the directory cannot be used."""
        with self._locked() as record:
            self._reserve(record, size - os.fstat(fd).st_size)
            fill_up_to(fd, size)

    def _reserve(self, record: int, size: int) -> None:
        until, refused = self._refused
        if size >= refused and time.monotonic() < until:
            raise NoRoom("the cache is full of what is being read")
        used = self._used(record)
        if not self._fits(used, size):
            used = self._make_room(size)
            self._write(record, used)
            if not self._fits(used, size):
                self._refused = time.monotonic() + _REFUSE_S, size
                raise NoRoom(f"no room for {size} bytes")
        self._write(record, used + size)

    def is_too_small(self, size: int) -> bool:
        """Whether `size` bytes could not fit if nothing else were there. Does not wait."""
        if isinstance(self._max_size, int):
            return size > self._max_size
        status = os.statvfs(self._root)
        return size > status.f_blocks * status.f_frsize * self._max_size

    def check(self, fd: int) -> None:
        """Raise NoRoom when others have filled the disk that the file is on, and evicting
        does not help."""
        if _spare(fd) < 0:
            with self._locked() as record:
                self._reserve(record, 0)

    def _fits(self, used: int, size: int) -> bool:
        return used + size <= self._limit(used) and size <= _spare(self._root)

    def _limit(self, used: int) -> int:
        if isinstance(self._max_size, int):
            return self._max_size
        status = os.statvfs(self._root)
        return int((used + status.f_bavail * status.f_frsize) * self._max_size)

    def _make_room(self, size: int) -> int:
        """Evict until `size` more bytes fit; return what is used then."""
        files = sorted(self._files(), key=lambda file: (file.size > 0, file.used_ns))
        used = sum(file.size for file in files)
        limit = self._limit(used)
        lacking = max(size - _spare(self._root), used + size - limit)
        if lacking <= 0:
            return used
        unused = _first_unused(files, lacking + int(used * _AT_ONCE))
        if used + size - sum(file.size for file in unused) > limit:
            return used  # would not fit if all of them were gone
        evicted = [file.size for file in unused if evict(file.path)]
        if evicted:
            log.info("cache files evicted", files=len(evicted), bytes=sum(evicted))
        return used - sum(evicted)

    def _files(self) -> Iterator[_File]:
        return filter(None, map(_look_at, stored(self._root)))

    @contextmanager
    def _locked(self) -> Iterator[int]:
        fd = os.open(os.path.join(self._root, ".room"), os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX)
            yield fd
        finally:
            os.close(fd)

    def _used(self, fd: int) -> int:
        text = os.pread(fd, 32, 0)
        if self._has_counted and text.isdigit():
            return int(text)
        self._has_counted = True
        return sum(file.size for file in self._files())

    def _write(self, fd: int, used: int) -> None:
        os.pwrite(fd, b"%020d" % used, 0)


def _spare(where: str | int) -> int:
    """Return what the disk has free beyond what it must have."""
    status = os.statvfs(where)
    kept = min(int(status.f_blocks * _FREE_SHARE) * status.f_frsize, _FREE_BYTES)
    return status.f_bavail * status.f_frsize - kept


def _first_unused(files: list[_File], size: int) -> list[_File]:
    """Return files that nobody has open, of `size` bytes in all if there are as many."""
    found = []
    for file in files:
        if size <= 0:
            break
        if is_unused(file.path):
            found.append(file)
            size -= file.size
    return found


def _look_at(path: str) -> _File | None:
    """Return what the file has, or will have once it is filled."""
    try:
        fd = os.open(path, os.O_RDONLY)
    except OSError:
        return None
    try:
        status = os.fstat(fd)
        size = status.st_size
        if path.endswith(PARTIAL):
            size = max(size, filling_size(fd) or 0)
        return _File(_used_ns(status), size, path)
    finally:
        os.close(fd)


def _used_ns(status: os.stat_result) -> int:
    """Return when the file was used. A time of the future is from before the clock was set
    right, and would keep the file for ever."""
    used_ns = max(status.st_atime_ns, status.st_mtime_ns)
    return used_ns if used_ns < time.time_ns() + _SKEW_NS else 0
