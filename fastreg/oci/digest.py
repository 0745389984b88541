"""Digests: `algorithm:hex`, and the algorithms that the registry can verify.

image-spec, descriptor.md "Digests". One gate: a `Digest` that exists is valid.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol

from blake3 import blake3


class Hasher(Protocol):
    def update(self, data: bytes | bytearray | memoryview, /) -> object: ...
    def hexdigest(self) -> str: ...


HEX_LENGTHS: Final = {"sha256": 64, "sha512": 128, "blake3": 64}
_HASHERS: Final[dict[str, Callable[[], Hasher]]] = {
    "sha256": hashlib.sha256,
    "sha512": hashlib.sha512,
    "blake3": blake3,
}
_HEX: Final = re.compile(r"[0-9a-f]+\Z")


class InvalidDigest(ValueError):
    """The text is not a digest that the registry can verify; the message says why."""


@dataclass(frozen=True, slots=True, order=True)
class Digest:
    algorithm: str
    hex: str

    def __str__(self) -> str:
        return f"{self.algorithm}:{self.hex}"

    @classmethod
    def parse(cls, text: str) -> Digest:
        """Return the digest that `text` spells. Raises InvalidDigest."""
        algorithm, colon, encoded = text.partition(":")
        if not colon:
            raise InvalidDigest(f"{text[:150]!r} is not of the form algorithm:hex")
        length = HEX_LENGTHS.get(check_algorithm(algorithm))
        if len(encoded) != length or not _HEX.match(encoded):
            raise InvalidDigest(f"{text[:150]!r}: {algorithm} takes {length} lower-case hex digits")
        return cls(algorithm, encoded)

    @classmethod
    def of(cls, data: bytes, algorithm: str = "sha256") -> Digest:
        """Return the digest of `data`."""
        hasher = _HASHERS[algorithm]()
        hasher.update(data)
        return cls(algorithm, hasher.hexdigest())

    @property
    def is_of_nothing(self) -> bool:
        """Whether this is the digest of zero bytes."""
        return self.hex == _EMPTY[self.algorithm]


def check_algorithm(algorithm: str) -> str:
    """Return `algorithm`, or raise InvalidDigest when the registry cannot compute it."""
    if algorithm not in HEX_LENGTHS:
        known = ", ".join(HEX_LENGTHS)
        raise InvalidDigest(f"digest algorithm {algorithm[:40]!r} is not one of {known}")
    return algorithm


_EMPTY: Final = {name: Digest.of(b"", name).hex for name in HEX_LENGTHS}
