"""Images for client tests: the same bytes on every run, made in a second or two.

Written as OCI layouts (for skopeo, ctr and plain HTTP) and as docker archives (for
`docker load`). Big layers are seeded noise, so that neither gzip nor zstd makes them small.
"""

import gzip
import hashlib
import io
import json
import random
import tarfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

Json = dict[str, Any]

DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_LIST = "application/vnd.docker.distribution.manifest.list.v2+json"
OCI_INDEX = "application/vnd.oci.image.index.v1+json"
OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_CONFIG = "application/vnd.oci.image.config.v1+json"
OCI_LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"
OCI_EMPTY = "application/vnd.oci.empty.v1+json"
SBOM_TYPE = "application/vnd.example.sbom.v1+json"

EPOCH = "2024-01-01T00:00:00Z"
EPOCH_S = 1704067200


def digest_of(content: bytes) -> str:
    return "sha256:" + hashlib.sha256(content).hexdigest()


def noise(seed: str, size: int) -> bytes:
    """`size` bytes that do not compress, the same for the same seed."""
    return random.Random(seed).randbytes(size)


def to_json(value: Json) -> bytes:
    return json.dumps(value, indent=2, sort_keys=True).encode()


def layer_tar(files: dict[str, bytes]) -> bytes:
    """A layer: the files and their directories, owned by root, with a fixed time."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for directory in sorted({str(Path(name).parent) for name in files} - {"."}):
            entry = tarfile.TarInfo(directory)
            entry.type, entry.mode, entry.mtime = tarfile.DIRTYPE, 0o755, EPOCH_S
            archive.addfile(entry)
        for name, content in sorted(files.items()):
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode, entry.mtime = len(content), 0o755, EPOCH_S
            archive.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()


def image_config(layers: list[bytes], architecture: str) -> bytes:
    return to_json(
        {
            "architecture": architecture,
            "os": "linux",
            "created": EPOCH,
            "config": {"Cmd": ["/bin/hello"], "Env": ["PATH=/bin"]},
            "rootfs": {"type": "layers", "diff_ids": [digest_of(layer) for layer in layers]},
            "history": [{"created": EPOCH, "created_by": f"layer {n}"} for n in range(len(layers))],
        }
    )


def rootfs(architecture: str = "amd64") -> bytes:
    """The small first layer: what a minimal image holds."""
    return layer_tar(
        {
            "bin/hello": b"\x7fELF" + noise(f"hello-{architecture}", 8_000),
            "etc/os-release": b'NAME="example"\n',
            "etc/passwd": b"root:x:0:0:root:/root:/bin/sh\n",
        }
    )


def noise_layer(seed: str, size: int) -> bytes:
    return layer_tar({f"opt/{seed}.bin": noise(seed, size)})


@dataclass
class Layout:
    """An OCI image layout in a directory, filled piece by piece."""

    root: Path
    index: Json = field(default_factory=lambda: {"schemaVersion": 2, "manifests": []})

    def __post_init__(self) -> None:
        (self.root / "blobs/sha256").mkdir(parents=True)
        (self.root / "oci-layout").write_bytes(to_json({"imageLayoutVersion": "1.0.0"}))

    def add(self, content: bytes, media_type: str) -> Json:
        """Store a blob; return its descriptor."""
        digest = digest_of(content)
        self.path(digest).write_bytes(content)
        return {"mediaType": media_type, "digest": digest, "size": len(content)}

    def path(self, digest: str) -> Path:
        return self.root / "blobs" / digest.replace(":", "/")

    def read(self, digest: str) -> bytes:
        return self.path(digest).read_bytes()

    def digest(self, tag: str) -> str:
        """The digest of what a tag names."""
        annotation = "org.opencontainers.image.ref.name"
        named = {entry["annotations"][annotation]: entry for entry in self.index["manifests"]}
        digest: str = named[tag]["digest"]
        return digest

    def reachable(self, digest: str) -> set[str]:
        """The digests of a manifest and of all that it needs, a subject not among them."""
        manifest = json.loads(self.read(digest))
        children = [entry["digest"] for entry in manifest.get("manifests", [])]
        found = {digest}.union(*(self.reachable(child) for child in children))
        if "config" in manifest:
            found |= {blob["digest"] for blob in [manifest["config"], *manifest["layers"]]}
        return found

    def tag(self, descriptor: Json, name: str) -> None:
        named = descriptor | {"annotations": {"org.opencontainers.image.ref.name": name}}
        self.index["manifests"].append(named)
        (self.root / "index.json").write_bytes(to_json(self.index))

    def add_image(self, layers: list[bytes], architecture: str = "amd64") -> Json:
        """Store an image of these uncompressed layers; return its manifest's descriptor."""
        config = self.add(image_config(layers, architecture), OCI_CONFIG)
        compressed = [gzip.compress(layer, compresslevel=1, mtime=0) for layer in layers]
        return self.add(
            to_json(
                {
                    "schemaVersion": 2,
                    "mediaType": OCI_MANIFEST,
                    "config": config,
                    "layers": [self.add(content, OCI_LAYER) for content in compressed],
                }
            ),
            OCI_MANIFEST,
        )

    def add_index(self, manifests: dict[str, Json]) -> Json:
        """Store an index over one manifest an architecture; return its descriptor."""
        entries = [
            descriptor | {"platform": {"os": "linux", "architecture": architecture}}
            for architecture, descriptor in manifests.items()
        ]
        index = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": entries}
        return self.add(to_json(index), OCI_INDEX)

    def add_artifact(self, content: bytes, subject: Json | None = None) -> Json:
        """Store an artifact with the empty config; with a subject it is a referrer."""
        manifest: Json = {
            "schemaVersion": 2,
            "mediaType": OCI_MANIFEST,
            "artifactType": SBOM_TYPE,
            "config": self.add(b"{}", OCI_EMPTY),
            "layers": [self.add(content, SBOM_TYPE)],
        }
        if subject is not None:
            manifest["subject"] = subject
        return self.add(to_json(manifest), OCI_MANIFEST)


def write_docker_archive(path: Path, reference: str, layers: list[bytes]) -> None:
    """Write what `docker save` would write of an image with these layers."""
    config = image_config(layers, "amd64")
    config_name = f"{hashlib.sha256(config).hexdigest()}.json"
    members = {f"{n:02}/layer.tar": layer for n, layer in enumerate(layers)}
    entry = {"Config": config_name, "RepoTags": [reference], "Layers": sorted(members)}
    members |= {config_name: config, "manifest.json": json.dumps([entry]).encode()}
    with tarfile.open(path, "w") as archive:
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))


def blobs_in(directory: Path) -> set[str]:
    """The digests of the files in a directory that are named by their SHA-256.

    Every file is read through: a set that is equal stands for bytes that are equal.
    """
    found = set()
    for path in directory.iterdir():
        with path.open("rb") as file:
            actual = hashlib.file_digest(file, "sha256").hexdigest()
        assert actual == path.name, f"{path} holds other bytes: they hash to {actual}"
        found.add(f"sha256:{actual}")
    return found
