"""A driver before another one that is far away: content on the local disk, changes told.

What `identify` knows never changes under its key and is read through the cache. All else
passes on, and every change moves the key's generation, for every process of the machine.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

from fastreg.storage.base import (
    Driver,
    Generation,
    Readable,
    Stat,
    Witness,
    Writer,
    check_key,
)
from fastreg.storage.cache import Cache
from fastreg.storage.generations import Generations
from fastreg.storage.growing import Identity, Origin
from fastreg.storage.memory import Memory

Identify = Callable[[str], Identity | None]


class CachedDriver(Driver):
    """Asks `inner` whatever it is asked; the contents of blobs come from the cache."""

    def __init__(
        self,
        inner: Driver,
        cache: Cache,
        memory: Memory,
        generations: Generations,
        identify: Identify,
    ) -> None:
        self._inner = inner
        self._cache = cache
        self._memory = memory
        self._generations = generations
        self._identify = identify

    def for_reading(self) -> Driver:
        return _RememberingDriver(
            self._inner, self._cache, self._memory, self._generations, self._identify
        )

    def at_once(self, *calls: Callable[[], Any]) -> list[Any]:
        return self._inner.at_once(*calls)

    def stat(self, key: str) -> Stat:
        return self._inner.stat(key)

    def witness(self, key: str) -> Witness | Generation | None:
        return self._inner.witness(key)

    def signed_url(self, key: str, lifetime_s: int) -> str | None:
        return self._inner.signed_url(key, lifetime_s)

    def get(self, key: str, max_bytes: int) -> bytes:
        return self._inner.get(key, max_bytes)

    def list(self, prefix: str, after: str = "") -> Iterator[str]:
        return self._inner.list(prefix, after)

    def open(self, key: str, offset: int = 0, length: int | None = None) -> Readable:
        origin = self._origin(key)
        if origin is None:
            return self._inner.open(key, offset, length)
        return self._cache.open(origin, offset, length)

    def prefetch(self, key: str) -> None:
        self._cache.prefetch(lambda: self._origin(key))

    def _origin(self, key: str) -> Origin | None:
        """Return where the cache has the object from; None for one that can change."""
        identity = self._identify(check_key(key))
        if identity is None:
            return None

        def open_inner(offset: int, length: int | None) -> Readable:
            return self._inner.open(key, offset, length)

        return Origin(key, self.stat(key).size, identity, open_inner)

    @contextmanager
    def _changing(self, *keys: str) -> Iterator[None]:
        for key in keys:
            check_key(key)
        try:
            yield
        finally:
            # After a failure too: the change may have taken effect.
            for key in keys:
                self._generations.advance(key)

    def put(
        self, key: str, data: bytes, *, if_version: str | None = None, durable: bool = True
    ) -> None:
        with self._changing(key):
            self._inner.put(key, data, if_version=if_version, durable=durable)

    def delete(self, key: str, *, if_version: str | None = None, durable: bool = True) -> None:
        with self._changing(key):
            self._inner.delete(key, if_version=if_version, durable=durable)

    def sync(self, key: str) -> None:
        self._inner.sync(key)

    def writer(self, key: str, *, append: bool, destination: str | None = None) -> Writer:
        with self._changing(key):
            writer = self._inner.writer(key, append=append, destination=destination)
        return _TellingWriter(writer, lambda *also: self._changing(key, *also))


class _RememberingDriver(CachedDriver):
    """For questions: what it tells of an object may be as old as the memory allows."""

    def for_reading(self) -> Driver:
        return self

    def stat(self, key: str) -> Stat:
        return self._memory.stat(check_key(key))

    def get(self, key: str, max_bytes: int) -> bytes:
        return self._memory.get(check_key(key), max_bytes)

    def witness(self, key: str) -> Witness | Generation | None:
        return self._memory.witness(check_key(key))


class _TellingWriter(Writer):
    """Passes every call on, and tells of what others can see of it."""

    def __init__(
        self, inner: Writer, changing: Callable[..., AbstractContextManager[None]]
    ) -> None:
        self._inner = inner
        self._changing = changing
        self.keeps_bytes = inner.keeps_bytes

    @property
    def size(self) -> int:  # type: ignore[override]  # of the writer behind, at any time
        return self._inner.size

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self._inner.write(data)

    @property
    def file(self) -> AbstractContextManager[int] | None:
        return self._inner.file

    @property
    def room(self) -> int:
        return self._inner.room

    def wrote(self, size: int, failure: OSError | None) -> None:
        self._inner.wrote(size, failure)

    def sync(self) -> None:
        with self._changing():
            self._inner.sync()

    def commit(self, final_key: str) -> None:
        with self._changing(final_key):
            self._inner.commit(final_key)

    def abort(self) -> None:
        with self._changing():
            self._inner.abort()

    def close(self) -> None:
        with self._changing():
            self._inner.close()
