"""What is served and pushed: blobs and a manifest in a store, uploads that are all different."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

KIB, MIB, GIB = 1 << 10, 1 << 20, 1 << 30
REPOSITORY = "bench/image"
TAG = "latest"
MANIFEST_TYPE = "application/vnd.oci.image.manifest.v1+json"
ACCEPT = (
    "application/vnd.docker.distribution.manifest.v2+json, "
    "application/vnd.docker.distribution.manifest.list.v2+json, "
    f"{MANIFEST_TYPE}, application/vnd.oci.image.index.v1+json, */*"
)
"""What containerd asks for."""

BLOCK_BYTES = 8 * MIB
CHUNK_BYTES = 32 * KIB
"""The pieces in which Go's HTTP client frames a body of unknown length."""
TAIL_BYTES = 64

_STORE = "docker/registry/v2"


@dataclass(frozen=True)
class Published:
    """A file below every server's root, and where it is asked for."""

    path: Path
    size: int
    digest: str
    targets: tuple[str, ...]
    media_type: str = "application/octet-stream"


class Store:
    """A directory in the reference registry's layout, written once and shared by hard links."""

    def __init__(self, root: Path) -> None:
        self.root = root
        root.mkdir(parents=True, exist_ok=True)
        self.published: dict[str, Published] = {}

    def blob(self, size: int) -> Published:
        """Publish a blob of `size` bytes, unless that was done."""
        name = f"blob of {size}"
        if name not in self.published:
            path, digest = self._write(blocks(size))
            self._link(f"_layers/{digest.replace(':', '/')}", digest)
            target = f"/v2/{REPOSITORY}/blobs/{digest}"
            self.published[name] = Published(path, size, digest, (target,))
        return self.published[name]

    def manifest(self) -> Published:
        """Publish a manifest as long as those of usual images, by tag and by digest."""
        if "manifest" not in self.published:
            content = manifest_of(self.blob(4 * KIB))
            path, digest = self._write([content])
            hexed = digest.replace(":", "/")
            for link in (f"revisions/{hexed}", f"tags/{TAG}/current", f"tags/{TAG}/index/{hexed}"):
                self._link(f"_manifests/{link}", digest)
            base = f"/v2/{REPOSITORY}/manifests"
            self.published["manifest"] = Published(
                path, len(content), digest, (f"{base}/{TAG}", f"{base}/{digest}"), MANIFEST_TYPE
            )
        return self.published["manifest"]

    def _write(self, pieces: Iterator[bytes] | list[bytes]) -> tuple[Path, str]:
        hasher, partial = hashlib.sha256(), self.root / "partial"
        with partial.open("wb") as file:
            for piece in pieces:
                hasher.update(piece)
                file.write(piece)
        digest = f"sha256:{hasher.hexdigest()}"
        path = self.root / blob_key(digest)
        path.parent.mkdir(parents=True, exist_ok=True)
        return partial.rename(path), digest

    def _link(self, below: str, digest: str) -> None:
        path = self.root / link_key(REPOSITORY, below)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(digest)


def blob_key(digest: str) -> str:
    algorithm, hexed = digest.split(":")
    return f"{_STORE}/blobs/{algorithm}/{hexed[:2]}/{hexed}/data"


def link_key(repository: str, below: str) -> str:
    return f"{_STORE}/repositories/{repository}/{below}/link"


def manifest_of(layer: Published) -> bytes:
    """Return a manifest of six layers, about 1.3 KB."""
    entry = {"digest": layer.digest, "size": layer.size}
    config = entry | {"mediaType": "application/vnd.oci.image.config.v1+json"}
    layers = [entry | {"mediaType": "application/vnd.oci.image.layer.v1.tar+gzip"}] * 6
    content = {
        "schemaVersion": 2,
        "mediaType": MANIFEST_TYPE,
        "config": config,
        "layers": layers,
    }
    return json.dumps(content, indent=1).encode()


def blocks(size: int) -> Iterator[bytes]:
    """Yield `size` bytes of noise that repeats, so that making them costs little."""
    block = os.urandom(MIB)
    for start in range(0, size, MIB):
        yield block[: size - start]


@dataclass(frozen=True)
class Upload:
    """One body: the common blocks, and a tail like no other's."""

    tail: bytes
    digest: str


class Body:
    """A body of `count` blocks and a tail, sent from memory without being copied.

    Every upload differs in its tail alone, so that its digest costs one short hash and the
    client next to nothing.
    """

    def __init__(self, count: int) -> None:
        self.count = count
        self.size = count * BLOCK_BYTES + TAIL_BYTES
        block = b"".join(blocks(BLOCK_BYTES))
        self.block_fd = in_memory("block", block)
        self.framed_fd = in_memory("framed", framed(block))
        self.framed_bytes = os.fstat(self.framed_fd).st_size
        self._hasher = hashlib.sha256()
        for _ in range(count):
            self._hasher.update(block)

    def new_upload(self) -> Upload:
        tail = os.urandom(TAIL_BYTES)
        hasher = self._hasher.copy()
        hasher.update(tail)
        return Upload(tail, f"sha256:{hasher.hexdigest()}")

    def close(self) -> None:
        os.close(self.block_fd)
        os.close(self.framed_fd)


def in_memory(name: str, content: bytes) -> int:
    fd = os.memfd_create(name)
    with open(fd, "wb", closefd=False) as file:
        file.write(content)
    return fd


def framed(content: bytes) -> bytes:
    """Return the content in chunked transfer encoding, without the last chunk."""
    parts = []
    for start in range(0, len(content), CHUNK_BYTES):
        piece = content[start : start + CHUNK_BYTES]
        parts += [b"%x\r\n" % len(piece), piece, b"\r\n"]
    return b"".join(parts)
