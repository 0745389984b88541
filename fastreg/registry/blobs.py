"""Blobs of one repository: content that is shared by all, and the link that grants it."""

from __future__ import annotations

from dataclasses import dataclass

from fastreg.errors import BlobUnknown
from fastreg.oci.digest import Digest
from fastreg.registry import paths
from fastreg.registry.content import stored_size
from fastreg.registry.store import Store
from fastreg.storage.base import Driver, Readable
from fastreg.storage.errors import NotFound


@dataclass(frozen=True, slots=True)
class Blob:
    """A blob that was found in a repository: to be asked for no second time."""

    size: int
    _driver: Driver
    _key: str
    _gone: BlobUnknown

    def open(self, offset: int = 0, length: int | None = None) -> Readable:
        """Open the blob, or a range of it. Raises BlobUnknown when it is gone meanwhile."""
        try:
            return self._driver.open(self._key, offset, length)
        except NotFound:
            raise self._gone from None

    def signed_url(self, lifetime_s: int) -> str | None:
        """Return a URL where anyone can read the blob for that long; None where the store
        gives none."""
        return self._driver.signed_url(self._key, lifetime_s)


class Blobs:
    def __init__(self, store: Store, name: str) -> None:
        self._store = store
        self._name = name

    def find(self, digest: Digest) -> Blob:
        """Return what is known of the blob. Raises BlobUnknown when it is not of this
        repository."""
        content, size = self._content(digest)
        key = paths.blob_data(content)
        return Blob(size, self._store.driver, key, self._unknown(digest))

    def has(self, digest: Digest) -> bool:
        try:
            self._content(digest)
        except BlobUnknown:
            return False
        return True

    def prefetch(self, digest: Digest) -> None:
        """Bring the content nearer, where the driver can. Returns at once."""
        self._store.driver.prefetch(paths.blob_data(digest))

    def _content(self, digest: Digest) -> tuple[Digest, int]:
        """Return the digest under which the content is stored, and its size.

        The link says which: the reference registry keeps a sha512 blob under its sha256.
        """
        content = self._store.read_link(paths.layer_link(self._name, digest))
        size = stored_size(self._store, content) if content else None
        if content is None or size is None:
            raise self._unknown(digest)
        return content, size

    def _unknown(self, digest: Digest) -> BlobUnknown:
        return BlobUnknown({"digest": str(digest), "repository": self._name})

    def link(self, digest: Digest) -> None:
        """Grant the repository a blob that is stored under its digest; durable."""
        self._store.write_link(paths.layer_link(self._name, digest), digest)

    def settle(self, digest: Digest) -> None:
        """Make durable what the repository has, and who stored it may still be waiting for."""
        content, _ = self._content(digest)
        self._store.driver.sync(paths.blob_data(content))
        self._store.driver.sync(paths.layer_link(self._name, digest))

    def mount(self, digest: Digest, source: Blobs) -> bool:
        """Grant the repository a blob of another; return whether that one has it."""
        try:
            content, _ = source._content(digest)
        except BlobUnknown:
            return False
        self._store.write_link(paths.layer_link(self._name, digest), content)
        return True

    def delete(self, digest: Digest) -> None:
        """Take the blob from this repository; others keep it. Raises BlobUnknown."""
        if not self._store.delete_if_there(paths.layer_link(self._name, digest)):
            raise self._unknown(digest)
