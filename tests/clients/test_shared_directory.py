"""One data directory, two registries: what Debian's docker-registry wrote, and the reverse."""

import hashlib
import json
from pathlib import Path

import pytest

from tests.clients import images
from tests.clients.images import OCI_INDEX, OCI_MANIFEST, Layout, blobs_in
from tests.clients.processes import need, run
from tests.clients.registries import (
    REFERENCE,
    UNDER_TEST,
    Registry,
    StartRegistry,
    collect_garbage,
)

pytestmark = pytest.mark.clients

TAGS = ["artifact", "big", "multi", "small"]
NAMES = ["team", "team-a", "team/app"]

either_way = pytest.mark.parametrize(
    ("writer", "reader"), [(REFERENCE, UNDER_TEST), (UNDER_TEST, REFERENCE)], ids=["from", "to"]
)

ours_only = pytest.mark.skipif(
    UNDER_TEST == REFERENCE, reason="the reference registry knows nothing of it"
)


@pytest.fixture(autouse=True)
def _reference() -> None:
    need("docker-registry", "docker-registry")
    need("skopeo", "skopeo")


def push_with_skopeo(registry: Registry, layout: Layout, tag: str, name: str) -> None:
    options = ["--all", "--preserve-digests", "--dest-tls-verify=false"]
    target = f"docker://{registry.host}/{name}:{tag}"
    run("skopeo", "--insecure-policy", "copy", *options, f"oci:{layout.root}:{tag}", target)


def pull_with_skopeo(registry: Registry, reference: str, target: Path) -> set[str]:
    """Pull an image, all its platforms; return the digests of all that came, read through."""
    options = ["--all", "--preserve-digests", "--src-tls-verify=false"]
    source = f"docker://{registry.host}/{reference}"
    run("skopeo", "--insecure-policy", "copy", *options, source, f"oci:{target}:pulled")
    return blobs_in(target / "blobs/sha256")


def assert_holds(registry: Registry, layout: Layout, name: str, tags: list[str]) -> None:
    """The registry has these tags of the layout and serves them whole."""
    assert sorted(registry.tags(name)) == sorted(tags)
    for tag in tags:
        for digest in layout.reachable(layout.digest(tag)):
            serve = registry.manifest if is_manifest(layout, digest) else registry.blob
            assert images.digest_of(serve(name, digest).expect(200).body) == digest


def is_manifest(layout: Layout, digest: str) -> bool:
    content = layout.read(digest)
    return content.startswith(b"{") and "schemaVersion" in json.loads(content)


@either_way
def test_images_pushed_to_one_are_pulled_from_the_other(
    start: StartRegistry, layout: Layout, workdir: Path, writer: str, reader: str
) -> None:
    first = start(writer)
    for tag in TAGS:
        push_with_skopeo(first, layout, tag, "team/app")
    first.stop()
    second = start(reader)
    assert sorted(second.tags("team/app")) == TAGS
    for tag in TAGS:
        pulled = pull_with_skopeo(second, f"team/app:{tag}", workdir / tag)
        assert pulled == layout.reachable(layout.digest(tag))


@either_way
def test_what_one_registry_does_the_other_sees_while_both_run(
    start: StartRegistry, layout: Layout, writer: str, reader: str
) -> None:
    first, second = start(writer), start(reader)
    small, multi = layout.digest("small"), layout.digest("multi")
    for name in NAMES:
        first.push(name, layout, small, "1")
    assert set(second.repositories()) == set(first.repositories()) == set(NAMES)
    assert second.manifest("team", "1").expect(200).body == layout.read(small)
    first.push("team", layout, multi, "1")
    assert second.manifest("team", "1").expect(200).body == layout.read(multi)
    first.request("DELETE", f"/v2/team/manifests/{multi}").expect(202)
    second.manifest("team", multi).expect(404)
    second.manifest("team", "1").expect(404)
    second.push("team", layout, multi, "2")
    assert first.manifest("team", "2").expect(200).body == layout.read(multi)


@either_way
def test_a_push_to_the_other_registry_finds_the_blobs_there(
    start: StartRegistry, layout: Layout, writer: str, reader: str
) -> None:
    first, second = start(writer), start(reader)
    first.push("from", layout, layout.digest("small"), "1")
    config = json.loads(layout.read(layout.digest("small")))["config"]["digest"]
    mounting = f"/v2/to/blobs/uploads/?mount={config}&from=from"
    second.request("POST", mounting).expect(201)
    assert first.blob("to", config).expect(200).body == layout.read(config)


