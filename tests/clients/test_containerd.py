"""containerd pushes, pulls and fetches; its content store is read through afterwards."""

import json
from pathlib import Path

import pytest

from tests.clients.daemons import Containerd
from tests.clients.images import Layout
from tests.clients.processes import run
from tests.clients.registries import Registry

pytestmark = pytest.mark.clients


@pytest.fixture
def name(registry: Registry, path: str) -> str:
    """The test's repository as containerd names it."""
    return f"{registry.host}/{path}"


@pytest.fixture(autouse=True)
def _empty_store(ctr: Containerd) -> None:
    """Nothing of another test's is in the store, so that what is there came by the network."""
    ctr.forget_all()
    assert ctr.blobs() == set()


def import_layout(ctr: Containerd, layout: Layout, name: str, workdir: Path) -> None:
    archive = workdir / "layout.tar"
    run("tar", "-C", layout.root, "-cf", archive, ".")
    ctr("images", "import", "--all-platforms", "--no-unpack", "--base-name", name, archive)


def pull(ctr: Containerd, reference: str, *options: str) -> str:
    # The native snapshotter unpacks on any file system.
    snapshotter = ("--snapshotter", "native")
    return ctr("images", "pull", "--plain-http", *snapshotter, *options, reference)


@pytest.mark.parametrize("tag", ["big", "multi"])
def test_an_image_comes_back_byte_for_byte(
    ctr: Containerd,
    layout: Layout,
    name: str,
    path: str,
    tag: str,
    registry: Registry,
    workdir: Path,
) -> None:
    import_layout(ctr, layout, name, workdir)
    ctr("images", "push", "--plain-http", f"{name}:{tag}")
    assert registry.manifest(path, tag).expect(200).body == layout.read(layout.digest(tag))
    ctr.forget_all()
    assert ctr.blobs() == set()
    pull(ctr, f"{name}:{tag}", "--all-platforms")
    assert ctr.blobs() == layout.reachable(layout.digest(tag))


def test_one_platform_of_an_index_is_pulled(
    ctr: Containerd, layout: Layout, name: str, path: str, registry: Registry
) -> None:
    registry.push(path, layout, layout.digest("multi"), "1")
    pull(ctr, f"{name}:1", "--platform", "linux/amd64")
    index = json.loads(layout.read(layout.digest("multi")))
    [amd64] = [m for m in index["manifests"] if m["platform"]["architecture"] == "amd64"]
    assert ctr.blobs() >= layout.reachable(amd64["digest"]) | {layout.digest("multi")}
    assert ctr.blobs() < layout.reachable(layout.digest("multi"))


def test_an_image_is_pulled_by_its_digest(
    ctr: Containerd, layout: Layout, name: str, path: str, registry: Registry
) -> None:
    digest = layout.digest("small")
    registry.push(path, layout, digest)
    pull(ctr, f"{name}@{digest}")
    assert ctr.blobs() == layout.reachable(digest)


def test_the_content_of_every_platform_is_fetched(
    ctr: Containerd, layout: Layout, name: str, path: str, registry: Registry
) -> None:
    registry.push(path, layout, layout.digest("multi"), "1")
    ctr("content", "fetch", "--plain-http", "--all-platforms", f"{name}:1")
    assert ctr.blobs() == layout.reachable(layout.digest("multi"))


def test_a_single_blob_is_fetched_by_its_digest(
    ctr: Containerd, layout: Layout, name: str, path: str, registry: Registry
) -> None:
    registry.push(path, layout, layout.digest("small"), "1")
    config = json.loads(layout.read(layout.digest("small")))["config"]["digest"]
    # What no manifest has as its digest is looked for among the blobs.
    fetched = ctr("content", "fetch-object", "--plain-http", f"{name}@{config}")
    assert fetched.encode().endswith(layout.read(config)), fetched


def test_pushing_again_changes_nothing(
    ctr: Containerd, layout: Layout, name: str, path: str, registry: Registry, workdir: Path
) -> None:
    import_layout(ctr, layout, name, workdir)
    for _ in range(2):
        ctr("images", "push", "--plain-http", f"{name}:small")
    assert registry.tags(path) == ["small"]
    assert registry.manifest(path, "small").body == layout.read(layout.digest("small"))
