"""A file that one fills and any number read meanwhile, in whatever process.

The filler goes on by itself, whether anyone reads or not. Readers look at the file every few
milliseconds; one that sees it stand still, and nobody filling it, asks for another filler, and
reads the rest at the origin where there is none to be had. No reader gets the last byte
before all are verified.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final, Protocol

from fastreg.storage.base import OffLoop, Readable, Segment
from fastreg.storage.cache_files import (
    NOT_PROMISED,
    CacheFiles,
    filling_size,
    is_verified,
    is_wrong,
)
from fastreg.storage.cache_room import Room
from fastreg.storage.descriptors import Descriptor
from fastreg.storage.errors import StorageError
from fastreg.storage.local_handles import read_at

_READ_BYTES: Final = 4 << 20
"""At once of the origin: on its way to the file it waits for its turn in the event loop."""
_PIECE_BYTES: Final = 256 << 10
"""Written and hashed before the next one: it is still in the processor's cache then."""
_HASH_AHEAD: Final = 4
"""Of these for each that is written: what an earlier filler left is caught up with."""
_STALL_S: Final = 0.1
"""Without a byte, after which a reader looks whether there still is a filler."""
_PATIENCE_S: Final = 120.0
"""Without a byte, after which a reader leaves a filler to itself."""


class Check(Protocol):
    """Tells whether bytes are what they should be, once it has all of them."""

    def update(self, data: memoryview, /) -> object: ...
    def is_right(self) -> bool: ...


@dataclass(frozen=True, slots=True)
class Identity:
    """Of content that never changes: its name in the cache, and what verifies it."""

    name: str
    """`<algorithm>/<first two hex>/<hex>`: what else is in the directory is not touched."""
    new_check: Callable[[], Check]


@dataclass(frozen=True, slots=True)
class Origin:
    """Where content comes from."""

    key: str
    """What errors and the log call it."""
    size: int
    identity: Identity
    open: Callable[[int, int | None], Readable]
    """Opens it from an offset, for a length or to its end. Raises StorageError."""

    @property
    def name(self) -> str:
        return self.identity.name


class Verification:
    """Hashes a file bit by bit, as far as it is there."""

    def __init__(self, identity: Identity) -> None:
        self._check = identity.new_check()
        self._buffer = memoryview(bytearray(_PIECE_BYTES))
        self._hashed = 0

    def advance(self, fd: int, size: int) -> bool:
        """Hash some of the first `size` bytes; return whether that is all. Waits for the
        disk. What is hashed is what the file has, not what it was given. Raises OSError."""
        for _ in range(_HASH_AHEAD):
            wanted = min(len(self._buffer), size - self._hashed)
            if not wanted:
                break
            count = os.preadv(fd, [self._buffer[:wanted]], self._hashed)
            if not count:
                raise OSError(errno.EIO, "the file became shorter")
            self._check.update(self._buffer[:count])
            self._hashed += count
        return self._hashed == size

    def is_right(self) -> bool:
        return self._check.is_right()


class Fill:
    """One filler's work on a growing file."""

    def __init__(self, origin: Origin, files: CacheFiles, room: Room, off_loop: OffLoop) -> None:
        self._origin = origin
        self._files = files
        self._room = room
        self._off_loop = off_loop
        self._verification = Verification(origin.identity)
        self._size = 0
        self.fetched = 0
        """Bytes that came of the origin."""

    def run(self) -> None:
        """Bring the file to its end, unless another filler is at it. Raises StorageError and
        OSError; what was written then stays for the next one, unless it is wrong."""
        descriptor = self._off_loop(self._files.open_to_fill, self._origin.name)
        if descriptor is None:
            return
        try:
            self._off_loop(self._begin, descriptor)
            if self._size < self._origin.size:
                self._fetch(descriptor)
            while not self._off_loop(self._hash, descriptor):
                pass
            self._off_loop(self._end, descriptor)
        finally:
            descriptor.close()

    def _begin(self, descriptor: Descriptor) -> None:
        self._size = os.fstat(descriptor.number).st_size
        if self._size > self._origin.size:
            self._end(descriptor)
        self._room.promise(descriptor.number, self._origin.size)

    def _fetch(self, descriptor: Descriptor) -> None:
        with self._origin.open(self._size, None) as source:
            while self._size < self._origin.size:
                data = source.read(_READ_BYTES)
                if not data:
                    raise StorageError(self._origin.key, "ends before the size that it has")
                self._off_loop(self._write, descriptor, memoryview(data))

    def _write(self, descriptor: Descriptor, data: memoryview) -> None:
        with descriptor as fd:
            self._room.check(fd)
            while data:
                count = os.pwrite(fd, data[:_PIECE_BYTES], self._size)
                self._size += count
                self.fetched += count
                data = data[count:]
                self._verification.advance(fd, self._size)

    def _hash(self, descriptor: Descriptor) -> bool:
        with descriptor as fd:
            return self._verification.advance(fd, self._size)

    def _end(self, descriptor: Descriptor) -> None:
        with descriptor as fd:
            if self._size == self._origin.size and self._verification.is_right():
                self._files.finish(self._origin.name, fd)
                return
            self._files.discard(self._origin.name, fd)
        raise WrongContent(self._origin.key, "the content is not what its name says; discarded")


