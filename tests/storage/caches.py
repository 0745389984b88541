"""A far store with faults at will, and a cache before it, as a server puts them together."""

from __future__ import annotations

import hashlib
import os
import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import gevent

from fastreg.oci.digest import Digest
from fastreg.registry import paths
from fastreg.registry.content import identify
from fastreg.server.offloop import run_in_thread
from fastreg.storage.base import Readable, Segment
from fastreg.storage.cache import Cache
from fastreg.storage.cached import CachedDriver
from fastreg.storage.errors import StorageError
from fastreg.storage.generations import Generations
from fastreg.storage.local import LocalDriver
from fastreg.storage.local_handles import LocalReadable
from fastreg.storage.memory import Memory


@dataclass
class Faults:
    """What goes wrong with the next readings."""

    delay_s: float = 0.0
    """Before each piece."""
    piece_bytes: int = 1 << 20
    fail_at: int | None = None
    """Readings fail at this offset, `failures` times."""
    failures: int = 1 << 30
    flip_at: int | None = None
    """The byte that is wrong."""
    end_at: int | None = None
    gate: Callable[[int], None] = lambda offset: None
    """Called before each piece."""


@dataclass
class FarDriver(LocalDriver):
    """Keeps a record of what was read of it, in a file that processes share."""

    root: Path
    faults: Faults = field(default_factory=Faults)

    def __post_init__(self) -> None:
        super().__init__(self.root, run_in_thread)
        self._record = self.root.with_name("record")

    def note(self, line: str) -> None:
        with open(self._record, "a") as record:
            record.write(line + "\n")

    def _noted(self, what: str) -> list[int]:
        lines = self._record.read_text().split("\n") if self._record.exists() else []
        return [int(line.split()[1]) for line in lines if line.startswith(what)]

    @property
    def opened(self) -> list[int]:
        """The offsets from which content was opened."""
        return self._noted("open ")

    @property
    def sent(self) -> int:
        """Bytes that were read in all."""
        return sum(self._noted("read "))

    def open(self, key: str, offset: int = 0, length: int | None = None) -> LocalReadable:
        self.note(f"open {offset}")
        inner = super().open(key, offset, length)
        return FarReadable(inner, self)  # type: ignore[return-value]


class FarReadable(Readable):
    def __init__(self, inner: LocalReadable, far: FarDriver) -> None:
        self._inner = inner
        self._far = far
        self.size, self.offset, self.length = inner.size, inner.offset, inner.length
        self._position = inner.offset

    def fileno(self) -> None:
        return None

    def read(self, max_bytes: int) -> bytes:
        faults = self._far.faults
        run_in_thread(faults.gate, self._position)
        run_in_thread(time.sleep, faults.delay_s)
        wanted = min(max_bytes, faults.piece_bytes)
        if faults.fail_at is not None and faults.failures:
            if self._position >= faults.fail_at:
                faults.failures -= 1
                raise StorageError("far", "cut")
            wanted = min(wanted, faults.fail_at - self._position)
        if faults.end_at is not None:
            wanted = min(wanted, max(0, faults.end_at - self._position))
        data = bytearray(self._inner.read(wanted))
        if faults.flip_at is not None and 0 <= faults.flip_at - self._position < len(data):
            data[faults.flip_at - self._position] ^= 1
        self._far.note(f"read {len(data)}")
        self._position += len(data)
        return bytes(data)

    def close(self) -> None:
        self._inner.close()


def content(size: int, seed: int = 0) -> bytes:
    return random.Random(seed).randbytes(size)


def key_of(data: bytes) -> str:
    return paths.blob_data(Digest("sha256", hashlib.sha256(data).hexdigest()))


@dataclass
class Caching:
    """One process's view of a far store and the cache before it."""

    root: Path
    options: dict[str, Any] = field(default_factory=dict)
    revalidate_s: float = 60.0

    def __post_init__(self) -> None:
        self.far = FarDriver(self.root / "far")
        self.path = self.root / "cache"
        self.generations = Generations()
        self.cache = Cache(
            str(self.path),
            off_loop=run_in_thread,
            spawn=gevent.spawn,
            sleep=gevent.sleep,
            **{"max_size": 0.8, "sampling": 0.0} | self.options,
        )
        self.memory = Memory(self.far, self.generations, self.revalidate_s, gevent.sleep)
        self.driver = CachedDriver(self.far, self.cache, self.memory, self.generations, identify)

    def put(self, size: int, seed: int = 0) -> tuple[str, bytes]:
        """Store a blob; return its key and its bytes."""
        data = content(size, seed)
        key = key_of(data)
        self.far.put(key, data)
        return key, data

    def read(self, key: str, offset: int = 0, length: int | None = None) -> bytes:
        with self.driver.open(key, offset, length) as readable:
            return b"".join(bytes_of(segment) for segment in readable.segments())

    def file(self, key: str) -> Path:
        """The complete file of the blob."""
        known = identify(key)
        assert known is not None
        return self.path / known.name

    def partial(self, key: str) -> Path:
        return self.file(key).with_name(self.file(key).name + ".partial")

    def settle(self) -> None:
        """Wait until nothing is filled in this process any more."""
        with gevent.Timeout(60):
            while self.cache._running or self.cache._verifying or self.cache._prefetching:
                gevent.sleep(0.001)


def bytes_of(segment: Segment) -> bytes:
    if isinstance(segment, bytes):
        return segment
    fd, offset, length = segment
    data = os.pread(fd, length, offset)
    assert len(data) == length
    return data
