"""skopeo copies, lists, deletes and synchronises; what comes back is compared byte for byte."""

import json
from pathlib import Path

import pytest

from tests.clients import images
from tests.clients.images import Layout, blobs_in
from tests.clients.processes import need, run, run_together
from tests.clients.registries import Registry

pytestmark = pytest.mark.clients


@pytest.fixture(autouse=True)
def _skopeo() -> None:
    need("skopeo", "skopeo")


@pytest.fixture
def name(registry: Registry, path: str) -> str:
    """The test's repository as skopeo names it."""
    return f"docker://{registry.host}/{path}"


def copy_command(source: str, destination: str, *options: str) -> list[str]:
    command = ["skopeo", "--insecure-policy", "copy", *options]
    if source.startswith("docker:"):
        command.append("--src-tls-verify=false")
    if destination.startswith("docker:"):
        command.append("--dest-tls-verify=false")
    return [*command, source, destination]


def copy(source: str, destination: str, *options: str) -> str:
    return run(*copy_command(source, destination, *options))


def copy_whole(source: str, destination: str) -> str:
    """Copy every platform, changing nothing."""
    return copy(source, destination, "--all", "--preserve-digests")


def in_layout(layout: Layout, tag: str) -> str:
    return f"oci:{layout.root}:{tag}"


@pytest.mark.parametrize("tag", ["big", "small", "multi", "artifact", "sbom"])
def test_a_layout_comes_back_byte_for_byte(
    layout: Layout, name: str, tag: str, workdir: Path
) -> None:
    copy_whole(in_layout(layout, tag), f"{name}:{tag}")
    copy_whole(f"{name}:{tag}", f"oci:{workdir}/back:{tag}")
    assert blobs_in(workdir / "back/blobs/sha256") == layout.reachable(layout.digest(tag))
    index = json.loads((workdir / "back/index.json").read_bytes())
    assert [entry["digest"] for entry in index["manifests"]] == [layout.digest(tag)]


def test_a_directory_goes_there_and_back(layout: Layout, name: str, workdir: Path) -> None:
    copy_whole(in_layout(layout, "small"), f"dir:{workdir}/there")
    copy_whole(f"dir:{workdir}/there", f"{name}:1")
    copy_whole(f"{name}:1", f"dir:{workdir}/back")
    there, back = (
        {file.name: file.read_bytes() for file in (workdir / directory).iterdir()}
        for directory in ("there", "back")
    )
    assert back == there
    assert images.digest_of(back["manifest.json"]) == layout.digest("small")


def test_one_platform_of_an_index_is_chosen(layout: Layout, name: str, workdir: Path) -> None:
    copy_whole(in_layout(layout, "multi"), f"{name}:1")
    options = ["skopeo", "--override-arch", "arm64", "--insecure-policy", "copy"]
    run(*options, "--src-tls-verify=false", f"{name}:1", f"oci:{workdir}/arm:1")
    index = json.loads(layout.read(layout.digest("multi")))
    [arm] = [m for m in index["manifests"] if m["platform"]["architecture"] == "arm64"]
    assert blobs_in(workdir / "arm/blobs/sha256") == layout.reachable(arm["digest"])


def test_inspect_tells_what_was_pushed(layout: Layout, name: str) -> None:
    copy_whole(in_layout(layout, "small"), f"{name}:1")
    told = json.loads(run("skopeo", "inspect", "--tls-verify=false", f"{name}:1"))
    manifest = json.loads(layout.read(layout.digest("small")))
    assert told["Digest"] == layout.digest("small")
    assert told["Layers"] == [layer["digest"] for layer in manifest["layers"]]
    assert told["RepoTags"] == ["1"]
    raw = run("skopeo", "inspect", "--raw", "--tls-verify=false", f"{name}:1")
    assert raw.encode() == layout.read(layout.digest("small"))


def test_tags_are_listed_and_go_with_a_deleted_image(layout: Layout, name: str) -> None:
    for tag, image in {"1": "small", "1.0": "small", "sbom": "sbom"}.items():
        copy_whole(in_layout(layout, image), f"{name}:{tag}")
    assert tags_listed(name) == {"1", "1.0", "sbom"}
    run("skopeo", "delete", "--tls-verify=false", f"{name}:1")
    assert tags_listed(name) == {"sbom"}


