"""The local driver, without the files: what is opened can only be read."""

from __future__ import annotations

from fastreg.storage.base import Readable
from fastreg.storage.local import LocalDriver


class FilelessDriver(LocalDriver):
    def open(self, key: str, offset: int = 0, length: int | None = None) -> Readable:
        return _Fileless(super().open(key, offset, length))


class _Fileless(Readable):
    def __init__(self, inner: Readable) -> None:
        self._inner = inner
        self.size, self.offset, self.length = inner.size, inner.offset, inner.length

    def read(self, max_bytes: int) -> bytes:
        return self._inner.read(max_bytes)

    def fileno(self) -> None:
        """None, so that every byte is read."""

    def close(self) -> None:
        self._inner.close()
