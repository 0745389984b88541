"""The images on disk, pushed once, as every contender is given them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from loadtests.bench.content import Published, Store, blob_key
from loadtests.bench.programs import SOURCES
from loadtests.bench.servers import FASTREG, Directory, serving
from loadtests.images.image import Image
from loadtests.seed import PREFIX


def seeded(workdir: Path, scale: float, images: Sequence[Image]) -> Store:
    """Push the images to a fastreg, and return what it wrote."""
    store = Store(workdir / "store")
    with serving(FASTREG, store, workdir, storage=Directory(store.root)) as server:
        seed(f"http://{server.host}", scale, [image.name for image in images])
    for image in images:
        store.published |= {published.targets[0]: published for published in files(image, store)}
    return store


def seed(url: str, scale: float, names: Sequence[str], user: str = "", password: str = "") -> None:
    """Push the images where they are not there yet; end when that fails, as it has said why."""
    options = ["--scale", str(scale), "--images", ",".join(names)]
    options += ["--user", user] if user else []
    argv = [sys.executable, "-m", "loadtests.seed", "--host", url, *options]
    env = os.environ | {"SEED_PASSWORD": password}
    if code := subprocess.run(argv, cwd=SOURCES, env=env, check=False).returncode:
        sys.exit(code)


def repository(image: Image) -> str:
    return f"{PREFIX}/{image.name}"


def files(image: Image, store: Store) -> Iterator[Published]:
    """Yield what an image consists of, with the requests that ask for it."""
    base = f"/v2/{repository(image)}"

    def published(digest: str, media_type: str, *targets: str) -> Published:
        path = store.root / blob_key(digest)
        return Published(path, path.stat().st_size, digest, targets, media_type)

    index_type = json.loads(image.index)["mediaType"]
    by_tag, by_digest = (
        f"{base}/manifests/{reference}" for reference in (image.tag, image.index_digest)
    )
    yield published(image.index_digest, index_type, by_tag, by_digest)
    for manifest in image.platforms.values():
        yield published(manifest.digest, manifest.media_type, f"{base}/manifests/{manifest.digest}")
        for blob in manifest.blobs:
            target = f"{base}/blobs/{blob.digest}"
            yield published(blob.digest, "application/octet-stream", target)
