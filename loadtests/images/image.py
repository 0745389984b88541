"""Images: a config and a manifest for each platform, and the index that names them."""

from __future__ import annotations

import hashlib
import json
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from loadtests.images.layers import Blob, Files, Layer, layer_of, make_layer

CONFIG_TYPE = "application/vnd.oci.image.config.v1+json"
MANIFEST_TYPE = "application/vnd.oci.image.manifest.v1+json"
INDEX_TYPE = "application/vnd.oci.image.index.v1+json"
AMD64, ARM64 = "linux/amd64", "linux/arm64"
TAG = "latest"

_CREATED = "2023-01-11T00:00:00Z"
_PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@dataclass(frozen=True)
class Manifest:
    media_type: str
    digest: str
    content: bytes
    blobs: tuple[Blob, ...]
    """The config first, then the layers."""

    @property
    def size_bytes(self) -> int:
        return len(self.content) + sum(blob.size for blob in self.blobs)


@dataclass(frozen=True)
class Image:
    name: str
    tag: str
    index: bytes
    index_digest: str
    platforms: dict[str, Manifest]

    @property
    def size_bytes(self) -> int:
        """What a node pulls that has nothing yet: of linux/amd64, or of the only platform."""
        return next(iter(self.platforms.values())).size_bytes + len(self.index)

    @property
    def blobs(self) -> list[Blob]:
        """Those of all platforms, each once."""
        every = (blob for manifest in self.platforms.values() for blob in manifest.blobs)
        return list({blob.digest: blob for blob in every}.values())


def make_image(name: str, layers: Mapping[str, Sequence[Layer]], command: Sequence[str]) -> Image:
    """Return an image of these layers, by platform."""
    platforms = {key: _manifest(key, row, command) for key, row in layers.items()}
    descriptors = [
        _descriptor(manifest.media_type, manifest.digest, len(manifest.content))
        | {"platform": {"os": "linux", "architecture": key.removeprefix("linux/")}}
        for key, manifest in platforms.items()
    ]
    index = _json({"schemaVersion": 2, "mediaType": INDEX_TYPE, "manifests": descriptors})
    return Image(name, TAG, index, _digest(index), platforms)


def image_with(name: str, sizes: Sequence[int], files: Files, command: Sequence[str]) -> Image:
    """Return an image for this machine's platform: layers of these sizes, and one of `files`.

    It starts without a network if `command` is a static program among the files.
    """
    here = ARM64 if platform.machine() == "aarch64" else AMD64
    layers = [make_layer(f"{name}-{number}", size) for number, size in enumerate(sizes)]
    return make_image(name, {here: [*layers, layer_of(files)]}, command)


def _manifest(key: str, layers: Sequence[Layer], command: Sequence[str]) -> Manifest:
    config = _config(key.removeprefix("linux/"), layers, command)
    blobs = (config, *(layer.blob for layer in layers))
    described = [_descriptor(blob.media_type, blob.digest, blob.size) for blob in blobs]
    content = _json(
        {
            "schemaVersion": 2,
            "mediaType": MANIFEST_TYPE,
            "config": described[0],
            "layers": described[1:],
        }
    )
    return Manifest(MANIFEST_TYPE, _digest(content), content, blobs)


def _config(architecture: str, layers: Sequence[Layer], command: Sequence[str]) -> Blob:
    content = _json(
        {
            "architecture": architecture,
            "os": "linux",
            "created": _CREATED,
            "config": {"Env": [_PATH], "Cmd": list(command)},
            "rootfs": {"type": "layers", "diff_ids": [layer.diff_id for layer in layers]},
            "history": [{"created": _CREATED, "created_by": "loadtests.images"}] * len(layers),
        }
    )
    return Blob(CONFIG_TYPE, _digest(content), len(content), lambda: iter([content]))


def _descriptor(media_type: str, digest: str, size: int) -> dict[str, Any]:
    return {"mediaType": media_type, "digest": digest, "size": size}


def _json(value: dict[str, Any]) -> bytes:
    return json.dumps(value, indent=2).encode()


def _digest(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"
