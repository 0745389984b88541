"""One open upload session: what arrives is written, and what was written is hashed."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Final

from fastreg.errors import SizeInvalid
from fastreg.fastlane import Sha256, Sha512, Sink
from fastreg.oci.digest import Digest, Hasher
from fastreg.registry.hashing import READ_BYTES, Pour, Source, digest_now, pour_of
from fastreg.registry.hashstates import HashStates
from fastreg.registry.store import Store, log
from fastreg.storage.base import Writer
from fastreg.storage.errors import StorageError

CHECKPOINT_BYTES: Final = 256 << 20
"""How much a kill in mid-stream can leave to be sent or hashed again; a 64th of what is
there, where that is more: a store may have to be told of all of it each time."""


class Session(AbstractContextManager["Session"]):
    """`hasher` has been given the bytes of `writer`, or is None where only the end tells
    which digest is wanted. `states` keeps how far it came; without, nobody goes on with what
    breaks off. Leaving the `with` block closes the writer."""

    def __init__(
        self, store: Store, writer: Writer, hasher: Hasher | None, states: HashStates | None
    ) -> None:
        self.writer = writer
        self.hasher = hasher
        self._states = states
        self._store = store
        self._sink = _sink(writer, hasher)

    def __exit__(self, *exc: object) -> None:
        self.writer.close()

    def receive(self, body: Source, length: int | None) -> None:
        """Append `body`, which must have `length` bytes if that is given. Whatever the
        failure, what arrived in order is kept, durably, and its state saved, where the
        session goes on and the writer keeps bytes."""
        begin = checkpoint = self.writer.size
        pour = pour_of(body)
        try:
            while self._take_some(body, pour, _room(self.writer.size - begin, length)):
                if self.writer.size - checkpoint >= max(CHECKPOINT_BYTES, checkpoint // 64):
                    if self._lasts:
                        self.save()
                    checkpoint = self.writer.size
            if length is not None:
                self._check_length(self.writer.size - begin, length, body)
        except BaseException:
            if self._lasts:
                self._save_quietly()
            raise

    def _check_length(self, received: int, length: int, body: Source) -> None:
        fate = "kept" if self._lasts else "dropped"
        announced = f"Content-Range announced {length} bytes"
        if received < length:
            raise SizeInvalid(f"{announced}, {received} came and are {fate}")
        if body.read(1):
            raise SizeInvalid(f"{announced}, which are {fate}; more came")

    @property
    def _lasts(self) -> bool:
        return self._states is not None and self.writer.keeps_bytes

    def digest(self, algorithm: str) -> Digest:
        """Return the digest of all bytes, by the algorithm that the session was opened for."""
        assert self.hasher is not None
        return digest_now(algorithm, self.hasher)

    def save(self) -> None:
        """Make the bytes durable, then store up to where they are hashed."""
        self._store.off_loop(self._save)

    def _save(self) -> None:
        self.writer.sync()
        if self.hasher and self._states:
            self._states.save(self.hasher, self.writer.size)

    def _take_some(self, body: Source, pour: Pour | None, max_bytes: int) -> int:
        """Append up to `max_bytes` of the body; return how many, 0 at its end."""
        before = self.writer.size
        if pour and self._sink:
            self._pour(pour, self._sink, min(max_bytes, self.writer.room))
        elif data := body.read(min(max_bytes, READ_BYTES)):
            self._take(data)
        return self.writer.size - before

    def _pour(self, pour: Pour, sink: Sink, max_bytes: int) -> None:
        try:
            pour(sink, max_bytes)
        except BaseException:
            # Who is killed leaves a thread behind that pours on; the size waits for it.
            self._store.off_loop(lambda: self.writer.wrote(sink.size, None))
            raise
        self.writer.wrote(sink.size, sink.failure)

    def _take(self, data: bytes) -> None:
        before = self.writer.size
        try:
            self.writer.write(data)
        finally:
            if self.hasher:
                kept = memoryview(data)[: self.writer.size - before]
                self._store.off_loop(self.hasher.update, kept)

    def _save_quietly(self) -> None:
        """Keep what came although the request failed; the failure is told, not this."""
        try:
            self.save()
        except StorageError as e:
            log.warning("upload state not saved", reason=str(e))


def _sink(writer: Writer, hasher: Hasher | None) -> Sink | None:
    """What a body can be poured into: a file, and a digest of the C core's if any."""
    file = writer.file
    if file is None or not (hasher is None or isinstance(hasher, (Sha256, Sha512))):
        return None
    return Sink(file, writer.size, hasher)


def _room(received: int, length: int | None) -> int:
    return CHECKPOINT_BYTES if length is None else min(CHECKPOINT_BYTES, length - received)
