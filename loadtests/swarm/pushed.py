"""Images that no registry has: as large as asked for, of a new content each time.

Their layers are noise that differs in its last bytes, so that a digest costs no pass over them.
"""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass

CHUNK_BYTES = 256 << 10
LAYERS = 4
CONFIG_TYPE = "application/vnd.oci.image.config.v1+json"
LAYER_TYPE = "application/vnd.oci.image.layer.v1.tar+gzip"
MANIFEST_TYPE = "application/vnd.oci.image.manifest.v1+json"


@dataclass(frozen=True, slots=True)
class NewBlob:
    media_type: str
    digest: str
    size: int
    chunks: Callable[[], Iterator[bytes]]


@dataclass(frozen=True, slots=True)
class NewImage:
    content: bytes
    """Of its manifest."""
    blobs: tuple[NewBlob, ...]
    """The config first."""

    @property
    def size_bytes(self) -> int:
        return sum(blob.size for blob in self.blobs)


class Images:
    """Makes images of so many bytes."""

    def __init__(self, size: int) -> None:
        self._layer_bytes = size // LAYERS
        self._noise = hashlib.shake_128(b"pushed").digest(CHUNK_BYTES)
        self._hasher = hashlib.sha256()
        for chunk in self._chunks(b""):
            self._hasher.update(chunk)

    def make(self) -> NewImage:
        layers = [self._layer(uuid.uuid4().bytes) for _ in range(LAYERS)]
        config = _described(
            json.dumps(
                {
                    "architecture": "amd64",
                    "os": "linux",
                    "rootfs": {"type": "layers", "diff_ids": [blob.digest for blob in layers]},
                }
            ).encode()
        )
        blobs = (config, *layers)
        entries = [
            {"mediaType": blob.media_type, "digest": blob.digest, "size": blob.size}
            for blob in blobs
        ]
        manifest = {
            "schemaVersion": 2,
            "mediaType": MANIFEST_TYPE,
            "config": entries[0],
            "layers": entries[1:],
        }
        return NewImage(json.dumps(manifest).encode(), blobs)

    def _layer(self, ending: bytes) -> NewBlob:
        hasher = self._hasher.copy()
        hasher.update(ending)
        size = self._layer_bytes + len(ending)
        digest = f"sha256:{hasher.hexdigest()}"
        return NewBlob(LAYER_TYPE, digest, size, lambda: self._chunks(ending))

    def _chunks(self, ending: bytes) -> Iterator[bytes]:
        whole, rest = divmod(self._layer_bytes, CHUNK_BYTES)
        for _ in range(whole):
            yield self._noise
        yield self._noise[:rest] + ending


def _described(content: bytes) -> NewBlob:
    digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
    return NewBlob(CONFIG_TYPE, digest, len(content), lambda: iter((content,)))
