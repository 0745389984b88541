"""Content to push: blobs, manifests, and bodies that arrive as a network brings them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any

from fastreg.oci import mediatypes as mt
from fastreg.oci.digest import Digest
from fastreg.oci.manifest import Manifest, parse
from fastreg.registry.repository import Repository

CONFIG_TYPE = "application/vnd.oci.image.config.v1+json"
LAYER_TYPE = "application/vnd.oci.image.layer.v1.tar+gzip"


class Body:
    """A request's body: `pieces` in this order, then its end, or `failure`."""

    def __init__(self, *pieces: bytes, failure: BaseException | None = None) -> None:
        self._pieces = [p for p in pieces if p]
        self._failure = failure

    def read(self, max_bytes: int) -> bytes:
        if max_bytes <= 0:
            return b""
        if not self._pieces:
            if self._failure:
                raise self._failure
            return b""
        piece = self._pieces[0]
        if len(piece) > max_bytes:
            self._pieces[0] = piece[max_bytes:]
        else:
            del self._pieces[0]
        return piece[:max_bytes]


class Endless:
    """A body of `size` bytes that is nowhere in memory."""

    def __init__(self, size: int) -> None:
        self._left = size
        self._block = bytes(range(256)) * 4096

    def read(self, max_bytes: int) -> bytes:
        count = min(max_bytes, self._left, len(self._block))
        self._left -= count
        return self._block[:count]

    def blocks(self) -> Iterator[bytes]:
        while data := self.read(len(self._block)):
            yield data


def push_blob(repository: Repository, content: bytes, algorithm: str = "sha256") -> Digest:
    digest = Digest.of(content, algorithm)
    upload_id = repository.uploads.start(algorithm)
    repository.uploads.finish(upload_id, Body(content), digest, start=0)
    return digest


def read_blob(repository: Repository, digest: Digest) -> bytes:
    with repository.blobs.find(digest).open() as readable:
        return b"".join(iter(lambda: readable.read(1 << 16), b""))


def descriptor(digest: Digest, media_type: str = LAYER_TYPE, size: int = 1) -> dict[str, Any]:
    return {"mediaType": media_type, "digest": str(digest), "size": size}


def document(media_type: str, **fields: Any) -> Manifest:
    fields = {k: v for k, v in fields.items() if v is not None}
    return parse(json.dumps({"schemaVersion": 2, "mediaType": media_type, **fields}).encode())


def image_of(config: Digest, layers: Iterable[Digest] = (), **fields: Any) -> Manifest:
    return document(
        mt.OCI_MANIFEST,
        config=descriptor(config, fields.pop("config_type", CONFIG_TYPE)),
        layers=[descriptor(layer) for layer in layers],
        **fields,
    )


def index_of(*children: Digest, **fields: Any) -> Manifest:
    child_type = fields.pop("child_type", mt.OCI_MANIFEST)
    return document(mt.OCI_INDEX, manifests=[descriptor(c, child_type) for c in children], **fields)


def digest_of(manifest: Manifest, algorithm: str = "sha256") -> Digest:
    return Digest.of(manifest.content, algorithm)


def push(
    repository: Repository, manifest: Manifest, *tags: str, algorithm: str = "sha256"
) -> Digest:
    digest = digest_of(manifest, algorithm)
    repository.manifests.put(manifest, digest, tags)
    return digest


def push_image(repository: Repository, label: str, *tags: str, **fields: Any) -> Digest:
    """Push an image that is unlike those of every other label."""
    config = push_blob(repository, f'{{"label":"{label}"}}'.encode())
    layer = push_blob(repository, f"layer of {label}".encode())
    return push(repository, image_of(config, [layer], **fields), *tags)
