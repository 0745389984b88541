"""The cache on the local disk: content that is read once from where it comes from.

Nothing that the cache lacks or that goes wrong with it is a reader's problem: what cannot be
kept is read at the origin.
"""

from __future__ import annotations

import os
import random
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final, Protocol

import structlog

from fastreg.storage.base import OffLoop, Readable
from fastreg.storage.cache_files import (
    CacheFiles,
    filling_size,
    is_unused_since_long,
    is_verified,
    note_use,
)
from fastreg.storage.cache_room import NoRoom, Room
from fastreg.storage.descriptors import Descriptor
from fastreg.storage.errors import StorageError
from fastreg.storage.growing import (
    Fill,
    GrowingReadable,
    Origin,
    Verification,
    WrongContent,
)

log = structlog.get_logger()

FAR_BYTES: Final = 8 << 20
"""A range that starts as far ahead of what is there is not waited for."""
MAX_PREFETCHES: Final = 4
"""At once in a process."""
MAX_QUEUED: Final = 1024
_PAUSE_S: Final = 0.005
_PAUSE_A_READER_S: Final = 0.0001
"""So that a thousand who wait do not keep the processor busy with it."""
_FAILED_S: Final = 1.0
_COMPLAIN_S: Final = 60.0


class Spawn(Protocol):
    """Runs `fn(*args)` beside the caller, and returns at once."""

    def __call__(self, fn: Callable[..., object], /, *args: Any) -> object: ...