def tags_listed(name: str) -> set[str]:
    return set(json.loads(run("skopeo", "list-tags", "--tls-verify=false", name))["Tags"])


def test_a_copy_within_the_registry_mounts_its_blobs(
    layout: Layout, name: str, workdir: Path
) -> None:
    copy_whole(in_layout(layout, "big"), f"{name}/from:1")
    copying = copy_command(f"{name}/from:1", f"{name}/to:1", "--preserve-digests")
    said = run(copying[0], "--debug", *copying[1:])
    layers = json.loads(layout.read(layout.digest("big")))["layers"]
    assert said.lower().count("mount ok") == len(layers), said
    copy_whole(f"{name}/to:1", f"oci:{workdir}/back:1")
    assert blobs_in(workdir / "back/blobs/sha256") == layout.reachable(layout.digest("big"))


def test_sync_takes_a_repository_out_and_in(layout: Layout, name: str, workdir: Path) -> None:
    for tag in ("small", "multi", "artifact"):
        copy_whole(in_layout(layout, tag), f"{name}:{tag}")
    source, target = name.removeprefix("docker://"), f"{name}/again".removeprefix("docker://")
    sync = ["skopeo", "--insecure-policy", "sync", "--all"]
    out = [*sync, "--src", "docker", "--src-tls-verify=false", "--dest", "dir"]
    run(*out, source, workdir)
    back = [*sync, "--src", "dir", "--dest", "docker", "--dest-tls-verify=false"]
    run(*back, workdir, target)
    last = source.rpartition("/")[2]
    assert tags_listed(f"{name}/again/{last}") == {"small", "multi", "artifact"}
    copy_whole(f"{name}/again/{last}:multi", f"oci:{workdir}/multi:1")
    assert blobs_in(workdir / "multi/blobs/sha256") == layout.reachable(layout.digest("multi"))


def test_an_image_converted_to_docker_schema2_is_stored_as_such(
    layout: Layout, name: str, path: str, registry: Registry, workdir: Path
) -> None:
    copy(in_layout(layout, "small"), f"{name}:docker", "--format", "v2s2")
    answer = registry.manifest(path, "docker").expect(200)
    assert answer.headers["content-type"] == images.DOCKER_MANIFEST
    assert answer.json()["mediaType"] == images.DOCKER_MANIFEST
    copy(f"{name}:docker", f"oci:{workdir}/back:1", "--format", "oci")
    layers = {layer["digest"] for layer in answer.json()["layers"]}
    assert layers < blobs_in(workdir / "back/blobs/sha256")


def test_layers_compressed_with_zstd_are_stored_as_such(
    name: str, path: str, registry: Registry, workdir: Path
) -> None:
    # Layers of its own: skopeo remembers gzip forms that the registry has, and prefers them.
    own = Layout(workdir / "own")
    own.tag(own.add_image([images.noise_layer("for zstd", 200_000)]), "1")
    copy(in_layout(own, "1"), f"dir:{workdir}/plain", "--dest-decompress")
    copy(f"dir:{workdir}/plain", f"{name}:zstd", "--dest-compress-format", "zstd")
    [layer] = registry.manifest(path, "zstd").expect(200).json()["layers"]
    assert layer["mediaType"].endswith("tar+zstd")
    copy_whole(f"{name}:zstd", f"oci:{workdir}/back:1")
    assert layer["digest"] in blobs_in(workdir / "back/blobs/sha256")


def test_two_pushes_of_one_image_at_once_both_succeed(
    layout: Layout, name: str, workdir: Path
) -> None:
    source = in_layout(layout, "big")
    run_together(*(copy_command(source, f"{name}:{tag}") for tag in ("left", "right")))
    assert tags_listed(name) == {"left", "right"}
    copy_whole(f"{name}:left", f"oci:{workdir}/back:1")
    assert blobs_in(workdir / "back/blobs/sha256") == layout.reachable(layout.digest("big"))


def test_a_swarm_pulls_at_once(layout: Layout, name: str, workdir: Path) -> None:
    copy_whole(in_layout(layout, "big"), f"{name}:1")
    nodes = [workdir / f"node{n}" for n in range(3)]
    run_together(*(copy_command(f"{name}:1", f"oci:{node}:1") for node in nodes))
    for node in nodes:
        assert blobs_in(node / "blobs/sha256") == layout.reachable(layout.digest("big"))
