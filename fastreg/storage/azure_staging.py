"""The blocks of one blob on their way: several at once, while the next one fills."""

from __future__ import annotations

import secrets
from collections import deque
from concurrent.futures import Future, wait
from functools import partial
from typing import Any, Final, NamedTuple

from azure.storage.blob import BlobBlock

from fastreg.storage.azure_blocks import (
    FIRST_BLOCK_BYTES,
    Block,
    are_names,
    block_at,
    block_id,
    is_divided,
)
from fastreg.storage.azure_client import Connection, condition
from fastreg.storage.azure_copy import properties_of
from fastreg.storage.azure_errors import code_of
from fastreg.storage.azure_reader import first_range
from fastreg.storage.azure_transfers import Transfers
from fastreg.storage.base import ABSENT
from fastreg.storage.errors import Busy, Conflict, NotFound, StorageError
from fastreg.storage.window import Window, drop

_MARK: Final = "commit"
"""The metadata entry by which a commit whose answer was lost is known again."""


class _Flight(NamedTuple):
    start: int
    size: int
    staged: Future[None]


class Staging:
    """What grows under `key`: its bytes arrive in `window`, full blocks leave it, and
    `publish` makes them the object. To be used where blocking is allowed, by one thread at
    a time. What raises leaves it as it was; `cut` then tells what to go on from.

    A last block that is not full stays in the window, and is replaced as it grows: however
    small the steps, the object has no more blocks.
    """

    stored = 0
    """Bytes under the key."""
    version: str | None = None
    """What is stored must be this when it is changed: ABSENT for nothing; None: whatever it is."""
    is_foreign = False
    """What is stored is not in blocks of ours, and none can be added."""

    def __init__(self, connection: Connection, transfers: Transfers, key: str) -> None:
        self.key = key
        self.window = Window()
        self._connection = connection
        self._transfers = transfers
        self._flights: deque[_Flight] = deque()
        self._strays: list[Future[None]] = []
        """Others that may still be under way."""
        self._is_sending = False
        self._names: list[str] = []
        self._rest: list[str] = []
        """The name of the last block, where it is not full."""
        self._writer = secrets.token_hex(4)
        self._next = 0
        """Where the first block begins that is not staged."""
        self._held_from = 0
        """From here on the window has what the next blocks consist of."""

    @property
    def full_at(self) -> int:
        """The size at which the next block is full."""
        return block_at(self._next).end

    @property
    def sound(self) -> int:
        """How many bytes are staged, when some could not be."""
        return self._flights[0].start if self._flights else self._next

    def look(self) -> None:
        """Find out what is stored, to go on from there. Raises NotFound."""
        self.is_foreign = False
        blob = self._connection.blob(self.key)
        headers: list[Any] = []

        def ask() -> tuple[list[BlobBlock], list[BlobBlock]]:
            return blob.get_block_list(
                "committed", raw_response_hook=lambda r: headers.append(r.http_response.headers)
            )

        try:
            blocks, _ = self._connection.retries.call(self.key, ask)
            version, size = (headers[-1].get(h) for h in ("ETag", "x-ms-blob-content-length"))
        except StorageError as error:
            if code_of(error.__cause__) != "InvalidBlobType":
                raise
            blocks, self.is_foreign = [], True
            there = self._connection.retries.call(self.key, blob.get_blob_properties)
            version, size = there.etag, there.size
        if version is None:
            raise NotFound(self.key)  # some blocks, of which nobody made an object
        self.version, self.stored = str(version), int(size)
        sizes = [block.size for block in blocks]
        self._names = [block.id for block in blocks]
        is_ours = sum(sizes) == self.stored and is_divided(sizes)
        if self.stored >= FIRST_BLOCK_BYTES and not (is_ours and are_names(self._names)):
            self.is_foreign = True
        self.cut(self.stored)

    def begin(self) -> None:
        """Store an object of no bytes, in place of what is there."""
        # On a condition also where nothing is: the network may bring the request once more,
        # when there are bytes already.
        self.version = ABSENT
        try:
            self.publish(0, {})
        except Conflict:
            self.look()
            self.publish(0, {})
            self.cut(0)

    def take(self, size: int) -> None:
        """Stage the blocks that are full now that the window has `size` bytes. Waits while
        too many are on their way. Raises what one of them failed with."""
        while (block := block_at(self._next)).end <= size:
            block_bytes = block.end - block.start
            self._start_sending()
            self._land(max(0, self._transfers.share_bytes - block_bytes))
            self._fill_in()
            name = block_id(block.start, block.end, self._writer)
            staged = self._transfers.send(block_bytes, self._stage, block, name)
            self._flights.append(_Flight(block.start, block_bytes, staged))
            self._names.append(name)
            self._next = block.end

    def stage_rest(self, size: int) -> None:
        """Stage all of `size` bytes, and return once it is; nothing for what is published in
        one piece. Raises what a block failed with."""
        self._rest = []
        if size < FIRST_BLOCK_BYTES:
            return
        if size > self._next:
            self._fill_in()
            rest = block_at(self._next)._replace(end=size)
            name = block_id(rest.start, rest.end, self._writer)
            staged = self._transfers.threads.submit(self._stage, rest, name)
            self._strays.append(staged)
            self._land(0)
            staged.result()
            self._rest = [name]
        self._land(0)

    def publish(self, size: int, metadata: dict[str, str]) -> None:
        """Make the object of what is staged, in one change. Raises Conflict when what is stored
        is not the version any more, or an object made by another took the blocks away."""
        blob = self._connection.blob(self.key)
        if size < FIRST_BLOCK_BYTES:
            self._fill_in()
            if self.is_foreign:
                self.delete_foreign()
            whole = bytes(self.window.view(0, size))
            change = partial(blob.upload_blob, whole, overwrite=True)
        else:
            names = self._names + self._rest
            change = partial(blob.commit_block_list, [BlobBlock(name) for name in names])
        self._change(partial(change, **condition(self.version)), metadata)
        self.stored, self.is_foreign = size, False

    def delete_foreign(self) -> None:
        """Delete what is stored: Azure lets no blob replace one of another type. Raises Busy
        when it is not the version any more."""
        blob = self._connection.blob(self.key)
        delete = partial(blob.delete_blob, "include", **condition(self.version))
        try:
            self._connection.retries.change(
                self.key, delete, lambda refusal: isinstance(refusal, NotFound)
            )
        except Conflict as conflict:
            raise Busy(self.key, "another program is writing it") from conflict
        self.version = ABSENT

    def _change(self, change: partial[dict[str, Any]], metadata: dict[str, str]) -> None:
        mark = secrets.token_hex(8)
        marked = partial(change, metadata={**metadata, _MARK: mark})
        try:
            answer = self._connection.retries.call(self.key, marked)
            self.version = str(answer["etag"])
        except Conflict:
            # The answer was lost, or the network brought the request twice?
            there = properties_of(self._connection, self.key)
            if there is None or (there.metadata or {}).get(_MARK) != mark:
                raise
            self.version = str(there.etag)

    def cut(self, size: int) -> None:
        """Go on from `size` bytes, no more than are staged or stored."""
        self._strays += [f.staged for f in self._flights if not f.staged.cancel()]
        self._flights.clear()
        block = block_at(size)
        self._next, self._held_from = block.start, size
        del self._names[block.number :]
        self._rest = []
        self._writer = secrets.token_hex(4)

    def close(self) -> None:
        """Give the memory back; returns once no block is on its way any more."""
        if self._is_sending:
            self._is_sending = False
            self._transfers.count_sender(-1)
        self.cut(self.stored)
        self.window.close()
        wait(self._strays)

    def _start_sending(self) -> None:
        if not self._is_sending:
            self._is_sending = True
            self._transfers.count_sender(1)

    def _land(self, max_bytes: int) -> None:
        """Wait until no more than `max_bytes` are on their way."""
        while sum(flight.size for flight in self._flights) > max_bytes:
            self._flights[0].staged.result()
            self._flights.popleft()

    def _fill_in(self) -> None:
        """Fetch what was stored of the next block: its name is of all its bytes."""
        if self._held_from > self._next:
            missing = self._held_from - self._next
            data, _, version = first_range(self._connection, self.key, self._next, missing)
            if version != self.version or len(data) != missing:
                raise Busy(self.key, "changed while it was written")
            self.window.write(memoryview(data), self._next)
            self._held_from = self._next

    def _stage(self, block: Block, name: str) -> None:
        view = self.window.view(block.start, block.end)
        blob = self._connection.blob(self.key)
        stage = partial(blob.stage_block, name, view, length=len(view))  # type: ignore[arg-type]
        self._connection.retries.call(self.key, stage)
        if block == block_at(block.start):
            drop(view)  # it is full, and will not be replaced
