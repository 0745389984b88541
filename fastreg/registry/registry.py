"""The registry: all repositories over one store."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from heapq import heappop, heappush
from itertools import chain

from fastreg.errors import InsufficientStorage, InternalError, RegistryError, StorageFailed
from fastreg.oci.digest import Digest
from fastreg.oci.names import is_name
from fastreg.registry import paths
from fastreg.registry.content import stored_size
from fastreg.registry.referrers import Scans
from fastreg.registry.repository import Repository
from fastreg.registry.store import Store
from fastreg.storage.base import Driver, OffLoop, run_inline
from fastreg.storage.errors import InvalidKey, NoSpace, StorageError


class Registry:
    def __init__(
        self,
        driver: Driver,
        off_loop: OffLoop = run_inline,
        *,
        sleep: Callable[[float], None] = time.sleep,
        readonly: bool = False,
    ) -> None:
        """With `readonly`, questions write nothing either; refusing pushes is the API's."""
        self.store = Store(driver, off_loop, sleep, readonly)
        self._scans = Scans()

    def over(self, driver: Driver) -> Registry:
        """Return this registry, asking `driver` for what is stored."""
        store = self.store
        view = Registry(driver, store.off_loop, sleep=store.sleep, readonly=store.readonly)
        view._scans = self._scans
        return view

    def repository(self, name: str) -> Repository:
        """Return the repository; it need not exist yet. `name` has passed `check_name`."""
        return Repository(self.store, name, self._scans)

    def names(self, after: str = "") -> Iterator[str]:
        """Yield the names of repositories that sort after `after`, bytewise over the whole
        name: `a`, `a-b`, `a/b`."""
        return self._names_below("", after)

    def _names_below(self, parent: str, after: str) -> Iterator[str]:
        # A repository sorts as its name, what is nested in it as its name and a slash.
        nested: list[str] = []
        for component in self._components(parent, after):
            while nested and nested[0] < component:
                yield from self._names_nested(parent + heappop(nested), after)
            name = parent + component
            if name > after and self._is_repository(name):
                yield name
            heappush(nested, component + "/")
        while nested:
            yield from self._names_nested(parent + heappop(nested), after)

    def _names_nested(self, parent: str, after: str) -> Iterator[str]:
        if is_name(parent[:-1]) and (parent > after or after.startswith(parent)):
            yield from self._names_below(parent, after)

    def _components(self, parent: str, after: str) -> Iterator[str]:
        """Yield the components below `parent` that can lead to names after `after`, sorted."""
        prefix = paths.REPOSITORIES + ("/" + parent.rstrip("/") if parent else "")
        names = self.store.driver.list
        first = after.removeprefix(parent).partition("/")[0] if after.startswith(parent) else ""
        # `a` sorts before `a-b`, what is nested in it after: such a name is looked for.
        earlier = (first[:end] for end in range(1, len(first) + 1))
        found = (c for c in earlier if is_name(c) and next(names(f"{prefix}/{c}"), None))
        return (c for c in chain(found, names(prefix, first)) if is_name(c))

    def _is_repository(self, name: str) -> bool:
        return is_name(name) and self.repository(name).exists()

    def holders(self, digest: Digest) -> Iterator[Repository]:
        """Yield the repositories that hold the blob; walks all of them."""
        if stored_size(self.store, digest) is None:
            return
        for name in self.names():
            repository = self.repository(name)
            if repository.blobs.has(digest):
                yield repository


def explain(error: Exception) -> RegistryError:
    """Return the answer that a failure deserves, whatever it is."""
    if isinstance(error, RegistryError):
        return error
    if isinstance(error, NoSpace):
        return InsufficientStorage(
            "make room on the registry's disk, then try again; "
            "an upload session keeps what it received"
        )
    if isinstance(error, InvalidKey):
        return InternalError("the request leads to a storage key that is not valid")
    if isinstance(error, StorageError):
        return StorageFailed(error.reason or "see the registry's log")
    return InternalError()
