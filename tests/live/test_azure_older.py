"""A container that the reference registry wrote, with append blobs: served, and written on."""

import json
from collections.abc import Callable
from uuid import uuid4

import pytest

from tests.faulty.cloud import Cloud
from tests.live.caches import MIB, NAME, blob_key
from tests.live.client import Client, Upload, config_of, digest_of, manifest_of, noise
from tests.live.conftest import StartNode

pytestmark = pytest.mark.live

REPOSITORY = f"docker/registry/v2/repositories/{NAME}"


def append(cloud: Cloud, key: str, content: bytes) -> None:
    """Write as the reference registry does: in steps of 4 MiB, each appended."""
    blob = cloud.container.get_blob_client(key)
    blob.create_append_blob()
    for start in range(0, len(content), 4 * MIB):
        blob.append_block(content[start : start + 4 * MIB])


def push(cloud: Cloud, tag: str, layer: bytes) -> bytes:
    """Leave in the container what a push to the reference registry leaves there."""
    config = config_of(layer)
    manifest = manifest_of(config, layer)
    revision = f"sha256/{digest_of(manifest)[7:]}"
    for content in (config, layer, manifest):
        append(cloud, blob_key(digest_of(content)), content)
    for content in (config, layer):
        link = f"{REPOSITORY}/_layers/sha256/{digest_of(content)[7:]}/link"
        cloud.container.upload_blob(link, digest_of(content))
    for below in (
        f"revisions/{revision}",
        f"tags/{tag}/index/{revision}",
        f"tags/{tag}/current",
    ):
        link = f"{REPOSITORY}/_manifests/{below}/link"
        cloud.container.upload_blob(link, digest_of(manifest))
    return manifest


def begin_upload(cloud: Cloud, content: bytes) -> str:
    """Leave a session of which `content` has arrived."""
    upload_id = str(uuid4())
    below = f"{REPOSITORY}/_uploads/{upload_id}"
    cloud.container.upload_blob(f"{below}/startedat", b"2026-01-02T03:04:05Z")
    append(cloud, f"{below}/data", content)
    return upload_id


@pytest.fixture
def client(start_node: StartNode) -> Client:
    return start_node({"storage.delete.enabled": "true"}).client()


def test_its_images_are_pulled_tagged_deleted_and_pushed_again(
    client: Client, cloud: Cloud
) -> None:
    layer = noise("older", 9 * MIB)
    manifest = push(cloud, "v1", layer)
    client.pull_image(NAME, "v1")
    assert client.tags(NAME) == ["v1"]
    client.put_manifest(NAME, "v2", manifest).expect(201)
    client.request("DELETE", f"/v2/{NAME}/manifests/v1").expect(202)
    assert client.tags(NAME) == ["v2"]
    client.push_image(NAME, "v3", layer)
    client.pull_image(NAME, "v3")
    assert cloud.digests() == {digest_of(c) for c in (config_of(layer), layer, manifest)}


Push = Callable[[Client, str, bytes], str]


@pytest.mark.parametrize("push_again", [Client.push_whole, Client.push_chunked])
def test_what_it_left_damaged_is_healed_by_a_push(
    client: Client, cloud: Cloud, push_again: Push
) -> None:
    layer = noise("damaged", 5 * MIB)
    push(cloud, "v1", layer)
    cloud.container.delete_blob(blob_key(digest_of(layer)))
    append(cloud, blob_key(digest_of(layer)), layer[: 4 * MIB])
    push_again(client, NAME, layer)
    assert cloud.read(blob_key(digest_of(layer))) == layer
    client.pull_image(NAME, "v1")


@pytest.mark.parametrize("size", [0, 1000, 6 * MIB])
def test_its_uploads_go_on_here(client: Client, cloud: Cloud, size: int) -> None:
    content = noise("upload", 8 * MIB)
    upload_id = begin_upload(cloud, content[:size])
    upload = Upload(client, NAME)
    upload.location = upload.location.replace(upload.id, upload_id).partition("?")[0]
    upload.ask().expect(204)
    assert upload.size == size
    upload.patch(content[size : size + 100_000]).expect(202)
    upload.finish(digest_of(content), content[size + 100_000 :]).expect(201)
    assert cloud.read(blob_key(digest_of(content))) == content
    assert not [key for key in cloud.keys if upload_id in key]


def test_what_is_written_here_has_its_keys(client: Client, cloud: Cloud) -> None:
    layer = noise("new", 5 * MIB)
    config = config_of(layer)
    manifest = client.push_image(NAME, "v1", layer)
    revision = f"sha256/{manifest[7:]}"
    wanted = {blob_key(digest) for digest in (digest_of(config), digest_of(layer), manifest)}
    wanted |= {f"{REPOSITORY}/_layers/sha256/{digest_of(c)[7:]}/link" for c in (config, layer)}
    below = [f"revisions/{revision}", f"tags/v1/index/{revision}", "tags/v1/current"]
    wanted |= {f"{REPOSITORY}/_manifests/{each}/link" for each in below}
    assert wanted <= set(cloud.keys)
    assert {cloud.read(f"{REPOSITORY}/_manifests/{each}/link") for each in below} == {
        manifest.encode()
    }
    assert json.loads(cloud.read(blob_key(manifest)))["layers"][0]["digest"] == digest_of(layer)
