"""Manifests of one repository: pushed with everything they need, deleted tags first."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from fastreg.errors import ManifestBlobUnknown, ManifestUnknown
from fastreg.oci.digest import Digest
from fastreg.oci.manifest import Descriptor, InvalidManifest, Manifest, media_type_of, parse
from fastreg.oci.mediatypes import IMAGES, MANIFESTS
from fastreg.registry import paths
from fastreg.registry.blobs import Blobs
from fastreg.registry.content import read_manifest, stored_size
from fastreg.registry.referrers import Referrers
from fastreg.registry.store import Store
from fastreg.registry.tags import UNCONDITIONAL, Condition, Tags

_ROUNDS: Final = 10
"""As often as a push contends with deletions of what it pushes."""
_STEPS_A_TURN: Final = 64
"""References looked up before other requests get their turn."""


@dataclass(frozen=True, slots=True)
class StoredManifest:
    digest: Digest
    content: bytes
    media_type: str


class Manifests:
    def __init__(
        self, store: Store, name: str, blobs: Blobs, tags: Tags, referrers: Referrers
    ) -> None:
        self._store = store
        self._name = name
        self._blobs = blobs
        self._tags = tags
        self._referrers = referrers

    def has(self, digest: Digest) -> bool:
        return self._is_linked(digest) and stored_size(self._store, digest) is not None

    def _is_linked(self, digest: Digest) -> bool:
        return self._store.read_link(paths.revision_link(self._name, digest)) is not None

    def read(self, digest: Digest) -> StoredManifest:
        """Return the bytes as they were pushed, verified. Raises ManifestUnknown, also for
        content that no longer has its digest: a client then pushes it again, which heals."""
        if self._is_linked(digest):
            content = read_manifest(self._store, digest)
            if content is not None:
                return StoredManifest(digest, content, _served_type(content))
        raise ManifestUnknown({"digest": str(digest), "repository": self._name})

    def read_tag(self, tag: str) -> StoredManifest:
        """Return what the tag points at. Raises ManifestUnknown."""
        digest = self._tags.get(tag)
        if digest is None:
            raise ManifestUnknown({"tag": tag, "repository": self._name})
        return self.read(digest)

    def prefetch(self, manifest: StoredManifest) -> None:
        """Bring the blobs of an image nearer: who asks for its manifest asks for them next.
        Of an index, nobody knows which of its images is meant."""
        if manifest.media_type in IMAGES:
            for descriptor in _blobs_of(manifest.content):
                self._blobs.prefetch(descriptor.parsed_digest)

    def put(
        self,
        manifest: Manifest,
        digest: Digest,
        tags: Sequence[str] = (),
        condition: Condition = UNCONDITIONAL,
    ) -> None:
        """Store the manifest and point `tags` at it; durable, in the order that never leaves
        a link to nothing: blob, revision, referrer, tags.

        `digest` must be the manifest's. Raises ManifestBlobUnknown with every reference
        that the repository does not hold, and PreconditionFailed; nothing is stored then,
        unless a tag changed during the call: the manifest and the tags before it are.
        """
        tags = list(dict.fromkeys(tags))
        for tag in tags:
            condition.check(self._tags.get(tag))
        missing = [_as_detail(d) for d in self._missing(manifest)]
        if missing:
            raise ManifestBlobUnknown(missing)
        self._store.driver.put(paths.blob_data(digest), manifest.content)
        self._link(manifest, digest)
        for tag in tags:
            self._tags.set(tag, digest, condition)
        self._stay(manifest, digest, tags)

    def _stay(self, manifest: Manifest, digest: Digest, tags: Sequence[str]) -> None:
        """Hold a push against a deletion of the same manifest at the same moment.

        The deletion spares tags that were set since it looked for the revision. So a push
        that finds its revision gone links it, and then sets its tags once more.
        """
        for _ in range(_ROUNDS):
            lost = [tag for tag in tags if self._tags.get(tag) is None]
            if self._is_linked(digest) and not lost:
                return
            self._link(manifest, digest)
            for tag in tags:
                self._tags.set_again(tag, digest)

    def _link(self, manifest: Manifest, digest: Digest) -> None:
        self._store.write_link(paths.revision_link(self._name, digest), digest)
        if manifest.subject:
            self._referrers.add(manifest.subject.parsed_digest, digest)

    def _missing(self, manifest: Manifest) -> Iterator[Descriptor]:
        seen: set[str] = set()
        for number, descriptor in enumerate((*manifest.blobs, *manifest.manifests)):
            if number % _STEPS_A_TURN == _STEPS_A_TURN - 1:
                self._store.give_way()
            if descriptor.digest not in seen and not self._holds(manifest, descriptor):
                yield descriptor
            seen.add(descriptor.digest)

    def _holds(self, manifest: Manifest, descriptor: Descriptor) -> bool:
        digest = descriptor.parsed_digest
        if manifest.manifests and descriptor.media_type in MANIFESTS | {""}:
            return self.has(digest)
        return self._blobs.has(digest)

    def delete(self, digest: Digest) -> None:
        """Delete the manifest and every tag that points at it; its blobs, its referrers and
        tags of other manifests stay. Raises ManifestUnknown."""
        revision = paths.revision_link(self._name, digest)
        if not self._store.exists(revision):
            raise ManifestUnknown({"digest": str(digest), "repository": self._name})
        self._tags.delete_all_of(digest)
        subject = _subject_of(read_manifest(self._store, digest))
        if subject:
            self._referrers.remove(subject, digest)
        self._store.delete_if_there(revision)
        # A push may have tagged it meanwhile; one that also linked it again keeps its tags.
        self._tags.delete_all_of(digest, unless=lambda: self._is_linked(digest))


def _served_type(content: bytes) -> str:
    try:
        return media_type_of(content)
    except InvalidManifest:
        return "application/octet-stream"


def _blobs_of(content: bytes) -> Sequence[Descriptor]:
    try:
        return parse(content).blobs
    except InvalidManifest:
        return ()


def _subject_of(content: bytes | None) -> Digest | None:
    try:
        subject = parse(content).subject if content else None
    except InvalidManifest:
        return None
    return subject.parsed_digest if subject else None


def _as_detail(descriptor: Descriptor) -> dict[str, Any]:
    return {"digest": descriptor.digest, "mediaType": descriptor.media_type}
