"""The files of the cache, and what their locks and permissions say.

    <root>/<name>            complete and verified
    <root>/<name>.partial    growing, from its first byte on

The permissions of a growing file are its state: 0600 while it grows, 0400 once it is
verified, 0000 when it turned out wrong. So one `fstat` tells a reader everything. Whoever
has a file open holds a shared `flock` on it, and deletes none that he cannot lock for himself
alone. To fill a file is to hold an OFD lock on it, as long as the room that the file was
promised. Either lock ends with its process, and on a local file system of Linux neither sees
the other.
"""

from __future__ import annotations

import fcntl
import glob
import os
import re
import struct
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Final

from fastreg.storage.descriptors import Descriptor
from fastreg.storage.local_files import is_linked

PARTIAL: Final = ".partial"
DIRECTORY_MODE: Final = 0o700
"""The content of private repositories is nobody else's to read."""
GROWING: Final = 0o600
VERIFIED: Final = 0o400
WRONG: Final = 0
NOT_PROMISED: Final = 1
"""The length of a filler's lock before it was promised room."""
_FLOCK: Final = "hhqqi0q"
"""`struct flock` of Linux: type, whence, start, length, pid."""
_NAME: Final = re.compile(r"[a-z0-9]+/([0-9a-f]{2})/\1[0-9a-f]{62,}(?:\.partial)?\Z")
_ATTEMPTS: Final = 100
_ATTEMPT_S: Final = 0.002
_NOTED_NS: Final = 60 * 10**9


def is_verified(status: os.stat_result) -> bool:
    return status.st_mode & 0o777 == VERIFIED


def is_wrong(status: os.stat_result) -> bool:
    return status.st_mode & 0o777 == WRONG


