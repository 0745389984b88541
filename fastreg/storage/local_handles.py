"""Open objects of LocalDriver: readers, and the one writer of a key."""

from __future__ import annotations

import errno
import os
import stat
import sys
from contextlib import suppress
from typing import Final

from fastreg.storage import local_files
from fastreg.storage.base import OffLoop, Readable, Writer
from fastreg.storage.descriptors import Descriptor
from fastreg.storage.errors import NotFound, StorageError
from fastreg.storage.local_directories import Directories, sync_directory
from fastreg.storage.local_errors import DiskErrors

_NOT_WITHOUT_WAITING: Final = (errno.EAGAIN, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL)


class LocalReadable(Readable):
    """Reads at explicit positions, from the page cache without leaving the event loop."""

    def __init__(
        self, key: str, path: str, offset: int, length: int | None, off_loop: OffLoop
    ) -> None:
        if offset < 0 or (length is not None and length < 0):
            raise ValueError("a range starts at 0 or later and is not negative")
        self._key = key
        self._off_loop = off_loop
        with DiskErrors(key):
            # Non-blocking matters for a FIFO alone, which would wait for its other end.
            self._descriptor = Descriptor(os.open(path, os.O_RDONLY | os.O_NONBLOCK))
        try:
            status = os.fstat(self._descriptor.number)
            if not stat.S_ISREG(status.st_mode):
                raise NotFound(key)
        except BaseException:
            self.close()
            raise
        self.size = status.st_size
        self.offset = self._position = min(offset, self.size)
        left = self.size - self.offset
        self.length = left if length is None else min(length, left)

    def read(self, max_bytes: int) -> bytes:
        wanted = min(max_bytes, self.offset + self.length - self._position)
        if wanted <= 0:
            return b""
        data = read_at(self._key, self._descriptor, wanted, self._position, self._off_loop)
        self._position += len(data)
        return data

    def fileno(self) -> int:
        return self._descriptor.number

    def close(self) -> None:
        self._descriptor.close()


def read_at(
    key: str, descriptor: Descriptor, max_bytes: int, offset: int, off_loop: OffLoop
) -> bytes:
    """Return 1..max_bytes bytes; those of the page cache without leaving the event loop.
    Raises StorageError, also where the file has none there."""
    with DiskErrors(key):
        data = _read_cached(descriptor, max_bytes, offset)
        if not data:
            data = off_loop(_read, descriptor, max_bytes, offset)
    if not data:
        raise StorageError(key, "became shorter while it was read")
    return data


def _read(descriptor: Descriptor, size: int, offset: int) -> bytes:
    with descriptor as fd:
        return os.pread(fd, size, offset)


def _read_cached(descriptor: Descriptor, size: int, offset: int) -> bytes:
    """Return what the page cache has there, up to `size` bytes; b"" where that cannot be
    told or (Linux 5.9 and 5.10) was told wrongly."""
    buffer = bytearray(size)
    try:
        count = os.preadv(descriptor.number, [buffer], offset, os.RWF_NOWAIT)
    except OSError as error:
        if error.errno not in _NOT_WITHOUT_WAITING:
            raise
        return b""
    return bytes(memoryview(buffer)[:count])


def _open_locked(path: str, directories: Directories, create: bool) -> Descriptor:
    return Descriptor(local_files.open_locked(path, directories, create=create))


class LocalWriter(Writer):
    """Appends to a file whose `flock` it holds, so the kernel ends it with its process."""

    def __init__(
        self, key: str, path: str, directories: Directories, *, append: bool, off_loop: OffLoop
    ) -> None:
        self._key = key
        self._path = path
        self._directories = directories
        self._is_name_synced = False
        self._off_loop = off_loop
        with DiskErrors(key, creating=not append):
            self._descriptor = off_loop(_open_locked, path, directories, not append)
        self.size = os.fstat(self._descriptor.number).st_size

    def write(self, data: bytes | bytearray | memoryview) -> None:
        with DiskErrors(self._key, creating=True):
            self._off_loop(self._write, memoryview(data).cast("B"))

    def _write(self, view: memoryview) -> None:
        with self._descriptor as fd:
            while view:
                count = os.pwrite(fd, view, self.size)
                self.size += count
                view = view[count:]

    @property
    def file(self) -> Descriptor:
        return self._descriptor

    @property
    def room(self) -> int:
        return sys.maxsize

    def wrote(self, size: int, failure: OSError | None) -> None:
        self.size = size
        if failure is not None:
            with DiskErrors(self._key, creating=True):
                raise failure

    def sync(self) -> None:
        with DiskErrors(self._key, creating=True):
            self._off_loop(self._sync)

    def _sync(self) -> None:
        with self._descriptor as fd:
            self._flush(fd)
        if not self._is_name_synced:
            self._sync_name(os.path.dirname(self._path))
            self._is_name_synced = True

    def _sync_name(self, directory: str) -> None:
        # Nothing is left to be kept where the directory is gone.
        with suppress(FileNotFoundError):
            self._directories.settle(directory)
            sync_directory(directory)

    def _flush(self, fd: int) -> None:
        try:
            os.fdatasync(fd)
        except OSError:
            # The kernel may have dropped what it could not write, and would report
            # success the next time: bytes that may be wrong must not be built upon.
            os.ftruncate(fd, 0)
            self.size = 0
            raise

    def commit(self, final_key: str) -> None:
        target = local_files.path_of(self._directories.root, final_key)
        with DiskErrors(final_key, creating=True):
            self._off_loop(self._commit, target)

    def _commit(self, target: str) -> None:
        with self._descriptor as fd:
            self._flush(fd)
            if not local_files.is_linked(fd, self._path):
                raise NotFound(self._key, "deleted while it was written")
            local_files.replace(
                self._path, target, self._directories, durable=True, check=lambda there: None
            )
            sync_directory(os.path.dirname(self._path))
            self._descriptor.close()

    def abort(self) -> None:
        with DiskErrors(self._key, creating=True):
            self._off_loop(self._abort)

    def _abort(self) -> None:
        with self._descriptor as fd:
            self._unlink(fd)
            sync_directory(self._directories.prune(os.path.dirname(self._path)))
            self._descriptor.close()

    def _unlink(self, fd: int) -> None:
        if local_files.is_linked(fd, self._path):
            os.unlink(self._path)

    def close(self) -> None:
        self._descriptor.close()
