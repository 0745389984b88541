"""What every part of the domain is given: the driver, and how links are read and written."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

import structlog

from fastreg.oci.digest import HEX_LENGTHS, Digest, InvalidDigest
from fastreg.storage.base import Driver, OffLoop
from fastreg.storage.errors import NotFound, StorageError

log = structlog.get_logger()

MAX_LINK_BYTES: Final = 256


@dataclass(frozen=True, slots=True)
class Store:
    driver: Driver
    off_loop: OffLoop
    """For work that computes long; the driver sees to its own waiting."""
    sleep: Callable[[float], None] = time.sleep
    """Waits some seconds, while other requests run."""
    readonly: bool = False
    """Nothing may be written: what would only save time later is left out."""

    def exists(self, key: str) -> bool:
        """Whether an object, however short, is stored under `key`."""
        try:
            self.driver.stat(key)
        except NotFound:
            return False
        return True

    def read_link(self, key: str) -> Digest | None:
        """Return the digest that the link holds; None for an absent, empty or torn one."""
        try:
            text = self._read_short(key)
        except NotFound:
            return None
        try:
            return Digest.parse(text.decode("latin-1").strip())
        except InvalidDigest as e:
            log.warning("torn link, read as absent", key=key, reason=str(e))
            return None

    def _read_short(self, key: str) -> bytes:
        try:
            return self.driver.get(key, MAX_LINK_BYTES)
        except StorageError:
            if self.driver.stat(key).size > MAX_LINK_BYTES:
                return b""  # no link is as long
            # Another program may have begun to write it anew, in place.
            return self.driver.get(key, MAX_LINK_BYTES)

    def write_link(
        self, key: str, digest: Digest, *, if_version: str | None = None, durable: bool = True
    ) -> None:
        """Store the link, atomically, and as `Driver.put` does. Raises Conflict."""
        self.driver.put(key, str(digest).encode(), if_version=if_version, durable=durable)

    def delete_if_there(self, key: str, *, durable: bool = True) -> bool:
        """Delete the object; return whether there was one."""
        try:
            self.driver.delete(key, durable=durable)
        except NotFound:
            return False
        return True

    def give_way(self) -> None:
        """Let other requests run, in the midst of many short steps."""
        self.sleep(0)

    def delete_below(self, prefix: str) -> None:
        """Delete every object below `prefix`; a failure is logged."""
        try:
            for name in self.driver.list(prefix):
                key = f"{prefix}/{name}"
                if not self.delete_if_there(key):
                    self.delete_below(key)
        except StorageError as e:
            log.warning("could not delete all", prefix=prefix, reason=str(e))

    def digests_below(self, root: str) -> Iterator[Digest]:
        """Yield the digests of the keys `<root>/<alg>/<hex>/…`, sorted within an algorithm."""
        for algorithm in HEX_LENGTHS:
            for encoded in self.driver.list(f"{root}/{algorithm}"):
                try:
                    yield Digest.parse(f"{algorithm}:{encoded}")
                except InvalidDigest:
                    continue  # not ours: some other program's file
