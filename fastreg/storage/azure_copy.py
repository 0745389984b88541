"""Copying a blob within the account, to its real end.

What is already at the destination and right is left alone, whatever happens: a copy begins
by emptying its destination. It is right where it has the size and was verified when it was
written, which its metadata say, or else has the same bytes.
"""

from __future__ import annotations

import time
from typing import Final

from azure.core import MatchConditions
from azure.storage.blob import BlobProperties

from fastreg.storage.azure_client import Connection, condition
from fastreg.storage.azure_errors import code_of
from fastreg.storage.azure_reader import first_range
from fastreg.storage.base import ABSENT
from fastreg.storage.errors import Busy, Conflict, NotFound, StorageError

VERIFIED: Final = {"verified": "fastreg"}
"""The metadata of a blob whose bytes were verified before they got its name."""
_ATTEMPTS: Final = 5
"""Each is lost only to somebody who changed the destination meanwhile."""
_PATIENCE_S: Final = 600
_SLOWEST_BYTES_S: Final = 4 << 20
_FIRST_POLL_S: Final = 0.02
_LAST_POLL_S: Final = 5.0
_COMPARED_BYTES: Final = 4 << 20


def properties_of(connection: Connection, key: str) -> BlobProperties | None:
    """Return what Azure says of the blob; None where there is none. Blocks."""
    try:
        return connection.retries.call(key, connection.blob(key).get_blob_properties)
    except NotFound:
        return None


def settled(connection: Connection, key: str, size: int) -> BlobProperties | None:
    """Return what is under the key once no copy to it is under way, however long that of
    `size` bytes takes; one that does not come to an end is ended."""
    deadline = time.monotonic() + _PATIENCE_S + size / _SLOWEST_BYTES_S
    pause_s = _FIRST_POLL_S
    while (there := properties_of(connection, key)) is not None and there.copy.status == "pending":
        if time.monotonic() > deadline:
            abort = connection.blob(key).abort_copy
            connection.retries.call(key, abort, str(there.copy.id))
            return properties_of(connection, key)
        time.sleep(pause_s)
        pause_s = min(2 * pause_s, _LAST_POLL_S)
    return there


def is_whole(there: BlobProperties, size: int) -> bool:
    return there.size == size and there.copy.status in ("success", None)


def is_verified(there: BlobProperties) -> bool:
    return VERIFIED.items() <= (there.metadata or {}).items()


class Copy:
    """The copy of what `source` is in its version `version`, `size` bytes, to `destination`.
    To be run where blocking is allowed."""

    def __init__(
        self,
        connection: Connection,
        source: str,
        version: str,
        size: int,
        destination: str,
    ) -> None:
        self._connection = connection
        self._source = source
        self._version = version
        self._size = size
        self._destination = destination
        self._blob = connection.blob(destination)

    def run(self) -> None:
        """Return once the bytes are at the destination. Raises Busy when the source is not
        the version any more, Conflict when the destination is taken by blocks that nobody has
        made an object yet; a failure leaves nothing at a destination that had nothing."""
        there = None
        for _ in range(_ATTEMPTS):
            try:
                return self._copy_over(there)
            except (Conflict, Busy) as error:
                before, there = there, self._settled()
                if _version_of(there) == _version_of(before):
                    if there is None and code_of(error.__cause__) == "BlobAlreadyExists":
                        raise
                    raise Busy(self._source, "changed while it was copied") from error
            if there is not None and self._is_right(there):
                return None
            if there is not None and there.blob_type != "BlockBlob":
                self._delete(there)  # a blob of another type cannot be copied over
                there = None
        raise Busy(self._destination, "others are changing it")

    def _copy_over(self, there: BlobProperties | None) -> None:
        """Copy to the destination if it is still what is `there`, else raise Conflict. Within
        an account, who may ask for the copy may read its source: the URL needs no signature."""
        self._connection.retries.call(
            self._source,
            self._blob.start_copy_from_url,
            str(self._connection.blob(self._source).url),
            metadata=VERIFIED,
            source_etag=self._version,
            source_match_condition=MatchConditions.IfNotModified,
            **condition(_version_of(there)),
        )
        copied = self._settled()
        if copied is None:
            raise StorageError(self._destination, "vanished while it was copied")
        if not is_whole(copied, self._size):
            self._delete(copied)
            reason = copied.copy.status_description or f"{copied.size} of {self._size} bytes came"
            raise StorageError(self._destination, f"Azure could not copy it: {reason}")

    def _settled(self) -> BlobProperties | None:
        return settled(self._connection, self._destination, self._size)

    def _is_right(self, there: BlobProperties) -> bool:
        if not is_whole(there, self._size):
            return False
        return is_verified(there) or all(
            self._read(self._source, offset) == self._read(self._destination, offset)
            for offset in range(0, self._size, _COMPARED_BYTES)
        )

    def _read(self, key: str, offset: int) -> bytes:
        return first_range(self._connection, key, offset, _COMPARED_BYTES)[0]

    def _delete(self, there: BlobProperties) -> None:
        """Delete what is wrong at the destination, unless it was replaced meanwhile."""
        delete_unchanged(self._connection, self._destination, str(there.etag))


def delete_unchanged(connection: Connection, key: str, version: str) -> None:
    """Delete the blob if it is still that version."""
    delete = connection.blob(key).delete_blob
    try:
        connection.retries.call(key, delete, "include", **condition(version))
    except (NotFound, Conflict):
        pass  # gone, or somebody else's now


def _version_of(there: BlobProperties | None) -> str:
    return ABSENT if there is None else str(there.etag)
