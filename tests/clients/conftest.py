"""Real clients and registries in real processes, each over a directory of its own."""

import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.clients import images
from tests.clients.daemons import Containerd, Docker, running_containerd, running_docker
from tests.clients.images import Layout
from tests.clients.registries import (
    FASTREG,
    UNDER_TEST,
    Registry,
    StartRegistry,
    container_section,
    start_registry,
)

MIB = 1 << 20


@pytest.fixture(scope="session")
def big_layers() -> list[bytes]:
    """A root file system and three layers of more than 20 MiB that compress to no less."""
    sizes = {"alpha": 20 * MIB + 1, "beta": 21 * MIB, "gamma": 22 * MIB + 511}
    return [images.rootfs(), *(images.noise_layer(seed, size) for seed, size in sizes.items())]


@pytest.fixture(scope="session")
def layout(big_layers: list[bytes]) -> Iterator[Layout]:
    """A layout with the tags `big`, `small`, `multi`, `artifact` and `sbom` (about `small`)."""
    with tempfile.TemporaryDirectory(prefix="fastreg-layout-") as directory:
        layout = Layout(Path(directory, "layout"))
        small = [images.rootfs(), images.noise_layer("small", 100_000)]
        arm = [images.rootfs("arm64"), images.noise_layer("arm", 1 * MIB)]
        amd64 = layout.add_image(small)
        layout.tag(layout.add_image(big_layers), "big")
        layout.tag(amd64, "small")
        both = {"amd64": amd64, "arm64": layout.add_image(arm, "arm64")}
        layout.tag(layout.add_index(both), "multi")
        layout.tag(layout.add_artifact(b"an artifact of its own"), "artifact")
        layout.tag(layout.add_artifact(b"what is in it", subject=amd64), "sbom")
        yield layout


@pytest.fixture
def workdir() -> Iterator[Path]:
    """A directory removed at the end, pass or fail: images are too big to be kept."""
    with tempfile.TemporaryDirectory(prefix="fastreg-clients-") as directory:
        yield Path(directory)


@pytest.fixture
def start(workdir: Path) -> Iterator[StartRegistry]:
    """Start registries, all over one data directory; they end with the test."""
    with ExitStack() as stops:

        def start_one(kind: str) -> Registry:
            registry = start_registry(workdir / "data", workdir, kind)
            stops.callback(registry.stop)
            return registry

        yield start_one


STORES = ["local", "azure"] if UNDER_TEST == FASTREG else ["local"]


@pytest.fixture(scope="module", params=STORES)
def registry(request: pytest.FixtureRequest) -> Iterator[Registry]:
    """One registry for a file's tests, which keep to repositories of their own; over each
    kind of store, a container read through a cache."""
    with tempfile.TemporaryDirectory(prefix="fastreg-registry-") as directory:
        storage = None
        if request.param == "azure":
            container = request.getfixturevalue("azurite").new_container()
            cache = {"path": f"{directory}/cache", "maxsize": "1GiB"}
            storage = {"azure": container_section(container), "cache": cache}
        registry = start_registry(Path(directory, "data"), Path(directory), UNDER_TEST, storage)
        yield registry
        registry.stop()


@pytest.fixture
def path(request: pytest.FixtureRequest, registry: Registry) -> str:
    """A repository of the test's own, with a name that no other registry has: a client keeps
    what it had of the content that is made of it."""
    return f"port-{registry.host.rpartition(':')[2]}/{request.node.originalname}"


@pytest.fixture(scope="session")
def docker() -> Iterator[Docker]:
    with running_docker() as docker:
        yield docker


@pytest.fixture(scope="session")
def ctr() -> Iterator[Containerd]:
    with running_containerd() as ctr:
        yield ctr
