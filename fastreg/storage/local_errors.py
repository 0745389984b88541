"""What the operating system says about a file, in the words of the storage driver."""

from __future__ import annotations

import errno
from types import TracebackType
from typing import Final

from fastreg.storage.errors import Busy, NoSpace, NotFound, StorageError

_ABSENT: Final = (errno.ENOENT, errno.ENOTDIR, errno.EISDIR)
_FULL: Final = (errno.ENOSPC, errno.EDQUOT)
_REASONS: Final = {
    errno.EACCES: "the file permissions forbid it to this user",
    errno.EPERM: "the file system forbids it to this user",
    errno.EROFS: "the file system is mounted read-only",
    errno.EIO: "the disk reports an input/output error",
    errno.EXDEV: "what is renamed and where it goes are on different file systems",
}


class DiskErrors:
    """Turns an OSError of the `with` block into the StorageError that it means."""

    __slots__ = ("_creating", "_key")

    def __init__(self, key: str, *, creating: bool = False) -> None:
        self._key = key
        self._creating = creating

    def __enter__(self) -> None:
        pass

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if isinstance(error, OSError):
            raise self._meaning_of(error) from error

    def _meaning_of(self, error: OSError) -> StorageError:
        number = error.errno or 0
        reason = _REASONS.get(number) or error.strerror or str(error)
        if number in _FULL:
            return NoSpace(self._key, reason)
        if isinstance(error, BlockingIOError):
            return Busy(self._key, "another writer holds it")
        if number in _ABSENT and not self._creating:
            return NotFound(self._key)
        return StorageError(self._key, reason)
