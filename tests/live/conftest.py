"""Every test here runs the registry as it is run in earnest: `python -m fastreg serve`."""

import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.faulty.cloud import Cloud
from tests.live.processes import Registry

Start = Callable[..., Registry]
StartNode = Callable[..., Registry]


@pytest.fixture
def workdir() -> Iterator[Path]:
    """A directory removed at the end, pass or fail: some tests fill it with big blobs."""
    with tempfile.TemporaryDirectory(prefix="fastreg-live-") as directory:
        yield Path(directory)


@pytest.fixture
def start(workdir: Path) -> Iterator[Start]:
    """Start registries with settings of dotted keys; they must end well with the test."""
    with ExitStack() as stops:

        def start_one(
            settings: dict[str, str] | None = None,
            *,
            data: Path | None = None,
            config: Path | None = None,
        ) -> Registry:
            registry = Registry(data or workdir / "data", workdir, settings or {}, config)
            stops.callback(lambda: registry.stop() if registry.is_running() else None)
            return registry

        yield start_one


@pytest.fixture(scope="module")
def registry() -> Iterator[Registry]:
    """One registry for a file's tests, which keep to repositories of their own."""
    with tempfile.TemporaryDirectory(prefix="fastreg-live-") as directory:
        registry = Registry(Path(directory, "data"), Path(directory), {})
        try:
            yield registry
        finally:
            registry.stop()


def cached(cloud: Cloud, cache: Path) -> dict[str, str]:
    """Return the settings of a registry over the container."""
    return cloud.options | {"storage.cache.path": str(cache)}


@pytest.fixture
def start_node(start: Start, cloud: Cloud, workdir: Path) -> StartNode:
    """Start registries over the one container, each with a cache at `path` or without one."""

    def start_one(
        settings: dict[str, str] | None = None, *, cache: bool = True, path: str = "cache"
    ) -> Registry:
        uncached = cloud.options | {"storage.redirect.disable": "true"}
        return start((cached(cloud, workdir / path) if cache else uncached) | (settings or {}))

    return start_one
