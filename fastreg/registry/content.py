"""Content below `blobs/`, shared by every repository: sizes, and manifests' verified bytes."""

from __future__ import annotations

from functools import partial
from typing import Final

from fastreg.oci.digest import Digest
from fastreg.registry import paths
from fastreg.registry.hashing import digest_now, new_hasher
from fastreg.registry.store import Store, log
from fastreg.storage.errors import NotFound
from fastreg.storage.growing import Identity

MAX_MANIFEST_BYTES: Final = 4 << 20
"""distribution-spec, "Pushing Manifests": at least this much must be taken."""
_HASH_INLINE_BYTES: Final = 256 << 10


def stored_size(store: Store, digest: Digest) -> int | None:
    """Return the size of the content, None when it is not there.

    A file of no bytes under the digest of something is what a crash of an older registry
    left: it reads as absent, so that pushing again heals it.
    """
    try:
        size = store.driver.stat(paths.blob_data(digest)).size
    except NotFound:
        return None
    if size == 0 and not digest.is_of_nothing:
        log.warning("empty blob, read as absent", digest=str(digest))
        return None
    return size


def read_manifest(store: Store, digest: Digest) -> bytes | None:
    """Return a manifest's bytes, None when they are not there, not those of `digest`, or
    more than a manifest can have."""
    size = stored_size(store, digest)
    if size is None or size > MAX_MANIFEST_BYTES:
        return None
    try:
        content = store.driver.get(paths.blob_data(digest), MAX_MANIFEST_BYTES)
    except NotFound:
        return None
    if len(content) > _HASH_INLINE_BYTES:
        actual = store.off_loop(Digest.of, content, digest.algorithm)
    else:
        actual = Digest.of(content, digest.algorithm)
    if actual != digest:
        log.error("damaged manifest, read as absent", digest=str(digest), actual=str(actual))
        return None
    return content


def identify(key: str) -> Identity | None:
    """Return what is stored under the key for good, None for what can change."""
    digest = paths.digest_of_data(key)
    if digest is None:
        return None
    name = f"{digest.algorithm}/{digest.hex[:2]}/{digest.hex}"
    return Identity(name, partial(_DigestCheck, digest))


class _DigestCheck:
    def __init__(self, digest: Digest) -> None:
        self._digest = digest
        self._hasher = new_hasher(digest.algorithm)

    def update(self, data: memoryview, /) -> object:
        return self._hasher.update(data)

    def is_right(self) -> bool:
        return digest_now(self._digest.algorithm, self._hasher) == self._digest
