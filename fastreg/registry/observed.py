"""What an answer was made of, so that it can be given again while that is unchanged.

An `ObservedDriver` stands before the driver for the length of one request. It takes each
object's witness before the object is asked for: one that changes in between has a witness
that no longer holds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Final, TypeVar

from fastreg.storage.base import Driver, Generation, Readable, Stat, Witness, Writer
from fastreg.storage.errors import StorageError

T = TypeVar("T")

MAX_WITNESSES: Final = 3
"""As many as any answer worth keeping has: a tag's link, the revision's, the content."""


class ObservedDriver(Driver):
    """Passes every call on. Whatever a witness cannot vouch for ends the observation."""

    def __init__(self, inner: Driver) -> None:
        self._inner = inner
        self._taken: dict[str, Witness | Generation] | None = {}

    def witnesses(self) -> tuple[Witness | Generation, ...] | None:
        """Return the witnesses of all that was asked, in that order; None where something
        else, or more, was done than to read objects that have one."""
        if self._taken is None or len(self._taken) > MAX_WITNESSES:
            return None
        return tuple(self._taken.values())

    def until(self) -> float | None:
        """Return until when the witnesses tell of every change, on the clock of
        `time.monotonic`; None for always."""
        taken = (self._taken or {}).values()
        return min((each.until for each in taken if isinstance(each, Generation)), default=None)

    def _observing(self, key: str, ask: Callable[..., T], *args: Any) -> T:
        if self._taken is not None and key not in self._taken:
            witness = self._inner.witness(key)
            if witness is None:
                self._taken = None
            else:
                self._taken[key] = witness
        try:
            return ask(key, *args)
        except StorageError:
            self._taken = None  # of what is not there, a counter tells nothing
            raise

    def stat(self, key: str) -> Stat:
        return self._observing(key, self._inner.stat)

    def get(self, key: str, max_bytes: int) -> bytes:
        return self._observing(key, self._inner.get, max_bytes)

    def open(self, key: str, offset: int = 0, length: int | None = None) -> Readable:
        return self._observing(key, self._inner.open, offset, length)

    def prefetch(self, key: str) -> None:
        self._inner.prefetch(key)

    def put(
        self, key: str, data: bytes, *, if_version: str | None = None, durable: bool = True
    ) -> None:
        self._taken = None
        self._inner.put(key, data, if_version=if_version, durable=durable)

    def delete(self, key: str, *, if_version: str | None = None, durable: bool = True) -> None:
        self._taken = None
        self._inner.delete(key, if_version=if_version, durable=durable)

    def sync(self, key: str) -> None:
        self._taken = None
        self._inner.sync(key)

    def list(self, prefix: str, after: str = "") -> Iterator[str]:
        self._taken = None
        return self._inner.list(prefix, after)

    def writer(self, key: str, *, append: bool, destination: str | None = None) -> Writer:
        self._taken = None
        return self._inner.writer(key, append=append, destination=destination)

    def signed_url(self, key: str, lifetime_s: int) -> str | None:
        self._taken = None
        return self._inner.signed_url(key, lifetime_s)
