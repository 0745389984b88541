"""Tags of one repository: names that move. The current link decides; the index remembers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from fastreg.errors import ManifestUnknown, PreconditionFailed
from fastreg.oci.digest import Digest
from fastreg.oci.names import is_tag
from fastreg.registry import paths
from fastreg.registry.store import Store
from fastreg.storage.base import ABSENT
from fastreg.storage.errors import Conflict, NotFound


@dataclass(frozen=True, slots=True)
class Condition:
    """What must hold for a tag to be changed (RFC 9110, section 13.1)."""

    must_not_exist: bool = False
    """`If-None-Match: *`"""
    must_be: frozenset[str] | None = None
    """`If-Match`: digests; `*` among them means any."""

    def check(self, current: Digest | None) -> None:
        """Raise PreconditionFailed unless `current` fits."""
        if self.must_not_exist and current is not None:
            raise PreconditionFailed(f"it exists, as {current}")
        if self.must_be is not None:
            if current is None:
                raise PreconditionFailed("it does not exist")
            if "*" not in self.must_be and str(current) not in self.must_be:
                raise PreconditionFailed(f"it is {current}")


UNCONDITIONAL = Condition()


class Tags:
    def __init__(self, store: Store, name: str) -> None:
        self._store = store
        self._name = name

    def get(self, tag: str) -> Digest | None:
        """Return what the tag points at, None when it is absent or torn."""
        return self._store.read_link(paths.tag_current(self._name, tag))

    def set(self, tag: str, digest: Digest, condition: Condition = UNCONDITIONAL) -> None:
        """Point the tag at `digest`: atomic, durable, and only if `condition` holds at that
        moment. Raises PreconditionFailed."""
        version = self._version_if(tag, condition)
        self._store.write_link(paths.tag_index_link(self._name, tag, digest), digest)
        try:
            self._store.write_link(paths.tag_current(self._name, tag), digest, if_version=version)
        except Conflict:
            raise PreconditionFailed("it was changed at the same moment") from None

    def _version_if(self, tag: str, condition: Condition) -> str | None:
        if condition == UNCONDITIONAL:
            return None
        try:
            version = self._store.driver.stat(paths.tag_current(self._name, tag)).version
        except NotFound:
            version = ABSENT
        condition.check(self.get(tag))
        return version

    def delete(self, tag: str) -> None:
        """Delete the tag; what it pointed at and every other tag stay. Raises
        ManifestUnknown, after removing what an interrupted deletion may have left."""
        existed = self._store.delete_if_there(paths.tag_current(self._name, tag))
        self._forget_history(tag)
        if not existed:
            raise ManifestUnknown({"tag": tag, "repository": self._name})

    def set_again(self, tag: str, digest: Digest) -> None:
        """Point the tag at `digest` anew, if it does or is gone; what others set stays."""
        key = paths.tag_current(self._name, tag)
        try:
            version = self._store.driver.stat(key).version
        except NotFound:
            version = ABSENT
        if self.get(tag) not in (None, digest):
            return
        self._store.write_link(paths.tag_index_link(self._name, tag, digest), digest)
        try:
            self._store.write_link(key, digest, if_version=version)
        except Conflict:
            return  # set by someone else in between

    def delete_all_of(self, digest: Digest, unless: Callable[[], bool] | None = None) -> None:
        """Delete every tag that points at `digest`: none that moves away meanwhile, and none
        while `unless` holds or that was set after it was last asked."""
        for tag in self._names():
            if self._delete_if(tag, digest, unless):
                self._forget_history(tag)

    def _delete_if(self, tag: str, digest: Digest, unless: Callable[[], bool] | None) -> bool:
        """Delete the tag if it points at `digest`; return whether it is gone."""
        key = paths.tag_current(self._name, tag)
        try:
            version = self._store.driver.stat(key).version
            if self.get(tag) != digest:
                if unless is None:
                    self._forget_once_was(tag, digest)
                return False
            if unless and unless():
                return False
            self._store.driver.delete(key, if_version=version)
        except NotFound:
            return True
        except Conflict:
            return False  # moved by someone else in between: no longer ours to delete
        return True

    def _forget_once_was(self, tag: str, digest: Digest) -> None:
        key = paths.tag_index_link(self._name, tag, digest)
        if self._store.exists(key):
            self._store.delete_if_there(key)

    def _forget_history(self, tag: str) -> None:
        for digest in self._store.digests_below(paths.tag_index(self._name, tag)):
            self._store.delete_if_there(paths.tag_index_link(self._name, tag, digest))

    def list(self, after: str = "") -> Iterator[str]:
        """Yield the tags that sort after `after`, bytewise; none that reads as absent."""
        return (tag for tag in self._names(after) if self.get(tag))

    def _names(self, after: str = "") -> Iterator[str]:
        return (t for t in self._store.driver.list(paths.tags(self._name), after) if is_tag(t))
