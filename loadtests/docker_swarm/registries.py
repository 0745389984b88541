"""The two registries, side by side over the same files."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from loadtests.bench.content import Store
from loadtests.bench.servers import FASTREG, REFERENCE, Directory, Server, serving
from loadtests.client.registry import Registry
from loadtests.docker_swarm.network import GATEWAY
from loadtests.images.image import Image
from loadtests.seed import push_image


@contextlib.contextmanager
def both_serving(directory: Path, image: Image) -> Iterator[dict[str, Server]]:
    """Push an image to fastreg, and have both serve what it wrote."""
    store = Store(directory / "store")
    with serving(FASTREG, store, directory, storage=Directory(store.root)) as server:
        push(server.host, image)
    with contextlib.ExitStack() as stack:
        yield {
            name: stack.enter_context(serve(name, store, directory))
            for name in (FASTREG, REFERENCE)
        }


def serve(name: str, store: Store, directory: Path) -> contextlib.AbstractContextManager[Server]:
    """Run a registry as a user would: with a worker a core."""
    workers = len(os.sched_getaffinity(0))
    return serving(name, store, directory, workers=workers, address=GATEWAY)


def push(host: str, image: Image) -> None:
    """Push all of an image. Raises Failure."""
    with contextlib.closing(Registry(host)) as registry:
        push_image(registry, image.name, image)
