"""Every byte that comes is hashed, and compared with its digest."""

from __future__ import annotations

import hashlib
import threading
from typing import Literal

import xxhash

from loadtests.client.failures import DigestMismatch, Failure

Verify = Literal["sha256", "xxh3"]
"""By the digest's own algorithm as docker does it, or by that once a process and digest and
otherwise by XXH3-128: every byte is hashed, at a twentieth of the cost."""


class _Vouching:
    """Which bytes are a digest's, as one pull of each has proven for all pulls of the process.

    A herd begins all its pulls before one has ended. One of them hashes for the digest; what
    ended before it is compared when it ends, and the mismatch is then told of that one.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._proven: dict[str, bytes] = {}
        """Digest → XXH3-128 of its bytes."""
        self._provers: dict[str, Verifier] = {}
        self._unproven: dict[str, set[bytes]] = {}

    def is_prover(self, verifier: Verifier, digest: str) -> bool:
        """Return whether this one is to hash for the digest."""
        with self._lock:
            if digest in self._proven:
                return False
            return self._provers.setdefault(digest, verifier) is verifier

    def leave(self, verifier: Verifier, digest: str) -> None:
        """Let another one prove it."""
        with self._lock:
            if self._provers.get(digest) is verifier:
                del self._provers[digest]

    def prove(self, digest: str, fast: bytes) -> bool:
        """Return whether all that ended before had these bytes too."""
        with self._lock:
            self._proven[digest] = fast
            return self._unproven.pop(digest, set()) <= {fast}

    def compare(self, digest: str, fast: bytes) -> bool:
        """Return whether nothing is known against these bytes."""
        with self._lock:
            known = self._proven.get(digest)
            if known is None:
                self._unproven.setdefault(digest, set()).add(fast)
            return known in (None, fast)


_vouching = _Vouching()


class Verifier:
    """The bytes of one digest, as they come; a context that ends when they do."""

    def __init__(self, digest: str, verify: Verify) -> None:
        self._digest = digest
        self._fast = xxhash.xxh3_128() if verify == "xxh3" else None
        is_slow = self._fast is None or _vouching.is_prover(self, digest)
        self._slow = hasher_of(digest) if is_slow else None
        self._update = tuple(h.update for h in (self._fast, self._slow) if h is not None)

    def __enter__(self) -> Verifier:
        return self

    def __exit__(self, *_: object) -> None:
        _vouching.leave(self, self._digest)

    def update(self, piece: bytes | memoryview) -> None:
        for update in self._update:
            update(piece)

    def finish(self) -> None:
        """Raise DigestMismatch unless the bytes are those of the digest."""
        if self._slow is not None and self._slow.hexdigest() != self._digest.partition(":")[2]:
            raise DigestMismatch(f"the bytes of {self._digest} are not its own, by its digest")
        if self._fast is None:
            return
        settle = _vouching.compare if self._slow is None else _vouching.prove
        if not settle(self._digest, self._fast.digest()):
            raise DigestMismatch(f"not all pulls of {self._digest} have its bytes, by XXH3")


def hasher_of(digest: str) -> hashlib._Hash:
    """Return the hasher of a digest's algorithm."""
    algorithm = digest.partition(":")[0]
    if algorithm not in ("sha256", "sha384", "sha512"):
        raise Failure(f"the digest {digest!r} cannot be verified")
    return hashlib.new(algorithm)


def digest_of(content: bytes, algorithm: str = "sha256") -> str:
    return f"{algorithm}:{hashlib.new(algorithm, content).hexdigest()}"
