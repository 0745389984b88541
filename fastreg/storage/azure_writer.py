"""The writer of an object in Azure.

Writers are optimistic: nothing holds a key, so nothing has to be released when a process
dies. Each change of the object says from which version it goes on, and of two writers the
later one is told that it lost. The names of the blocks tell the writers apart, so that their
bytes never mix.

A writer that knows its destination stages the blocks there, where nobody sees them before
the commit; then nothing has to be copied, and nothing is kept until then.
"""

from __future__ import annotations

import threading
from typing import Final

from azure.storage.blob import BlobProperties

from fastreg.storage.azure_blocks import FIRST_BLOCK_BYTES, block_at
from fastreg.storage.azure_client import Connection
from fastreg.storage.azure_copy import (
    VERIFIED,
    Copy,
    delete_unchanged,
    is_verified,
    is_whole,
    properties_of,
    settled,
)
from fastreg.storage.azure_errors import code_of
from fastreg.storage.azure_reader import first_range
from fastreg.storage.azure_staging import Staging
from fastreg.storage.azure_transfers import Transfers
from fastreg.storage.base import ABSENT, OffLoop, Writer, run_inline
from fastreg.storage.descriptors import Descriptor
from fastreg.storage.errors import Busy, Conflict, NotFound, StorageError
from fastreg.storage.local_errors import DiskErrors

_READ_BYTES: Final = 4 << 20
_ATTEMPTS: Final = 5
"""Each is lost only to somebody who changed the destination meanwhile."""


