"""Referrers: manifests that name another one as their `subject`, listed by that subject.

distribution-spec, "Listing Referrers" and "Referrers Tag Schema". The reference registry
keeps no such list: what it stored is found once a process, by reading the revisions that
the repository's `scanned` record does not name yet.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

from fastreg.oci.digest import Digest
from fastreg.oci.manifest import InvalidManifest, Manifest, parse
from fastreg.registry import paths
from fastreg.registry.content import read_manifest
from fastreg.registry.store import Store, log
from fastreg.registry.tags import Tags
from fastreg.storage.errors import NotFound, StorageError

_MAX_RECORD_BYTES: Final = 64 << 20

_POLL_S: Final = 0.02


@dataclass(frozen=True, slots=True)
class Scans:
    """A process's memory of the repositories that it has scanned."""

    done: dict[str, set[tuple[Digest, Digest]]] = field(default_factory=dict)
    """With the (subject, referrer) pairs that were found and could not be stored."""
    running: dict[str, object] = field(default_factory=dict)
    """Each with a token of the request that scans it."""


class Referrers:
    def __init__(self, store: Store, name: str, tags: Tags, scans: Scans) -> None:
        self._store = store
        self._name = name
        self._tags = tags
        self._scans = scans

    def add(self, subject: Digest, digest: Digest) -> None:
        """List `digest` under `subject`, durably; the subject need not exist yet."""
        self._store.write_link(paths.referrer_link(self._name, subject, digest), digest)

    def remove(self, subject: Digest, digest: Digest) -> None:
        # With the record of the scan: another program may push `digest` again.
        self._store.delete_if_there(paths.referrers_scanned(self._name))
        self._store.delete_if_there(paths.referrer_link(self._name, subject, digest))

    def list(
        self, subject: Digest, artifact_type: str = "", after: str = ""
    ) -> Iterator[dict[str, Any]]:
        """Yield the descriptors of manifests that refer to `subject`, by digest, those after
        the digest `after`; with `artifact_type`, only those of it."""
        self._scan_once()
        found = {str(d) for d in self._linked(subject)} | self._in_fallback_tag(subject)
        unstored = {str(d) for s, d in self._scans.done.get(self._name, ()) if s == subject}
        heap = [d for d in found | unstored if d > after]
        heapq.heapify(heap)
        while heap:
            digest = Digest.parse(heapq.heappop(heap))
            manifest = self._manifest(digest)
            if not manifest or not manifest.subject or manifest.subject.digest != str(subject):
                continue  # the fallback tag is a client's word: it may list anything
            if artifact_type in ("", manifest.artifact_type):
                yield manifest.referrer_descriptor(digest)

    def _linked(self, subject: Digest) -> Iterator[Digest]:
        return self._store.digests_below(paths.referrers(self._name, subject))

    def _in_fallback_tag(self, subject: Digest) -> set[str]:
        tag = f"{subject.algorithm[:32]}-{subject.hex[:64]}"
        digest = self._tags.get(tag)
        index = self._manifest(digest) if digest else None
        return {d.digest for d in index.manifests} if index else set()

    def _manifest(self, digest: Digest) -> Manifest | None:
        if self._store.read_link(paths.revision_link(self._name, digest)) is None:
            return None
        content = read_manifest(self._store, digest)
        try:
            return parse(content) if content is not None else None
        except InvalidManifest:
            return None

    def _scan_once(self) -> None:
        """Scan, unless this process has; wait for a scan that another request runs."""
        scans, token = self._scans, object()
        while self._name not in scans.done:
            if scans.running.setdefault(self._name, token) is not token:
                self._store.sleep(_POLL_S)
                continue
            try:
                self._scan()
            finally:
                del scans.running[self._name]
            break

    def _scan(self) -> None:
        """List what other programs pushed."""
        known = self._read_record()
        there = {str(d) for d in self._store.digests_below(paths.revisions(self._name))}
        seen = known & there
        unstored = set()
        for digest in map(Digest.parse, there - known):
            self._store.give_way()
            manifest = self._manifest_if_readable(digest)
            if manifest is None:
                continue  # damaged: looked at again once it is healed
            subject = manifest.subject.parsed_digest if manifest.subject else None
            if subject is None or self._add_found(subject, digest):
                seen.add(str(digest))
            else:
                unstored.add((subject, digest))
        if seen != known:
            self._write_record(seen)
        if there:
            self._scans.done[self._name] = unstored

    def _manifest_if_readable(self, digest: Digest) -> Manifest | None:
        try:
            return self._manifest(digest)
        except StorageError as e:
            log.warning("manifest not read", digest=str(digest), reason=str(e))
            return None

    def _add_found(self, subject: Digest, digest: Digest) -> bool:
        """List what a scan found; return whether that could be stored. A question must be
        answered also where nothing can be written."""
        if self._store.readonly:
            return False
        try:
            self.add(subject, digest)
        except StorageError as e:
            log.warning("referrer not stored", digest=str(digest), reason=str(e))
            return False
        return True

    def _read_record(self) -> set[str]:
        try:
            record = self._store.driver.get(paths.referrers_scanned(self._name), _MAX_RECORD_BYTES)
        except NotFound:
            return set()
        return set(record.decode("latin-1").split())

    def _write_record(self, digests: set[str]) -> None:
        if self._store.readonly:
            return
        record = "\n".join(sorted(digests)).encode()
        try:
            self._store.driver.put(paths.referrers_scanned(self._name), record)
        except StorageError as e:
            log.warning("referrers scan not recorded", repository=self._name, reason=str(e))
