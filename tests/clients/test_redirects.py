"""Real clients are sent to the storage account for blobs, and get them there."""

from __future__ import annotations

import re
import tempfile
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.azurite import Azurite
from tests.clients import images
from tests.clients.daemons import Containerd, Docker
from tests.clients.images import Layout, blobs_in
from tests.clients.processes import need, run
from tests.clients.registries import (
    FASTREG,
    UNDER_TEST,
    Registry,
    container_section,
    start_registry,
)

pytestmark = [
    pytest.mark.clients,
    pytest.mark.skipif(UNDER_TEST != FASTREG, reason="the other has no container"),
]


@pytest.fixture(scope="module")
def registry(azurite: Azurite) -> Iterator[Registry]:
    """A registry over a container, without a cache."""
    with tempfile.TemporaryDirectory(prefix="fastreg-registry-") as directory:
        storage = {"azure": container_section(azurite.new_container())}
        registry = start_registry(Path(directory, "data"), Path(directory), FASTREG, storage)
        yield registry
        registry.stop()


@pytest.fixture
def name(layout: Layout, path: str, registry: Registry) -> str:
    """The test's repository as clients name it; the image `multi` is in it as `1`."""
    registry.push(path, layout, layout.digest("multi"), "1")
    return f"{registry.host}/{path}"


def redirected(registry: Registry, path: str) -> set[str]:
    """The blobs of the repository that clients were sent elsewhere for."""
    line = rf'"GET /v2/{path}/blobs/(sha256:[0-9a-f]{{64}}) HTTP/1.1" (\d+)'
    answers = re.findall(line, registry.daemon.output())
    assert {status for _, status in answers} == {"307"}
    return {digest for digest, _ in answers}


def test_docker_pulls_from_the_account(
    docker: Docker, layout: Layout, name: str, path: str, registry: Registry
) -> None:
    output = docker("pull", f"{name}:1")
    assert f"Digest: {layout.digest('multi')}" in output
    assert redirected(registry, path)


def test_skopeo_copies_from_the_account(
    layout: Layout, name: str, path: str, registry: Registry, tmp_path: Path
) -> None:
    need("skopeo", "skopeo")
    copy = ["skopeo", "--insecure-policy", "copy", "--all", "--src-tls-verify=false"]
    run(*copy, f"docker://{name}:1", f"oci:{tmp_path}/back:1")
    copied = blobs_in(tmp_path / "back/blobs/sha256")
    assert copied == layout.reachable(layout.digest("multi"))
    assert redirected(registry, path) <= copied


def test_containerd_fetches_from_the_account(
    ctr: Containerd, layout: Layout, name: str, path: str, registry: Registry
) -> None:
    ctr.forget_all()
    ctr("content", "fetch", "--plain-http", "--all-platforms", f"{name}:1")
    assert ctr.blobs() == layout.reachable(layout.digest("multi"))
    assert redirected(registry, path) <= ctr.blobs()


def test_a_range_is_got_from_the_account(layout: Layout, path: str, registry: Registry) -> None:
    content = b"0123456789" * 1000
    digest = images.digest_of(content)
    registry.push_blob(path, content, digest)
    url = f"http://{registry.host}/v2/{path}/blobs/{digest}"
    request = urllib.request.Request(url, headers={"Range": "bytes=5-14"})
    with urllib.request.urlopen(request) as answer:
        assert (answer.status, answer.read()) == (206, b"5678901234")
    assert redirected(registry, path) == {digest}