class Cache:
    """Files below `root`, shared by any number of processes."""

    def __init__(
        self,
        root: str,
        *,
        max_size: int | float,
        sampling: float,
        off_loop: OffLoop,
        spawn: Spawn,
        sleep: Callable[[float], None],
    ) -> None:
        """`max_size` as of `Room`; `sampling` is the share of openings after which a complete
        file is verified again."""
        self._files = CacheFiles(root)
        self._room = Room(root, max_size)
        self._sampling = sampling
        self._off_loop = off_loop
        self._spawn = spawn
        self._sleep = sleep
        self._waiting = 0
        self._running: set[str] = set()
        self._failed: dict[str, tuple[float, Exception]] = {}
        self._verifying = False
        self._wanted: deque[Callable[[], Origin | None]] = deque()
        self._prefetching = 0
        self._complained: dict[str, float] = {}

    def open(self, origin: Origin, offset: int = 0, length: int | None = None) -> Readable:
        """Open the content, or a range of it: of the cache as far as it has it. Raises
        StorageError."""
        if offset < 0 or (length is not None and length < 0):
            raise ValueError("a range starts at 0 or later and is not negative")
        try:
            descriptor = self._open(origin, offset)
        except OSError as error:
            self._complain("content not cached", error, key=origin.key)
            descriptor = None
        if descriptor is None:
            return origin.open(offset, length)
        return GrowingReadable(origin, descriptor, (offset, length), self, self._off_loop)

    def _open(self, origin: Origin, offset: int) -> Descriptor | None:
        """Open what the cache has; None where the origin must be asked."""
        if not origin.size:
            return None  # nothing to keep
        descriptor = self._open_complete(origin)
        if descriptor is not None:
            return descriptor
        if isinstance(self.failure(origin), OSError):
            return None
        self._check_fits(origin)
        descriptor = self._off_loop(self._files.open_growing, origin.name)
        status = os.fstat(descriptor.number)
        if is_verified(status):
            return descriptor
        # The origin's failure was told to those who waited. Who comes now has it asked again,
        # once for all who do.
        self._failed.pop(origin.name, None)
        self.goes_on(origin, descriptor.number)
        if offset > status.st_size + FAR_BYTES:
            descriptor.close()
            return None
        return descriptor

    def _open_complete(self, origin: Origin) -> Descriptor | None:
        descriptor = self._files.open_complete(origin.name)
        if descriptor is None:
            return None
        size = os.fstat(descriptor.number).st_size
        if size != origin.size:
            try:
                self._drop(origin, descriptor, f"{size} bytes instead of {origin.size}")
            finally:
                descriptor.close()
            return None
        if is_unused_since_long(descriptor.number):
            with descriptor as fd:
                self._off_loop(note_use, fd)
        if random.random() < self._sampling and not self._verifying:
            self._verifying = True
            self._spawn(self._verify, origin)
        return descriptor

    def _check_fits(self, origin: Origin) -> None:
        with suppress(FileNotFoundError):  # the directory is made with the first file
            if self._room.is_too_small(origin.size):
                raise NoRoom(f"{origin.size} bytes are more than the cache may have")

    # What readers that wait ask.

    def failure(self, origin: Origin) -> Exception | None:
        if origin.name not in self._failed:
            return None
        failed, error = self._failed[origin.name]
        return error if time.monotonic() < failed + _FAILED_S else None

    def goes_on(self, origin: Origin, fd: int) -> bool:
        if origin.name in self._running or filling_size(fd) is not None:
            return True
        if self.failure(origin) is not None or not self._files.is_growing(origin.name, fd):
            return False
        self._running.add(origin.name)
        self._spawn(self._fill, origin)
        return True

    def pause(self) -> float:
        self._waiting += 1
        try:
            pause_s = max(_PAUSE_S, self._waiting * _PAUSE_A_READER_S)
            self._sleep(pause_s)
            return pause_s
        finally:
            self._waiting -= 1

    def _fill(self, origin: Origin) -> None:
        fill = Fill(origin, self._files, self._room, self._off_loop)
        try:
            fill.run()
        except WrongContent as error:
            log.error("wrong content, not cached", key=origin.key, reason=error.reason)
        except Exception as error:  # the edge of a greenlet that nobody waits for
            self._complain("content not cached", error, key=origin.key)
            if not fill.fetched:
                self._note_failure(origin, error)
        finally:
            self._running.discard(origin.name)

    def _note_failure(self, origin: Origin, error: Exception) -> None:
        now = time.monotonic()
        self._failed = {n: f for n, f in self._failed.items() if now < f[0] + _FAILED_S}
        self._failed[origin.name] = now, error

    def _verify(self, origin: Origin) -> None:
        """Look whether a complete file still is what it was; one at a time."""
        try:
            descriptor = self._files.open_complete(origin.name)
            if descriptor is not None:
                self._verify_open(origin, descriptor)
        except OSError as error:
            self._complain("cache file not verified", error, key=origin.key)
        finally:
            self._verifying = False

    def _verify_open(self, origin: Origin, descriptor: Descriptor) -> None:
        try:
            if damage := self._damage(origin, descriptor):
                self._drop(origin, descriptor, damage)
        finally:
            descriptor.close()

    def _damage(self, origin: Origin, descriptor: Descriptor) -> str:
        verification = Verification(origin.identity)
        with descriptor as fd:
            size = os.fstat(fd).st_size
            try:
                while not self._off_loop(verification.advance, fd, size):
                    pass
            except OSError as error:
                return f"it cannot be read: {error.strerror}"
        return "" if verification.is_right() else "its content is another one"

    def _drop(self, origin: Origin, descriptor: Descriptor, reason: str) -> None:
        with descriptor as fd:
            self._off_loop(self._files.drop, origin.name, fd)
        log.error("damaged cache file, dropped", key=origin.key, reason=reason)

    def prefetch(self, find: Callable[[], Origin | None]) -> None:
        """Fill the file of what `find` returns, soon; forget it where too many wait. `find`
        may wait, and raise StorageError."""
        if len(self._wanted) < MAX_QUEUED:
            self._wanted.append(find)
        if self._wanted and self._prefetching < MAX_PREFETCHES:
            self._prefetching += 1
            self._spawn(self._prefetch_all)

    def _prefetch_all(self) -> None:
        try:
            while self._wanted:
                self._prefetch_one(self._wanted.popleft())
        finally:
            self._prefetching -= 1

    def _prefetch_one(self, find: Callable[[], Origin | None]) -> None:
        try:
            origin = find()
            if origin is not None and (descriptor := self._open(origin, 0)):
                descriptor.close()
                while origin.name in self._running:
                    self._sleep(0.05)
        except (StorageError, OSError) as error:
            self._complain("content not prefetched", error)

    def _complain(self, event: str, error: Exception, **fields: str) -> None:
        """Log a failure, once a minute for each kind."""
        kind = f"{event} {type(error).__name__}"
        now = time.monotonic()
        if now >= self._complained.get(kind, 0.0) + _COMPLAIN_S:
            self._complained[kind] = now
            reason = getattr(error, "reason", None) or getattr(error, "strerror", None)
            unexpected = None if isinstance(error, StorageError | OSError) else error
            log.warning(event, reason=reason or str(error), exc_info=unexpected, **fields)
