"""A real Docker daemon pushes and pulls."""

import json
import re
from pathlib import Path

import pytest

from tests.clients import images
from tests.clients.daemons import Docker
from tests.clients.images import Layout
from tests.clients.processes import run_together
from tests.clients.registries import Registry

pytestmark = pytest.mark.clients


@pytest.fixture(autouse=True)
def _empty_store(docker: Docker) -> None:
    """The daemon has nothing of another test's, so that what it pulls came by the network."""
    docker("image", "prune", "--all", "--force")
    assert docker("image", "ls", "--quiet") == ""


@pytest.fixture
def name(registry: Registry, path: str) -> str:
    """The test's repository as docker names it."""
    return f"{registry.host}/{path}"


@pytest.fixture
def image(docker: Docker, path: str, tmp_path: Path) -> str:
    """The local name of a small image."""
    layers = [images.noise_layer(f"{n} {path}", 100_000 * n) for n in (1, 2, 3)]
    return load(docker, tmp_path, f"local/{path}:1", layers)


def load(docker: Docker, directory: Path, name: str, layers: list[bytes]) -> str:
    archive = directory / "image.tar"
    images.write_docker_archive(archive, name, layers)
    docker("load", "--input", archive)
    archive.unlink()
    return name


def push(docker: Docker, image: str, target: str) -> str:
    docker("tag", image, target)
    return docker("push", target)


def pushed_digest(output: str) -> str:
    found = re.search(r"digest: (sha256:[0-9a-f]{64}) size: ", output)
    assert found, output
    return found[1]


def image_id(docker: Docker, reference: str) -> str:
    return docker("image", "inspect", "--format", "{{.Id}}", reference).strip()


def forget(docker: Docker, *references: str) -> None:
    """Remove all the names of one image, and with the last of them its content."""
    last = image_id(docker, references[-1])
    docker("image", "rm", *references)
    assert last not in docker("image", "ls", "--no-trunc", "--quiet")


def test_an_image_of_big_layers_comes_back_as_it_was_pushed(
    docker: Docker, name: str, big_layers: list[bytes], tmp_path: Path
) -> None:
    image = load(docker, tmp_path, "local/big:1", big_layers)
    before = image_id(docker, image)
    push(docker, image, f"{name}:1")
    forget(docker, image, f"{name}:1")
    output = docker("pull", f"{name}:1")
    assert output.count("Pull complete") == len(big_layers), output
    assert image_id(docker, f"{name}:1") == before


def test_pushing_again_uploads_no_layer(docker: Docker, image: str, name: str) -> None:
    first = push(docker, image, f"{name}:1")
    assert first.count("Pushed") == 3, first
    again = push(docker, image, f"{name}:2")
    assert again.count("Layer already exists") == 3, again
    assert pushed_digest(again) == pushed_digest(first)


def test_an_image_with_shared_layers_is_pushed_by_mounting_them(
    docker: Docker, name: str, path: str, tmp_path: Path
) -> None:
    shared = [images.noise_layer(f"shared {n}", 200_000) for n in range(3)]
    base = load(docker, tmp_path, "local/base:1", shared)
    top = images.noise_layer("on top", 50_000)
    derived = load(docker, tmp_path, "local/derived:1", [*shared, top])
    before = image_id(docker, derived)
    push(docker, base, f"{name}/base:1")
    output = push(docker, derived, f"{name}/derived:1")
    assert output.count(f"Mounted from {path}/base") == len(shared), output
    forget(docker, base, f"{name}/base:1")
    forget(docker, derived, f"{name}/derived:1")
    output = docker("pull", f"{name}/derived:1")
    assert output.count("Pull complete") == len(shared) + 1, output
    assert image_id(docker, f"{name}/derived:1") == before


def test_an_image_is_pulled_by_its_digest(docker: Docker, image: str, name: str) -> None:
    before = image_id(docker, image)
    digest = pushed_digest(push(docker, image, f"{name}:1"))
    forget(docker, image, f"{name}:1")
    output = docker("pull", f"{name}@{digest}")
    assert output.count("Pull complete") == 3, output
    assert image_id(docker, f"{name}@{digest}") == before


def test_all_tags_are_pulled(
    docker: Docker, image: str, name: str, path: str, registry: Registry
) -> None:
    tags = ["1", "1.0", "latest", "v1_x-y.z"]
    for tag in tags:
        push(docker, image, f"{name}:{tag}")
    forget(docker, image, *(f"{name}:{tag}" for tag in tags))
    docker("pull", "--all-tags", name)
    listed = docker("image", "ls", "--format", "{{.Tag}}", name).split()
    assert sorted(listed) == tags
    assert sorted(registry.tags(path)) == tags