def filling_size(fd: int) -> int | None:
    """Return how long the file will be that another descriptor is filling; None for nobody."""
    asked = struct.pack(_FLOCK, fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
    kind, _, _, length, _ = struct.unpack(_FLOCK, fcntl.fcntl(fd, fcntl.F_OFD_GETLK, asked))
    return None if kind == fcntl.F_UNLCK else length


def fill_up_to(fd: int, size: int) -> None:
    """Be the filler, and let others know how long the file will be. Raises BlockingIOError
    while another descriptor is the filler's."""
    lock = struct.pack(_FLOCK, fcntl.F_WRLCK, os.SEEK_SET, 0, size, 0)
    fcntl.fcntl(fd, fcntl.F_OFD_SETLK, lock)


def stored(root: str) -> Iterator[str]:
    """Yield the paths of all files, complete and growing. What others keep below the same
    directory is not ours to look at, or to delete."""
    for name in glob.iglob("*/[0-9a-f][0-9a-f]/*", root_dir=root):
        if _NAME.match(name):
            yield os.path.join(root, name)


class CacheFiles:
    """Names below `root`, which is made when it is needed. No call waits for long; those that
    write want to be off the event loop."""

    def __init__(self, root: str) -> None:
        self.root = os.path.abspath(root)

    def path(self, name: str) -> str:
        return os.path.join(self.root, name)

    def partial(self, name: str) -> str:
        return self.path(name) + PARTIAL

    def open_complete(self, name: str) -> Descriptor | None:
        """Open a complete file for reading; None where there is none."""
        for _ in range(_ATTEMPTS):
            try:
                descriptor = _open_to_read(self.path(name), os.O_RDONLY)
            except (FileNotFoundError, NotADirectoryError):
                return None
            except BlockingIOError:
                continue  # it is being deleted, or only looked at for that
            if descriptor is not None:
                _settle_permissions(descriptor.number)
                return descriptor
        return None

    def is_growing(self, name: str, fd: int) -> bool:
        """Whether the open file is one that a filler can go on with."""
        try:
            return is_linked(fd, self.partial(name))
        except OSError:
            return False  # the directory is none any more

    def open_growing(self, name: str) -> Descriptor:
        """Open the growing file for reading, a new one where there is none. What comes back
        may have become complete meanwhile. Raises OSError."""
        for _ in range(_ATTEMPTS):
            try:
                descriptor = _open_to_read(self.partial(name), os.O_RDONLY | os.O_CREAT)
            except FileNotFoundError:
                self._make_directory(name)
                continue
            except BlockingIOError:
                time.sleep(_ATTEMPT_S)  # it is being deleted
                continue
            if descriptor is None:
                continue
            self._distrust_if_left(name, descriptor)
            # Was it made only because the complete file got its name a moment ago?
            if not os.fstat(descriptor.number).st_size and (done := self.open_complete(name)):
                descriptor.close()
                return done
            return descriptor
        raise BlockingIOError(f"{self.partial(name)} is deleted again and again")

    def _distrust_if_left(self, name: str, descriptor: Descriptor) -> None:
        """Have a file verified again whose filler died before the disk had it."""
        fd = descriptor.number
        if not is_verified(os.fstat(fd)) or filling_size(fd) is not None:
            return
        if is_linked(fd, self.partial(name)):  # else it is complete: renamed, then let go
            os.fchmod(fd, GROWING)

    def _make_directory(self, name: str) -> None:
        os.makedirs(os.path.dirname(self.root), exist_ok=True)
        directory = self.root
        for part in ("", *os.path.dirname(name).split("/")):
            directory = os.path.join(directory, part)
            with suppress(FileExistsError):
                os.mkdir(directory, DIRECTORY_MODE)

    def open_to_fill(self, name: str) -> Descriptor | None:
        """Become the filler of the growing file; None where there is none to fill, or
        another one is at it. Raises OSError."""
        try:
            descriptor = _open_to_read(self.partial(name), os.O_RDWR)
        except (FileNotFoundError, BlockingIOError):
            return None
        if descriptor is None:
            return None
        try:
            fill_up_to(descriptor.number, NOT_PROMISED)
            if is_linked(descriptor.number, self.partial(name)):  # not complete since
                return descriptor
        except BlockingIOError:
            pass
        except BaseException:
            descriptor.close()
            raise
        descriptor.close()
        return None

    def finish(self, name: str, fd: int) -> None:
        """Make a verified file the complete one. Readers have it all from the first step on,
        also where the others fail."""
        os.fchmod(fd, VERIFIED)
        os.fdatasync(fd)
        if is_linked(fd, self.partial(name)):
            os.rename(self.partial(name), self.path(name))

    def discard(self, name: str, fd: int) -> None:
        """Take away a growing file whose content is wrong; its readers will see."""
        _unlink_if_same(self.partial(name), fd)
        os.fchmod(fd, WRONG)

    def drop(self, name: str, fd: int) -> None:
        """Take away a complete file; who reads it can read on."""
        _unlink_if_same(self.path(name), fd)


def _settle_permissions(fd: int) -> None:
    """Restore what the permissions of a complete file say, where someone changed them."""
    if not is_verified(os.fstat(fd)):
        with suppress(OSError):  # read-only: the origin has the last byte, too
            os.fchmod(fd, VERIFIED)


def is_unused_since_long(fd: int) -> bool:
    """Whether a note of the file's use is due: once a minute, as it is a write. One of the
    future was made before the clock was set right."""
    return abs(time.time_ns() - os.fstat(fd).st_atime_ns) >= _NOTED_NS


def note_use(fd: int) -> None:
    with suppress(OSError):  # read-only: then nothing is evicted either
        os.utime(fd)


def is_unused(path: str) -> bool:
    """Whether nobody has the file open."""
    try:
        with _alone_at(path):
            return True
    except OSError:
        return False


def evict(path: str) -> bool:
    """Delete the file unless someone has it open; return whether that was done."""
    try:
        with _alone_at(path) as fd:
            _unlink_if_same(path, fd)
            return True
    except OSError:
        return False


@contextmanager
def _alone_at(path: str) -> Iterator[int]:
    fd = os.open(path, os.O_RDONLY)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield fd
    finally:
        os.close(fd)


def _unlink_if_same(path: str, fd: int) -> None:
    with suppress(FileNotFoundError):
        if is_linked(fd, path):
            os.unlink(path)


def _open_to_read(path: str, flags: int) -> Descriptor | None:
    """Open and lock against deletion; None where it was deleted in between. Raises
    BlockingIOError while it is being deleted."""
    descriptor = Descriptor(os.open(path, flags, GROWING))
    try:
        fcntl.flock(descriptor.number, fcntl.LOCK_SH | fcntl.LOCK_NB)
        if os.fstat(descriptor.number).st_nlink:
            return descriptor
    except BaseException:
        descriptor.close()
        raise
    descriptor.close()
    return None
