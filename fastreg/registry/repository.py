"""One repository: its blobs, uploads, tags, referrers and manifests."""

from __future__ import annotations

from fastreg.registry import paths
from fastreg.registry.blobs import Blobs
from fastreg.registry.manifests import Manifests
from fastreg.registry.referrers import Referrers, Scans
from fastreg.registry.store import Store
from fastreg.registry.tags import Tags
from fastreg.registry.uploads import Uploads


class Repository:
    def __init__(self, store: Store, name: str, scans: Scans) -> None:
        self._store = store
        self.name = name
        self.blobs = Blobs(store, name)
        self.uploads = Uploads(store, name, self.blobs)
        self.tags = Tags(store, name)
        self.referrers = Referrers(store, name, self.tags, scans)
        self.manifests = Manifests(store, name, self.blobs, self.tags, self.referrers)

    def exists(self) -> bool:
        """Whether anything was ever finished here: a layer or a manifest is linked."""
        roots = (paths.manifests_root(self.name), paths.layers_root(self.name))
        return any(next(iter(self._store.driver.list(root)), None) for root in roots)