class WrongContent(StorageError):
    """The origin does not have the content that it should have."""


class Filling(Protocol):
    """What a reader that waits asks of its process."""

    def failure(self, origin: Origin) -> Exception | None:
        """Return why a filler has just given up without bringing anything."""

    def goes_on(self, origin: Origin, fd: int) -> bool:
        """Whether someone is filling the open file, from now on at the latest."""

    def pause(self) -> float:
        """Let some milliseconds pass, and return how many seconds that were."""


class GrowingReadable(Readable):
    """Reads a file of the cache, complete or growing. Takes the descriptor over."""

    def __init__(
        self,
        origin: Origin,
        descriptor: Descriptor,
        bounds: tuple[int, int | None],
        filling: Filling,
        off_loop: OffLoop,
    ) -> None:
        offset, length = bounds
        self._origin = origin
        self._descriptor = descriptor
        self._filling = filling
        self._off_loop = off_loop
        self._rest: Readable | None = None
        self._is_filled = False
        """A filler was seen that has room for all of it."""
        self.size = origin.size
        self.offset = self._position = min(offset, self.size)
        left = self.size - self.offset
        self.length = left if length is None else min(length, left)
        self._end = self.offset + self.length

    def fileno(self) -> int | None:
        fd = self._descriptor.number
        return fd if is_verified(os.fstat(fd)) else None

    def _there(self, fd: int) -> int:
        """Return how much of the file may be read."""
        status = os.fstat(fd)
        if is_verified(status):
            return self.size
        if is_wrong(status):
            raise StorageError(self._origin.key, "what came is not what its name says")
        if status.st_size and not self._is_filled:
            # Nobody may ever verify what an earlier filler left, where there is no room.
            self._is_filled = (filling_size(fd) or 0) > NOT_PROMISED
        return min(status.st_size, self.size - 1) if self._is_filled else 0

    def _wait(self) -> int:
        """Return how many bytes are there at the position, once there are any; 0 where they
        must be read at the origin."""
        still_s, next_look_s = 0.0, _STALL_S
        while True:
            there = min(self._there(self._descriptor.number), self._end)
            if there > self._position:
                return there - self._position
            failure = self._filling.failure(self._origin)
            if isinstance(failure, StorageError):
                raise StorageError(self._origin.key, failure.reason)  # all would ask in vain
            if failure is not None or still_s >= _PATIENCE_S:
                return 0
            if still_s >= next_look_s:
                if not self._filling.goes_on(self._origin, self._descriptor.number):
                    return 0
                next_look_s += _STALL_S
            still_s += self._filling.pause()

    def read(self, max_bytes: int) -> bytes:
        wanted = min(max_bytes, self._end - self._position)
        if wanted <= 0:
            return b""
        if self._rest is None and (there := self._wait()):
            wanted = min(wanted, there)
            data = read_at(
                self._origin.key, self._descriptor, wanted, self._position, self._off_loop
            )
        else:
            data = self._read_rest(wanted)
        self._position += len(data)
        return data

    def _read_rest(self, wanted: int) -> bytes:
        data = self._open_rest().read(wanted)
        if not data:
            raise self._ended_early()
        return data

    def _ended_early(self) -> StorageError:
        return StorageError(self._origin.key, "ends before the size that it has")

    def _open_rest(self) -> Readable:
        if self._rest is None:
            self._rest = self._origin.open(self._position, self._end - self._position)
        return self._rest

    def segments(self) -> Iterator[Segment]:
        while self._position < self._end:
            count = self._wait()
            if not count:
                yield from self._rest_of_segments()
                return
            position = self._position
            self._position += count
            yield self._descriptor.number, position, count

    def _rest_of_segments(self) -> Iterator[Segment]:
        for segment in self._open_rest().segments():
            self._position += len(segment) if isinstance(segment, bytes) else segment[2]
            yield segment
        if self._position != self._end:
            raise self._ended_early()

    def close(self) -> None:
        self._descriptor.close()
        if self._rest is not None:
            self._rest.close()
