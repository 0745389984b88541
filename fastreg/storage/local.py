"""The driver for a directory on a local disk: a key is the path of a file below the root.

Readers and other programs see whole objects only: `put` and `commit` rename. Versions are
those of the file, whoever wrote it; what compares them and what changes the name hold the
lock of the directory meanwhile.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Final

from fastreg.storage import local_files, local_listing
from fastreg.storage.base import ABSENT, Driver, OffLoop, Stat, Witness, run_inline
from fastreg.storage.errors import Conflict, NotFound, StorageError
from fastreg.storage.local_directories import Directories
from fastreg.storage.local_errors import DiskErrors
from fastreg.storage.local_handles import LocalReadable, LocalWriter
from fastreg.storage.local_scratch import Scratch

_NAMES_A_CALL: Final = 64


class LocalDriver(Driver):
    """Objects as files below `root`, which is made with the first of them.

    Looking up and opening a file happen where the call is made; waiting for the disk's
    data, and every change, through `off_loop`. Directories are no objects: they come and
    go with what is stored in them. Any number of processes can share a root.
    """

    def __init__(self, root: Path, off_loop: OffLoop = run_inline) -> None:
        self._directories = Directories(os.path.abspath(root))
        self._off_loop = off_loop
        self._scratch = Scratch(self._directories)

    def _path(self, key: str) -> str:
        return local_files.path_of(self._directories.root, key)

    def stat(self, key: str) -> Stat:
        with DiskErrors(key):
            status = local_files.stat_object(self._path(key))
        if status is None:
            raise NotFound(key)
        version = local_files.version_of(status)
        return Stat(size=status.st_size, modified=status.st_mtime, version=version)

    def witness(self, key: str) -> Witness | None:
        path = self._path(key)
        try:
            return local_files.witness_of(path)
        except OSError:
            return None  # for whoever then reads the object to report

    def get(self, key: str, max_bytes: int) -> bytes:
        with self.open(key) as readable:
            if readable.size > max_bytes:
                raise StorageError(key, f"{readable.size} bytes where {max_bytes} are allowed")
            return b"".join(iter(partial(readable.read, readable.size), b""))

    def put(
        self, key: str, data: bytes, *, if_version: str | None = None, durable: bool = True
    ) -> None:
        check = partial(_check_version, key, if_version)
        put = partial(self._scratch.put, durable=durable, check=check)
        path = self._path(key)
        with DiskErrors(key, creating=True):
            self._off_loop(put, path, data)

    def delete(self, key: str, *, if_version: str | None = None, durable: bool = True) -> None:
        def check(there: os.stat_result | None) -> None:
            if there is None:
                raise NotFound(key)
            _check_version(key, if_version, there)

        remove = partial(local_files.remove, durable=durable, check=check)
        path = self._path(key)
        with DiskErrors(key):
            self._off_loop(remove, path, self._directories)

    def sync(self, key: str) -> None:
        path = self._path(key)
        with DiskErrors(key):
            self._off_loop(local_files.sync, path, self._directories)

    def list(self, prefix: str, after: str = "") -> Iterator[str]:
        return self._list(prefix, self._path(prefix) if prefix else self._directories.root, after)

    def _list(self, prefix: str, directory: str, after: str) -> Iterator[str]:
        with DiskErrors(prefix):
            stored, rest = self._off_loop(
                local_listing.first_stored, directory, after, _NAMES_A_CALL
            )
        yield from stored
        for start in range(0, len(rest), _NAMES_A_CALL):
            some = rest[start : start + _NAMES_A_CALL]
            with DiskErrors(prefix):
                stored = self._off_loop(local_listing.only_stored, directory, some)
            yield from stored

    def open(self, key: str, offset: int = 0, length: int | None = None) -> LocalReadable:
        return LocalReadable(key, self._path(key), offset, length, self._off_loop)

    def writer(self, key: str, *, append: bool, destination: str | None = None) -> LocalWriter:
        path = self._path(key)
        return LocalWriter(key, path, self._directories, append=append, off_loop=self._off_loop)


def _check_version(key: str, expected: str | None, there: os.stat_result | None) -> None:
    if expected is None:
        return
    found = ABSENT if there is None else local_files.version_of(there)
    if found != expected:
        raise Conflict(key, "changed since it was read")
