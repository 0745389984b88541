"""Steps on files and directories that LocalDriver is made of; any of them may block.

Whoever changes what a name stands for holds the `flock` of its directory. Directories that
hold nothing are removed, so every step that needs one makes it and tries again when a
concurrent deletion took it away. What is durable is so with every directory above it.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Final

from fastreg.storage.base import Witness, check_key
from fastreg.storage.errors import InvalidKey
from fastreg.storage.local_directories import (
    MAX_PATH_BYTES,
    Directories,
    not_made,
    opened,
    sync_directory,
)

FILE_MODE: Final = 0o644
RESERVED: Final = ".fastreg"
"""The segment under which the driver keeps files of its own; no key has it."""

Check = Callable[[os.stat_result | None], None]
"""Raises where what is at a path must stay."""

_ATTEMPTS: Final = 1000
_TICK_NS: Final = 100_000_000
"""Longer than the kernel's clock of file times stands still: 10 ms at most."""
_WHOLE_SECONDS_TICK_NS: Final = 3_000_000_000
"""The same for a file system that keeps seconds, or every other one."""


def path_of(root: str, key: str) -> str:
    """Return where the object of `key` is; raises InvalidKey."""
    if RESERVED in check_key(key) and RESERVED in key.split("/"):
        raise InvalidKey(key[:200], f"{RESERVED} is the driver's own")
    path = f"{root}/{key}"
    if len(os.fsencode(path)) > MAX_PATH_BYTES:
        # Relative to its directory such a file could be made, and never be opened.
        raise InvalidKey(key[:200], f"its path is longer than {MAX_PATH_BYTES} bytes")
    return path


def version_of(status: os.stat_result) -> str:
    """Return the version of the object that has this status."""
    return f"{status.st_ino}-{status.st_mtime_ns}-{status.st_ctime_ns}-{status.st_size}"


@contextmanager
def locked(directory_fd: int) -> Iterator[None]:
    """Hold the right to change what the names of a directory stand for."""
    fcntl.flock(directory_fd, fcntl.LOCK_EX)
    try:
        yield
    finally:
        fcntl.flock(directory_fd, fcntl.LOCK_UN)


def stat_object(path: str, *, dir_fd: int | None = None) -> os.stat_result | None:
    """Describe the regular file, or None when there is none."""
    try:
        status = os.stat(path, dir_fd=dir_fd)
    except FileNotFoundError:
        return None
    return status if stat.S_ISREG(status.st_mode) else None


def witness_of(path: str) -> Witness | None:
    """Return the witness of the regular file, None where there is none or not yet one.

    Changed again within a tick of the clock, a file keeps its times; removed and made
    again, often its inode number too. So only one that is older than a tick has a witness.
    """
    now_ns = time.time_ns()  # before the stat: a thread may stand still in between
    status = stat_object(path)
    if status is None or not _is_settled(status, now_ns):
        return None
    return Witness(
        os.fsencode(path),
        status.st_dev,
        status.st_ino,
        status.st_mtime_ns,
        status.st_ctime_ns,
        status.st_size,
    )


def _is_settled(status: os.stat_result, now_ns: int) -> bool:
    newest_ns = max(status.st_mtime_ns, status.st_ctime_ns)
    tick_ns = _TICK_NS if newest_ns % 1_000_000_000 else _WHOLE_SECONDS_TICK_NS
    return now_ns - newest_ns >= tick_ns


def is_linked(fd: int, path: str) -> bool:
    """Whether `path` still names the file that `fd` has open."""
    try:
        return os.path.samestat(os.fstat(fd), os.stat(path))
    except FileNotFoundError:
        return False


def replace(
    source: str, target: str, directories: Directories, *, durable: bool, check: Check
) -> None:
    """Rename `source` to `target` unless `check` raises at the status of what is there.

    Nothing that heeds the directory's lock comes between the question and the renaming.
    """
    directory = os.path.dirname(target)
    try:
        for _ in range(_ATTEMPTS):
            directories.make(directory)
            try:
                return _replace_in(directory, source, target, directories, durable, check)
            except FileNotFoundError:
                if not os.path.lexists(source):
                    raise
    except BaseException:
        directories.prune(directory)
        raise
    raise not_made()


def _replace_in(
    directory: str,
    source: str,
    target: str,
    directories: Directories,
    durable: bool,
    check: Check,
) -> None:
    name = os.path.basename(target)
    with opened(directory, os.O_RDONLY | os.O_DIRECTORY) as fd:
        if durable:
            # Before the renaming, which takes the bytes from where they are durable.
            directories.settle(directory)
        with locked(fd):
            check(stat_object(name, dir_fd=fd))
            # Relative to the locked directory: one that was removed meanwhile refuses the
            # name, and its successor's lock is not ours.
            os.rename(source, name, dst_dir_fd=fd)
        if durable:
            os.fsync(fd)


def sync(path: str, directories: Directories) -> None:
    """Make the file at `path` durable under its name. Raises FileNotFoundError."""
    with opened(path, os.O_RDONLY) as fd:
        os.fsync(fd)
    directories.settle(os.path.dirname(path))
    sync_directory(os.path.dirname(path))


def remove(
    path: str,
    directories: Directories,
    *,
    durable: bool,
    check: Check,
) -> None:
    """Unlink `path` unless `check` raises at its status; see `replace`."""
    directory, name = os.path.split(path)
    with opened(directory, os.O_RDONLY | os.O_DIRECTORY) as fd, locked(fd):
        check(stat_object(name, dir_fd=fd))
        os.unlink(name, dir_fd=fd)
    left = directories.prune(directory)
    if durable:
        sync_directory(left)


def open_locked(path: str, directories: Directories, *, create: bool) -> int:
    """Open `path` for reading and writing and hold its lock until the descriptor closes.

    With `create` the file is new and empty: readers of an older one keep their bytes.
    Raises FileNotFoundError, and BlockingIOError while another descriptor holds the lock.
    """
    if not create:
        return _open_locked(path, os.O_RDWR)
    directory = os.path.dirname(path)
    try:
        for _ in range(_ATTEMPTS):
            directories.make(directory)
            with suppress(FileNotFoundError):
                return _open_locked(path, os.O_RDWR | os.O_CREAT)
    except BaseException:
        directories.prune(directory)
        raise
    raise not_made()


def _open_locked(path: str, flags: int) -> int:
    for _ in range(_ATTEMPTS):
        fd = os.open(path, flags, FILE_MODE)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if is_linked(fd, path):
                if not (flags & os.O_CREAT and os.fstat(fd).st_size):
                    return fd
                os.unlink(path)
        except BaseException:
            os.close(fd)
            raise
        os.close(fd)
    raise OSError(errno.EAGAIN, "the file was replaced again and again")
