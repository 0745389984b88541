"""Content below `blobs/`, shared by every repository: sizes, and manifests' verified bytes."""

from __future__ import annotations

from typing import Final

from fastreg.oci.digest import Digest
from fastreg.registry import paths
from fastreg.registry.store import Store, log
from fastreg.storage.errors import NotFound

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