class AzureWriter(Writer):
    """Bytes are in memory, 24 MiB at most of a blob of 40 GB, until their block is staged.

    Whoever is killed while he waits leaves a thread behind that goes on: the lock lets it
    come to its end before the next step.
    """

    def __init__(
        self,
        connection: Connection,
        transfers: Transfers,
        key: str,
        off_loop: OffLoop = run_inline,
        *,
        append: bool,
        destination: str | None = None,
    ) -> None:
        self.size = 0
        self._connection = connection
        self._transfers = transfers
        self._key = key
        self._off_loop = off_loop
        self._lock = threading.RLock()
        self._is_closed = self._is_prepared = False
        self._staging = Staging(connection, transfers, key)
        off_loop(self._open, append, destination)

    def _open(self, append: bool, destination: str | None) -> None:
        staging = self._staging
        if append:
            staging.look()
        elif destination is None:
            staging.begin()
        self.size = staging.stored
        self._opened = staging.version
        if destination is not None and not self.size:
            self.keeps_bytes = False
            staging.key, staging.version = destination, None

    @property
    def _version(self) -> str | None:
        """Of what is stored under the key; None where nothing is."""
        staging = self._staging
        return staging.version if staging.key == self._key else self._opened

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self._off_loop(self._write, memoryview(data).cast("B"))

    def _write(self, view: memoryview) -> None:
        while view:
            with DiskErrors(self._key, creating=True):
                count = self._staging.window.write(view[: self.room], self.size)
            self._take(self.size + count)
            view = view[count:]

    @property
    def file(self) -> Descriptor:
        return self._staging.window.file

    @property
    def room(self) -> int:
        return block_at(self.size).end - self.size

    def wrote(self, size: int, failure: OSError | None) -> None:
        if size < self._staging.full_at:
            self.size = size
        else:
            self._off_loop(self._take, size)
        if failure is not None:
            with DiskErrors(self._key, creating=True):
                raise failure

    def _take(self, size: int) -> None:
        with self._lock:
            self.size = size
            self._prepare()
            self._staging.take(size)

    def sync(self) -> None:
        self._off_loop(self._sync)

    def _sync(self) -> None:
        with self._lock:
            if self.keeps_bytes:
                self._store()
            else:
                self._cut(0)

    def commit(self, final_key: str) -> None:
        self._off_loop(self._commit, final_key)

    def _commit(self, final_key: str) -> None:
        with self._lock:
            staging = self._staging
            if staging.key != final_key or not self._reach():
                self._store()
                self._copy(final_key)
            self._end(deletes=True)

    def _copy(self, final_key: str) -> None:
        version = self._staging.version
        assert version is not None  # of what was just stored
        try:
            Copy(self._connection, self._key, version, self.size, final_key).run()
        except Conflict:
            # Others have begun to stage there, and perhaps died: beside blocks there is
            # room for more blocks.
            with self._another(destination=final_key) as writer:
                self._pour(writer)
                writer.commit(final_key)

    def abort(self) -> None:
        self._off_loop(self._end, True)

    def close(self) -> None:
        self._off_loop(self._close)

    def _close(self) -> None:
        with self._lock:
            try:
                if not self._is_closed:
                    self._sync()
            finally:
                self._end(deletes=False)

    def _end(self, deletes: bool) -> None:
        with self._lock:
            if self._is_closed:
                return
            self._is_closed = True
            self._staging.close()
            if deletes and self._version is not None:
                delete_unchanged(self._connection, self._key, self._version)

    def _store(self) -> None:
        """Make what is written the object; a failure keeps what it can."""
        staging = self._staging
        if staging.version is not None and self.size == staging.stored:
            return
        try:
            self._prepare()
            staging.stage_rest(self.size)
        except StorageError:
            self._cut(max(staging.sound, staging.stored))
            if self.size > staging.stored:
                self._publish()
            raise
        self._publish()

    def _publish(self) -> None:
        staging = self._staging
        try:
            staging.publish(self.size, {})
        except Conflict as conflict:
            if properties_of(self._connection, self._key) is None:
                self._cut(0)
                raise NotFound(self._key, "deleted while it was written") from conflict
            self._cut(staging.stored)
            raise Busy(self._key, "another writer was faster") from conflict
        except StorageError:
            self._cut(staging.stored)
            raise

    def _reach(self) -> bool:
        """Make the bytes the destination, unless they are that already: whoever reads it
        goes on. Return False where only a copy can get there; a failure keeps nothing."""
        try:
            self._staging.stage_rest(self.size)
            return self._publish_blob()
        except StorageError:
            self._cut(0)
            raise

    def _publish_blob(self) -> bool:
        staging = self._staging
        staging.version = ABSENT
        for _ in range(_ATTEMPTS):
            try:
                staging.publish(self.size, VERIFIED)
                return True
            except StorageError as refusal:
                there = self._in_the_way(refusal)
            if there is None:
                return True
            if there.blob_type != "BlockBlob" and self.size < FIRST_BLOCK_BYTES:
                self._stay_at_key()
                return False
            staging.version = str(there.etag)
        raise Busy(staging.key, "others are changing it")

    def _in_the_way(self, refusal: StorageError) -> BlobProperties | None:
        """Return what is wrong at the destination, None where it is right."""
        code = code_of(refusal.__cause__)
        if not isinstance(refusal, (Conflict, Busy)) and code != "InvalidBlobType":
            raise refusal
        staging = self._staging
        there = settled(self._connection, staging.key, self.size)
        are_lost = code == "InvalidBlockList"
        if there is None:
            raise Busy(staging.key, "another writer was faster") from refusal
        # Whoever takes the blocks of others away has brought the blob.
        if is_whole(there, self.size) and (are_lost or is_verified(there)):
            return None
        if are_lost or there.etag == staging.version:
            raise Busy(staging.key, "another writer was faster") from refusal
        return there

    def _stay_at_key(self) -> None:
        """Stage for the key: to a blob of another type only a whole one can be copied."""
        self._staging.key, self._staging.version = self._key, self._opened

    def _cut(self, size: int) -> None:
        self._staging.cut(size)
        self.size = size

    def _prepare(self) -> None:
        """See, before the first block is staged, that it can be where it is to be."""
        staging = self._staging
        if self._is_prepared or self.size < FIRST_BLOCK_BYTES:
            return
        if staging.key != self._key:
            there = properties_of(self._connection, staging.key)
            if there is not None and there.blob_type != "BlockBlob":
                self._stay_at_key()
        elif staging.is_foreign:
            self._rewrite()
        self._is_prepared = True

    def _rewrite(self) -> None:
        """Bring what another program has stored, perhaps by appending, into blocks."""
        staging = self._staging
        if staging.stored < FIRST_BLOCK_BYTES:
            staging.publish(staging.stored, {})
            return
        with self._another() as writer:
            self._pour(writer)
            writer.sync()
            # A copy cannot change the type. Between these two the object is not there.
            staging.delete_foreign()
            writer.commit(self._key)
        staging.look()

    def _another(self, destination: str | None = None) -> AzureWriter:
        key = f"{self._key}.blocks"
        return AzureWriter(
            self._connection, self._transfers, key, append=False, destination=destination
        )

    def _pour(self, writer: Writer) -> None:
        """Write what is stored to another."""
        staging = self._staging
        for offset in range(0, staging.stored, _READ_BYTES):
            data, _, version = first_range(self._connection, self._key, offset, _READ_BYTES)
            if version != staging.version:
                raise Busy(self._key, "another program is writing it")
            writer.write(data)
