"""The directories of a LocalDriver: made, made durable, and removed when they are empty.

A directory survives a power cut once the one above it was synced with it inside. Another
process may have made it and not come to that, or have died before it, so a process relies
on what it has synced itself. Not guarded against: a directory that another process removed
and made again at this moment with the same inode number, where the file system gives one
back at once (ext4 does, and its journal keeps the order).
"""

from __future__ import annotations

import errno
import os
import stat
import threading
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

MAX_PATH_BYTES: Final = 4095
_MODE: Final = 0o755
_MAX_KNOWN: Final = 1024
_NOT_TO_BE_SYNCED: Final = (errno.EACCES, errno.EPERM, errno.EROFS, errno.EINVAL)


class Directories:
    """Those below `root`, the root itself, and what is missing above it. For any thread."""

    def __init__(self, root: str) -> None:
        self.root = root
        self._known = _Known()

    def make(self, directory: str) -> None:
        """Make `directory` and what is missing above it; none of it durable yet."""
        wanted = [directory]
        # Up the longest path and down again, and as often for those that others remove.
        for _ in range(2 * MAX_PATH_BYTES):
            if not wanted:
                return
            try:
                os.mkdir(wanted[-1], _MODE)
            except FileNotFoundError:
                wanted.append(os.path.dirname(wanted[-1]))
            except FileExistsError:
                if _is_directory(wanted[-1]):
                    wanted.pop()
            else:
                self._known.forget(wanted.pop())
        raise not_made()

    def settle(self, directory: str) -> None:
        """Make durable that `directory` is where it is, and all those above it up to a mount
        point. Syncs what this process has not synced before. Raises FileNotFoundError."""
        claim = object()
        new: list[tuple[str, os.stat_result]] = []
        status = os.stat(directory)
        while not self._known.has_or_claims(directory, status, claim):
            new.append((directory, status))
            directory, below = os.path.dirname(directory), status
            status = os.stat(directory)
            if status.st_dev != below.st_dev or os.path.samestat(status, below):
                break
            self._sync(directory)
        self._known.learn(new, claim)

    def _sync(self, directory: str) -> None:
        try:
            sync_directory(directory)
        except OSError as error:
            # What is above the root is the operator's, who need not let us read it.
            if len(directory) >= len(self.root) or error.errno not in _NOT_TO_BE_SYNCED:
                raise

    def prune(self, directory: str) -> str:
        """Remove `directory` and those above it, as far as they are empty and below the
        root; return the first one that stays."""
        while len(directory) > len(self.root):
            try:
                os.rmdir(directory)
            except FileNotFoundError:
                pass
            except OSError:
                # Not empty; or a symbolic link, a mount point, or not ours to remove.
                break
            self._known.forget(directory)
            directory = os.path.dirname(directory)
        return directory


class _Known:
    """Directories that are durable with all those above them; the latest used of them."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        # By path: device and inode, or the claim of a thread that is settling it. What is
        # forgotten meanwhile has no claim any more, and so is not learned.
        self._entries: OrderedDict[str, object] = OrderedDict()

    def has_or_claims(self, directory: str, status: os.stat_result, claim: object) -> bool:
        """Whether the directory of this status is known; where not, enters `claim`."""
        with self._guard:
            known = self._entries.get(directory) == _identity(status)
            if not known:
                self._entries[directory] = claim
            self._entries.move_to_end(directory)
            if len(self._entries) > _MAX_KNOWN:
                self._entries.popitem(last=False)
        return known

    def learn(self, directories: list[tuple[str, os.stat_result]], claim: object) -> None:
        with self._guard:
            for directory, status in directories:
                if self._entries.get(directory) is claim:
                    self._entries[directory] = _identity(status)

    def forget(self, directory: str) -> None:
        with self._guard:
            self._entries.pop(directory, None)


def _identity(status: os.stat_result) -> tuple[int, int]:
    return status.st_dev, status.st_ino


def _is_directory(path: str) -> bool:
    """Whether it is one, or (false) is gone; raises NotADirectoryError for all else."""
    try:
        if stat.S_ISDIR(os.stat(path).st_mode):
            return True
    except FileNotFoundError:
        if not os.path.islink(path):
            return False
    raise NotADirectoryError(errno.ENOTDIR, "a part of the key is not a directory")


def not_made() -> OSError:
    return OSError(errno.ENOENT, "its directory cannot be made, or is removed again and again")


@contextmanager
def opened(path: str, flags: int, *, dir_fd: int | None = None) -> Iterator[int]:
    """Open `path` for the length of a `with` block, and for this process only."""
    fd = os.open(path, flags, dir_fd=dir_fd)
    try:
        yield fd
    finally:
        os.close(fd)


def sync_directory(directory: str) -> None:
    """Make the entries of `directory` durable; where it is gone, those of the nearest one
    above it, which then hold its removal."""
    while True:
        try:
            with opened(directory, os.O_RDONLY | os.O_DIRECTORY) as fd:
                return os.fsync(fd)
        except FileNotFoundError:
            directory = os.path.dirname(directory)
