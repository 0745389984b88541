"""One open upload session: what arrives is written, and what was written is hashed."""

from __future__ import annotations

from typing import Final

from fastreg.errors import SizeInvalid
from fastreg.oci.digest import Hasher
from fastreg.registry.hashing import Source
from fastreg.registry.hashstates import HashStates
from fastreg.registry.store import Store, log
from fastreg.storage.base import Writer
from fastreg.storage.errors import StorageError

RECEIVE_BYTES: Final = 1 << 20
CHECKPOINT_BYTES: Final = 1 << 30
"""How much a kill in mid-stream can leave to be hashed again."""


class Session:
    """`hasher` has been given the bytes of `writer`, or is None where only the end tells
    which digest is wanted."""

    def __init__(
        self, store: Store, writer: Writer, states: HashStates, hasher: Hasher | None
    ) -> None:
        self._store = store
        self._writer = writer
        self._states = states
        self._hasher = hasher

    def receive(self, body: Source, length: int | None) -> None:
        """Append `body`, which must have `length` bytes if that is given. Whatever the
        failure, what arrived in order is kept, durably, and its state saved."""
        begin = checkpoint = self._writer.size
        try:
            while data := body.read(_next_read(self._writer.size - begin, length)):
                self._take(data)
                if self._writer.size - checkpoint >= CHECKPOINT_BYTES:
                    self.save()
                    checkpoint = self._writer.size
            if length is not None:
                _check_length(self._writer.size - begin, length, body)
        except BaseException:
            self._save_quietly()
            raise

    def save(self) -> None:
        """Make the bytes durable, then store up to where they are hashed."""
        self._writer.sync()
        if self._hasher:
            self._states.save(self._hasher, self._writer.size)

    def _take(self, data: bytes) -> None:
        before = self._writer.size
        try:
            self._writer.write(data)
        finally:
            if self._hasher:
                kept = memoryview(data)[: self._writer.size - before]
                self._store.off_loop(self._hasher.update, kept)

    def _save_quietly(self) -> None:
        """Keep what came although the request failed; the failure is told, not this."""
        try:
            self.save()
        except StorageError as e:
            log.warning("upload state not saved", reason=str(e))


def _next_read(received: int, length: int | None) -> int:
    return RECEIVE_BYTES if length is None else min(RECEIVE_BYTES, length - received)


def _check_length(received: int, length: int, body: Source) -> None:
    if received < length:
        raise SizeInvalid(f"Content-Range announced {length} bytes, {received} came and are kept")
    if body.read(1):
        raise SizeInvalid(f"Content-Range announced {length} bytes, which are kept; more came")