@ours_only
@pytest.mark.parametrize("has_tag_schema", [False, True], ids=["subject", "tag schema"])
def test_referrers_pushed_to_the_reference_registry_are_found(
    start: StartRegistry, layout: Layout, has_tag_schema: bool
) -> None:
    first = start(REFERENCE)
    subject, sbom = layout.digest("small"), layout.digest("sbom")
    first.push("app", layout, subject, "1")
    first.push("app", layout, sbom)
    if has_tag_schema:
        push_referrers_tag(first, layout, subject, sbom)
    first.stop()
    answer = start(UNDER_TEST).request("GET", f"/v2/app/referrers/{subject}").expect(200)
    assert answer.headers["content-type"] == OCI_INDEX
    [referrer] = answer.json()["manifests"]
    assert referrer["digest"] == sbom
    assert referrer["size"] == len(layout.read(sbom))
    assert referrer["artifactType"] == images.SBOM_TYPE


def push_referrers_tag(registry: Registry, layout: Layout, subject: str, sbom: str) -> None:
    """Do what clients do where the registry has no referrers API (referrers tag schema)."""
    size = len(layout.read(sbom))
    entry = {"mediaType": OCI_MANIFEST, "digest": sbom, "size": size}
    entry |= {"artifactType": images.SBOM_TYPE}
    index = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [entry]}
    target = f"/v2/app/manifests/{subject.replace(':', '-')}"
    registry.request("PUT", target, images.to_json(index), Content_Type=OCI_INDEX).expect(201)


def test_referrers_kept_by_fastreg_do_not_disturb_the_reference_registry(
    start: StartRegistry, layout: Layout
) -> None:
    first, second = start(UNDER_TEST), start(REFERENCE)
    first.push("app", layout, layout.digest("sbom"), "sbom")
    first.push("app", layout, layout.digest("small"), "small")
    assert second.repositories() == ["app"]
    assert_holds(second, layout, "app", ["sbom", "small"])


def test_garbage_collection_by_the_reference_registry_keeps_what_is_not_deleted(
    start: StartRegistry, layout: Layout, workdir: Path
) -> None:
    first = start(UNDER_TEST)
    for tag in ("big", "multi", "small", "sbom"):
        first.push("app", layout, layout.digest(tag), tag)
    big = layout.digest("big")
    first.request("DELETE", f"/v2/app/manifests/{big}").expect(202)
    collect_garbage(first.root, workdir)
    gone = layout.reachable(big) - layout.reachable(layout.digest("small"))
    for digest in gone:
        assert not data_file(first, digest).exists()
    assert_holds(first, layout, "app", ["multi", "sbom", "small"])


@either_way
def test_a_sha512_blob_is_known_to_the_other_registry(
    start: StartRegistry, writer: str, reader: str
) -> None:
    first, blob = start(writer), b"named by its SHA-512"
    first.push_blob("app", blob, sha512(blob))
    for registry in (first, start(reader)):
        assert registry.blob("app", sha512(blob)).expect(200).body == blob


@ours_only
def test_sha512_content_is_known_to_the_reference_registry_and_its_collector(
    start: StartRegistry, layout: Layout, workdir: Path
) -> None:
    first = start(UNDER_TEST)
    first.push("app", layout, layout.digest("small"), "small")
    blob = b"named by its SHA-512"
    first.push_blob("app", blob, sha512(blob))
    layer = {"mediaType": images.OCI_LAYER, "digest": sha512(blob), "size": len(blob)}
    manifest = images.to_json(json.loads(layout.read(layout.digest("small"))) | {"layers": [layer]})
    target = f"/v2/app/manifests/{sha512(manifest)}"
    first.request("PUT", target, manifest, Content_Type=OCI_MANIFEST).expect(201)
    collect_garbage(first.root, workdir)
    for registry in (first, start(REFERENCE)):
        assert registry.manifest("app", sha512(manifest)).expect(200).body == manifest
        assert registry.blob("app", sha512(blob)).expect(200).body == blob


def sha512(content: bytes) -> str:
    return "sha512:" + hashlib.sha512(content).hexdigest()


def test_a_push_after_garbage_collection_is_whole(
    start: StartRegistry, layout: Layout, workdir: Path
) -> None:
    first = start(UNDER_TEST)
    multi = layout.digest("multi")
    first.push("app", layout, multi, "multi")
    for digest in layout.reachable(multi):
        if is_manifest(layout, digest):
            first.request("DELETE", f"/v2/app/manifests/{digest}").expect(202)
    collect_garbage(first.root, workdir)
    assert not any(data_file(first, digest).exists() for digest in layout.reachable(multi))
    push_with_skopeo(first, layout, "multi", "app")
    assert_holds(first, layout, "app", ["multi"])


def data_file(registry: Registry, digest: str) -> Path:
    algorithm, _, encoded = digest.partition(":")
    blobs = registry.root / "docker/registry/v2/blobs"
    return blobs / algorithm / encoded[:2] / encoded / "data"
