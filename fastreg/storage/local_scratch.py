"""Whole objects by way of temporary files, which are renamed once they are on the disk.

They lie below a directory that is the driver's own, so that no listing and no other
program takes one for an object, on the file system of the object that they are to be.
"""

from __future__ import annotations

import errno
import fcntl
import os
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import accumulate
from typing import Final

from fastreg.storage import local_files
from fastreg.storage.local_directories import Directories, opened
from fastreg.storage.local_files import Check

_SCRATCH: Final = f"{local_files.RESERVED}/tmp"
_STALE_AFTER_S: Final = 86_400


class Scratch:
    """The temporary files of one driver. For any thread."""

    def __init__(self, directories: Directories) -> None:
        self._directories = directories
        self._swept: set[str] = set()

    def put(self, path: str, data: bytes, *, durable: bool, check: Check) -> None:
        """Write `data` to a temporary file and `replace` what is at `path` with it."""
        *others, last = _scratch_directories(os.path.dirname(path), self._directories.root)
        for scratch in others:
            try:
                return self._put_through(scratch, path, data, durable, check)
            except OSError as error:
                if error.errno != errno.EXDEV:
                    raise
        return self._put_through(last, path, data, durable, check)

    def _put_through(
        self, scratch: str, path: str, data: bytes, durable: bool, check: Check
    ) -> None:
        self._sweep_once(scratch)
        self._directories.make(scratch)
        with _temporary(scratch, data, durable=durable) as source:
            local_files.replace(source, path, self._directories, durable=durable, check=check)

    def _sweep_once(self, scratch: str) -> None:
        """Delete what writers that died have left, where this driver first writes: such
        places can be anywhere below the root, and are not looked for."""
        if scratch not in self._swept:
            self._swept.add(scratch)
            _sweep(scratch)


def _scratch_directories(directory: str, root: str) -> list[str]:
    """Return where a file can be written that is to be renamed into `directory`, most likely
    first: the root, unless something below it is mounted or linked from elsewhere."""
    below = directory[len(root) :].split("/")[1:]
    places = list(accumulate(below, "{}/{}".format, initial=root))
    device = _device(directory)
    return [f"{place}/{_SCRATCH}" for place in places if _device(place) == device]


def _device(path: str) -> int:
    while True:
        try:
            return os.stat(path).st_dev
        except FileNotFoundError:
            path = os.path.dirname(path)


@contextmanager
def _temporary(scratch: str, data: bytes, *, durable: bool) -> Iterator[str]:
    """Write `data` to a new file, to be renamed in the `with` block; removed if that fails."""
    path = f"{scratch}/{os.getpid()}-{secrets.token_hex(8)}"
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, local_files.FILE_MODE)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        _write_all(fd, data)
        # The kernel's own stamps move every few milliseconds; an inode number can come
        # back within that, and so would a version.
        now = time.time_ns()
        os.utime(fd, ns=(now, now))
        if durable:
            os.fsync(fd)
        yield path
    except BaseException:
        with suppress(OSError):
            os.unlink(path)
        raise
    finally:
        os.close(fd)


def _write_all(fd: int, data: bytes) -> None:
    """Write `data` at the descriptor's position."""
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


def _sweep(scratch: str) -> None:
    """Delete temporary files of a day ago and more, which no live process is writing."""
    with suppress(OSError), os.scandir(scratch) as files:
        for file in files:
            _sweep_file(file.path)


def _sweep_file(path: str) -> None:
    with suppress(OSError), opened(path, os.O_RDONLY | os.O_NONBLOCK) as fd:
        if time.time() - os.fstat(fd).st_mtime > _STALE_AFTER_S:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.unlink(path)
