"""Streaming digests: the C core's, whose state can be stored, and blake3, whose cannot."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Protocol

from blake3 import blake3

from fastreg.fastlane import Sha256, Sha512, Sink
from fastreg.oci.digest import Digest, Hasher
from fastreg.registry.store import Store

READ_BYTES: Final = 1 << 20

RESUMABLE: Final[dict[str, type[Sha256] | type[Sha512]]] = {"sha256": Sha256, "sha512": Sha512}
"""The algorithms whose state is stored with an upload (Go's serialisation)."""


class Source(Protocol):
    """What arrives piece by piece: a request's body, or a stored object."""

    def read(self, max_bytes: int, /) -> bytes:
        """Return 1..max_bytes bytes, b"" at the end."""


Pour = Callable[[Sink, int], int]
"""Brings up to so many bytes into the file of a sink, unseen by Python, and returns how many:
0 at the end, or where the file takes no more (`sink.failure`)."""


def pour_of(source: Source) -> Pour | None:
    """Return the source's own way into a file, where it has one."""
    return getattr(source, "pour", None)


def new_hasher(algorithm: str) -> Hasher:
    """Return a hasher of nothing yet."""
    resumable = RESUMABLE.get(algorithm)
    return resumable() if resumable else blake3()


def hash_rest(store: Store, hasher: Hasher, source: Source) -> None:
    """Feed `source` to `hasher` to its end, off the event loop."""
    while data := source.read(READ_BYTES):
        store.off_loop(hasher.update, data)


def digest_now(algorithm: str, hasher: Hasher) -> Digest:
    return Digest(algorithm, hasher.hexdigest())