def test_two_pushes_of_one_image_at_once_both_succeed(
    docker: Docker, image: str, name: str
) -> None:
    before = image_id(docker, image)
    targets = [f"{name}:left", f"{name}:right", f"{name}/elsewhere:1"]
    for target in targets:
        docker("tag", image, target)
    outputs = run_together(*(["docker", "push", target] for target in targets), env=docker.env)
    assert len({pushed_digest(output) for output in outputs}) == 1
    forget(docker, image, *targets)
    for target in targets:
        docker("pull", target)
        assert image_id(docker, target) == before


def test_a_nested_repository_name_is_pushed_and_pulled(
    docker: Docker, image: str, registry: Registry
) -> None:
    before = image_id(docker, image)
    target = f"{registry.host}/a/b/c-d/e.f__g/h:1"
    push(docker, image, target)
    forget(docker, image, target)
    docker("pull", target)
    assert image_id(docker, target) == before
    assert "a/b/c-d/e.f__g/h" in registry.repositories()


def test_a_platform_of_an_oci_index_is_pulled(
    docker: Docker, layout: Layout, name: str, path: str, registry: Registry
) -> None:
    registry.push(path, layout, layout.digest("multi"), "1")
    output = docker("pull", f"{name}:1")
    assert f"Digest: {layout.digest('multi')}" in output
    config = json.loads(layout.read(layout.digest("small")))["config"]["digest"]
    assert image_id(docker, f"{name}:1") == config


def test_the_docker_client_makes_a_manifest_list(
    docker: Docker, image: str, name: str, path: str, registry: Registry, tmp_path: Path
) -> None:
    other = load(docker, tmp_path, "local/other:1", [images.noise_layer("other", 10_000)])
    digests = {
        pushed_digest(push(docker, image, f"{name}:amd64")),
        pushed_digest(push(docker, other, f"{name}:arm64")),
    }
    members = [f"{name}:amd64", f"{name}:arm64"]
    docker("manifest", "create", "--insecure", f"{name}:all", *members)
    docker("manifest", "annotate", "--arch", "arm64", f"{name}:all", members[1])
    docker("manifest", "push", f"{name}:all", "--insecure")
    answer = registry.manifest(path, "all").expect(200)
    assert answer.headers["content-type"] == images.DOCKER_LIST
    assert {entry["digest"] for entry in answer.json()["manifests"]} == digests
    forget(docker, image, members[0])
    docker("pull", f"{name}:all")


def test_pushing_again_heals_a_deleted_layer(
    docker: Docker, image: str, name: str, path: str, registry: Registry
) -> None:
    push(docker, image, f"{name}:1")
    layer = registry.manifest(path, "1").expect(200).json()["layers"][1]["digest"]
    registry.request("DELETE", f"/v2/{path}/blobs/{layer}").expect(202)
    registry.request("GET", f"/v2/{path}/blobs/{layer}").expect(404)
    output = push(docker, image, f"{name}:1")
    assert output.count("Layer already exists") == 2, output
    healed = registry.request("GET", f"/v2/{path}/blobs/{layer}").expect(200)
    assert images.digest_of(healed.body) == layer


def test_a_push_that_moves_a_tag_decides_what_the_next_pull_gets(
    docker: Docker, image: str, name: str, tmp_path: Path
) -> None:
    push(docker, image, f"{name}:latest")
    newer = load(docker, tmp_path, "local/newer:1", [images.noise_layer("newer", 10_000)])
    before = image_id(docker, newer)
    push(docker, newer, f"{name}:latest")
    forget(docker, newer, f"{name}:latest")
    docker("tag", image, f"{name}:latest")
    docker("pull", f"{name}:latest")
    assert image_id(docker, f"{name}:latest") == before


def test_a_deleted_image_can_be_pulled_no_more_and_pushed_again(
    docker: Docker, image: str, name: str, path: str, registry: Registry
) -> None:
    digest = pushed_digest(push(docker, image, f"{name}:1"))
    registry.request("DELETE", f"/v2/{path}/manifests/{digest}").expect(202)
    refused = docker.try_run("pull", f"{name}:1")
    assert refused.returncode != 0
    assert "manifest unknown" in refused.stdout
    assert pushed_digest(docker("push", f"{name}:1")) == digest
    docker("pull", f"{name}:1")


def test_head_tells_of_a_manifest_that_docker_pushed(
    docker: Docker, image: str, name: str, path: str, registry: Registry
) -> None:
    digest = pushed_digest(push(docker, image, f"{name}:1"))
    target = f"/v2/{path}/manifests/1"
    head = registry.request("HEAD", target, Accept=images.DOCKER_MANIFEST).expect(200)
    assert head.headers["docker-content-digest"] == digest
    assert head.headers["content-type"] == images.DOCKER_MANIFEST
    assert int(head.headers["content-length"]) == len(registry.manifest(path, "1").body)
