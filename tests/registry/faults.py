"""A driver whose every call can be watched and made to fail, over a real one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from fastreg.storage.base import Driver, Generation, Readable, Stat, Witness, Writer

Hook = Callable[[str, str], None]
"""Told the call (`put`, `delete`, `open`, `writer.sync`, …) and its key; may raise."""

MUTATING = frozenset({"put", "delete", "writer", "write", "sync", "commit", "abort"})


def ignore(call: str, key: str) -> None:
    """Nothing happens."""


class HookedDriver(Driver):
    """Calls `before` ahead of each call, and `after` before it returns or raises.

    `partial` is asked how many bytes of a write get through before it fails with what
    `before` raised: the rest of a disk.
    """

    def __init__(self, inner: Driver) -> None:
        self.inner = inner
        self.before = self.after = ignore
        self.partial: Callable[[int], int] = lambda size: 0

    @contextmanager
    def around(self, call: str, key: str) -> Iterator[None]:
        self.before(call, key)
        try:
            yield
        finally:
            self.after(call, key)

    def stat(self, key: str) -> Stat:
        with self.around("stat", key):
            return self.inner.stat(key)

    def witness(self, key: str) -> Witness | Generation | None:
        with self.around("witness", key):
            return self.inner.witness(key)

    def get(self, key: str, max_bytes: int) -> bytes:
        with self.around("get", key):
            return self.inner.get(key, max_bytes)

    def put(
        self, key: str, data: bytes, *, if_version: str | None = None, durable: bool = True
    ) -> None:
        with self.around("put", key):
            self.inner.put(key, data, if_version=if_version, durable=durable)

    def delete(self, key: str, *, if_version: str | None = None, durable: bool = True) -> None:
        with self.around("delete", key):
            self.inner.delete(key, if_version=if_version, durable=durable)

    def sync(self, key: str) -> None:
        with self.around("sync key", key):
            self.inner.sync(key)

    def list(self, prefix: str, after: str = "") -> Iterator[str]:
        with self.around("list", prefix):
            return self.inner.list(prefix, after)

    def open(self, key: str, offset: int = 0, length: int | None = None) -> Readable:
        with self.around("open", key):
            return self.inner.open(key, offset, length)

    def writer(self, key: str, *, append: bool, destination: str | None = None) -> Writer:
        with self.around("open writer" if append else "writer", key):
            return HookedWriter(self, key, self.inner.writer(key, append=append))


class HookedWriter(Writer):
    def __init__(self, driver: HookedDriver, key: str, inner: Writer) -> None:
        self._driver = driver
        self._key = key
        self._inner = inner

    @property
    def size(self) -> int:  # type: ignore[override]  # read-only here
        return self._inner.size

    def write(self, data: bytes | bytearray | memoryview) -> None:
        try:
            self._driver.before("write", self._key)
        except BaseException:
            self._inner.write(memoryview(data)[: self._driver.partial(len(data))])
            raise
        self._inner.write(data)
        self._driver.after("write", self._key)

    @property
    def file(self) -> None:
        """None, so that every byte comes by `write`."""

    @property
    def room(self) -> int:
        raise AssertionError("there is no file to write to")

    def wrote(self, size: int, failure: OSError | None) -> None:
        raise AssertionError("there is no file to write to")

    def sync(self) -> None:
        with self._driver.around("sync", self._key):
            self._inner.sync()

    def commit(self, final_key: str) -> None:
        with self._driver.around("commit", final_key):
            self._inner.commit(final_key)

    def abort(self) -> None:
        with self._driver.around("abort", self._key):
            self._inner.abort()

    def close(self) -> None:
        self._inner.close()


class Crash(BaseException):
    """The process ends here."""


@dataclass
class CrashAt:
    """Lets a process die before, after or in the middle of its n-th change.

    Nothing that it does afterwards, in its own cleaning up, changes anything any more.
    """

    step: int
    moment: str = "before"
    steps: int = 0
    dead: bool = False
    calls: list[str] = field(default_factory=list)

    def attach(self, driver: HookedDriver) -> HookedDriver:
        driver.before, driver.after = self.before, self.after
        driver.partial = lambda size: size // 2 if self._dies("middle") else 0
        return driver

    def before(self, call: str, key: str) -> None:
        if call not in MUTATING:
            return
        if self.dead:
            raise Crash(f"{call} {key} of a dead process")
        self.steps += 1
        self.calls.append(f"{call} {key}")
        if self.steps == self.step and self.moment != "after":
            self.dead = True
            raise Crash(self.calls[-1])

    def after(self, call: str, key: str) -> None:
        if call in MUTATING and self.steps == self.step:
            self.dead = True
            raise Crash(self.calls[-1])

    def _dies(self, moment: str) -> bool:
        return self.moment == moment and self.steps == self.step
