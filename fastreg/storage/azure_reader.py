"""Reading an object in ranges: the first is small, so that its bytes are there early; then
some are under way while the last one is read."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future
from typing import Final

from azure.core import MatchConditions
from azure.core.exceptions import HttpResponseError
from azure.storage.blob import BlobClient, BlobProperties

from fastreg.storage.azure_client import Connection
from fastreg.storage.azure_listing import is_folder
from fastreg.storage.azure_transfers import Transfers
from fastreg.storage.base import OffLoop, Readable, Segment
from fastreg.storage.errors import Conflict, NotFound, StorageError

_FIRST_BYTES: Final = 256 << 10
_RANGE_BYTES: Final = 4 << 20
_LEAST_RANGE_BYTES: Final = 256 << 10
_LEAST_AHEAD: Final = 2
"""One comes while another is sent on."""
_UNSATISFIABLE: Final = 416


def check_there(key: str, properties: BlobProperties) -> None:
    """Raise NotFound for what is no object: a directory, or what a copy has yet to bring."""
    if is_folder(properties) or properties.copy.status == "pending":
        raise NotFound(key)


def first_range(
    connection: Connection, key: str, offset: int, length: int
) -> tuple[bytes, int, str]:
    """Return up to `length` bytes from `offset`, the object's size and its version. Blocks.
    Raises NotFound."""
    blob = connection.blob(key)

    def ask() -> tuple[bytes, int, str]:
        answer = blob.download_blob(offset, length)
        check_there(key, answer.properties)
        size = answer.properties["content_range"].rpartition("/")[2]
        return b"".join(answer.chunks()), int(size), str(answer.properties.etag)

    def look() -> tuple[bytes, int, str]:
        properties = blob.get_blob_properties()
        check_there(key, properties)
        return b"", properties.size, str(properties.etag)

    def ask_or_look() -> tuple[bytes, int, str]:
        if not length:
            return look()
        try:
            return ask()
        except HttpResponseError as error:
            if error.status_code != _UNSATISFIABLE:
                raise
        return look()

    return connection.retries.call(key, ask_or_look)


class AzureReadable(Readable):
    """A range of an object. What was not fetched when the object is replaced or deleted
    cannot be read any more: that raises StorageError, it never mixes two objects."""

    def __init__(
        self,
        connection: Connection,
        transfers: Transfers,
        key: str,
        offset: int,
        length: int | None,
        off_loop: OffLoop,
    ) -> None:
        self._connection = connection
        self._transfers = transfers
        self._key = key
        self._off_loop = off_loop
        self._blob: BlobClient | None = None
        first_bytes = _FIRST_BYTES if length is None else min(length, _FIRST_BYTES)
        first, size, version = off_loop(first_range, connection, key, offset, first_bytes)
        self.size = size
        self.offset = min(offset, size)
        self.length = min(size - self.offset, size if length is None else length)
        self._piece: bytes | memoryview = first
        self._version = version
        self._asked = self.offset + len(first)
        self._coming: deque[Future[bytes]] = deque()
        self._is_counted = len(first) < self.length
        if self._is_counted:
            transfers.count_reader(1)

    def read(self, max_bytes: int) -> bytes:
        if not max_bytes:
            return b""
        piece = self._piece or self._next_piece()
        self._piece = memoryview(piece)[max_bytes:]
        return bytes(piece[:max_bytes])  # a whole piece is not copied

    def segments(self) -> Iterator[Segment]:
        if self._piece:
            yield bytes(self._piece)
        yield from iter(self._next_piece, b"")

    def fileno(self) -> None:
        return None

    def close(self) -> None:
        self._piece = b""
        self._asked = self.offset + self.length
        while self._coming:
            self._coming.popleft().cancel()
        if self._is_counted:
            self._is_counted = False
            self._transfers.count_reader(-1)

    def _next_piece(self) -> bytes:
        """Return the next bytes of the range; none at its end."""
        self._ask_ahead()
        if not self._coming:
            return b""
        coming = self._coming.popleft()
        return coming.result() if coming.done() else self._off_loop(coming.result)

    def _ask_ahead(self) -> None:
        end = self.offset + self.length
        share = self._transfers.read_bytes
        ranges = max(_LEAST_AHEAD, share // _RANGE_BYTES)
        while self._asked < end and len(self._coming) < ranges:
            length = min(_RANGE_BYTES, share // ranges, end - self._asked)
            self._coming.append(self._transfers.threads.submit(self._fetch, self._asked, length))
            self._asked += length

    def _fetch(self, offset: int, length: int) -> bytes:
        came: list[bytes] = []
        step = length
        blob = self._blob = self._blob or self._connection.blob(self._key)

        def ask() -> None:
            nonlocal step
            while (done := sum(map(len, came))) < length:
                # What came of an answer that is cut is lost: ask for less the next time.
                wanted, step = min(step, length - done), max(_LEAST_RANGE_BYTES, step // 4)
                answer = blob.download_blob(
                    offset + done,
                    wanted,
                    etag=self._version,
                    match_condition=MatchConditions.IfNotModified,
                )
                came.extend(answer.chunks())  # one: the answer is one piece
                step = wanted

        try:
            self._connection.retries.call(self._key, ask)
        except (NotFound, Conflict) as error:
            raise StorageError(self._key, "changed while it was read") from error
        return came[0] if len(came) == 1 else b"".join(came)
