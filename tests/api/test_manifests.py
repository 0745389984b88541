"""Pushing, pulling and deleting manifests that are as they should be."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from fastreg.registry.content import MAX_MANIFEST_BYTES
from tests.api.client import (
    DOCKER_LIST,
    DOCKER_MANIFEST,
    OCI_CONFIG,
    OCI_INDEX,
    OCI_MANIFEST,
    Client,
    Pieces,
    descriptor,
    digest_of,
    encode,
    image,
    index,
)
from tests.api.conftest import MakeClient
from tests.api.samples import CONFIG, CONTENT, DIGEST, LAYER, MANIFEST, put, url_of

ALGORITHMS = ("sha256", "sha512", "blake3")


def test_put_by_tag_is_201_and_pullable(stocked: Client) -> None:
    answer = put(stocked, "v1")
    assert (answer.status, answer.body) == (201, b"")
    assert answer["Docker-Content-Digest"] == DIGEST
    assert answer["Location"].endswith(url_of(DIGEST))
    assert answer["OCI-Subject"] == answer["OCI-Tag"] == ""
    for url in (answer["Location"], url_of("v1"), url_of(DIGEST)):
        pulled = stocked.get(url)
        assert (pulled.status, pulled.body) == (200, CONTENT)
        assert pulled["Content-Type"] == OCI_MANIFEST
        assert pulled["Docker-Content-Digest"] == DIGEST
        assert pulled["ETag"] == f'"{DIGEST}"'


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_put_by_digest_of_any_algorithm(stocked: Client, algorithm: str) -> None:
    digest = digest_of(CONTENT, algorithm)
    answer = put(stocked, digest)
    assert (answer.status, answer["Docker-Content-Digest"]) == (201, digest)
    assert stocked.get(url_of(digest)).body == CONTENT
    assert stocked.head(url_of(digest))["Docker-Content-Digest"] == digest


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_put_by_digest_with_tags_answers_each(stocked: Client, algorithm: str) -> None:
    digest = digest_of(CONTENT, algorithm)
    tags = [f"v{i}" for i in range(12)]
    answer = put(stocked, digest + "?" + "&".join(f"tag={t}" for t in tags))
    assert answer.status == 201
    assert answer.all("OCI-Tag") == tags
    for tag in tags:
        assert stocked.head(url_of(tag))["Docker-Content-Digest"] == digest


def test_the_same_tag_twice_is_answered_once(stocked: Client) -> None:
    assert put(stocked, f"{DIGEST}?tag=a&tag=b&tag=a").all("OCI-Tag") == ["a", "b"]


@pytest.mark.parametrize("reference", ["v1", DIGEST])
def test_head_is_get_without_a_body(stocked: Client, reference: str) -> None:
    put(stocked, "v1")
    got, headed = stocked.get(url_of(reference)), stocked.head(url_of(reference))
    assert (headed.status, headed.body) == (200, b"")
    assert headed.headers == got.headers
    assert headed["Content-Length"] == str(len(CONTENT))


@pytest.mark.parametrize(
    "accept", ["", "text/html", OCI_INDEX, f"{DOCKER_MANIFEST}, {OCI_INDEX}", "*/*", "\x7f;;,"]
)
def test_what_was_pushed_is_returned_whatever_accept_says(stocked: Client, accept: str) -> None:
    put(stocked, "v1")
    answer = stocked.get(url_of("v1"), Accept=accept)
    assert (answer.status, answer.body, answer["Content-Type"]) == (200, CONTENT, OCI_MANIFEST)


def test_the_exact_bytes_are_kept(stocked: Client) -> None:
    content = CONTENT.replace(b"\n", b"\r\n  ") + b"\n\n"
    digest = stocked.push_manifest(content, "odd")
    assert digest == digest_of(content)
    assert stocked.get(url_of("odd")).body == content


def test_unknown_fields_and_data_are_kept(stocked: Client) -> None:
    config = {**descriptor(CONFIG, OCI_CONFIG), "data": "eyJvcyI6ICJsaW51eCJ9", "x": [1]}
    document = {**MANIFEST, "config": config, "org.example": {"deep": [None, 1.5]}}
    stocked.push_manifest(document, "v1")
    assert stocked.get(url_of("v1")).json == document


@pytest.mark.parametrize(
    "content_type",
    [OCI_MANIFEST, f"{OCI_MANIFEST}; charset=utf-8", OCI_MANIFEST.upper(), "", "application/json"],
)
@pytest.mark.parametrize("has_media_type", [True, False])
def test_the_type_is_what_the_manifest_is(
    stocked: Client, content_type: str, has_media_type: bool
) -> None:
    document = MANIFEST if has_media_type else {**MANIFEST}
    if not has_media_type:
        document.pop("mediaType")
    answer = put(stocked, "v1", encode(document), Content_Type=content_type)
    assert answer.status == 201, answer
    assert stocked.get(url_of("v1"))["Content-Type"] == OCI_MANIFEST


def test_a_docker_image_and_its_list(stocked: Client) -> None:
    docker = image(CONFIG, LAYER, media_type=DOCKER_MANIFEST)
    many = index(docker, media_type=DOCKER_LIST)
    stocked.push_manifest(docker, "image")
    stocked.push_manifest(many, "list")
    assert stocked.get(url_of("image"))["Content-Type"] == DOCKER_MANIFEST
    assert stocked.get(url_of("list"))["Content-Type"] == DOCKER_LIST
    assert stocked.get(url_of("list")).json == many


def test_an_index_of_images_and_an_index_of_that(stocked: Client) -> None:
    stocked.push_manifest(MANIFEST)
    inner = index(MANIFEST)
    stocked.push_manifest(inner, "inner")
    stocked.push_manifest(index(inner, MANIFEST), "outer")
    assert stocked.get(url_of("outer"))["Content-Type"] == OCI_INDEX


def test_an_index_without_a_media_type_is_known_by_its_shape(stocked: Client) -> None:
    document = index()
    del document["mediaType"]
    assert put(stocked, "v1", encode(document), Content_Type=OCI_INDEX).status == 201
    assert stocked.get(url_of("v1"))["Content-Type"] == OCI_INDEX


@pytest.mark.parametrize(
    "document",
    [
        index(),
        image(CONFIG),
        {**image(b"{}", b"{}"), "artifactType": "application/vnd.example"},
        {k: v for k, v in image(CONFIG).items() if k != "layers"},
    ],
    ids=["empty index", "no layers", "artifact", "layers missing"],
)
def test_odd_but_legal_manifests_are_taken(stocked: Client, document: dict[str, Any]) -> None:
    stocked.push_blob(b"{}")
    stocked.push_manifest(document, "v1")
    assert stocked.get(url_of("v1")).json == document


def test_a_layer_that_is_not_distributed_need_not_be_there(stocked: Client) -> None:
    foreign = descriptor(b"elsewhere", "application/vnd.oci.image.layer.nondistributable.v1.tar")
    foreign["urls"] = ["https://store.example/layer"]
    stocked.push_manifest({**MANIFEST, "layers": [foreign, *MANIFEST["layers"]]}, "v1")
    assert stocked.head(url_of("v1")).status == 200


def test_a_manifest_of_blobs_of_other_algorithms(client: Client) -> None:
    document = {
        **image(b""),
        "config": descriptor(CONFIG, OCI_CONFIG, "blake3"),
        "layers": [descriptor(LAYER, "x/y", "sha512")],
    }
    client.push_blob(CONFIG, algorithm="blake3")
    client.push_blob(LAYER, algorithm="sha512")
    client.push_manifest(document, "v1")
    assert client.get(url_of("v1")).json == document


def test_a_manifest_of_four_mebibytes_is_taken(stocked: Client) -> None:
    content = CONTENT + b" " * (MAX_MANIFEST_BYTES - len(CONTENT))
    assert len(content) == 4 << 20
    assert put(stocked, "big", content).status == 201
    answer = stocked.get(url_of("big"))
    assert answer.body == content


def test_a_manifest_may_come_chunked(stocked: Client) -> None:
    pieces = Pieces([CONTENT[:10], CONTENT[10:]])
    headers = {"Content-Type": OCI_MANIFEST}
    answer = stocked.request("PUT", url_of("v1"), pieces, headers, chunked=True)
    assert (answer.status, answer["Docker-Content-Digest"]) == (201, DIGEST)


def test_a_subject_is_answered_whether_or_not_it_exists(stocked: Client) -> None:
    subject = descriptor(b"never pushed", OCI_MANIFEST)
    answer = put(stocked, "sig", encode({**MANIFEST, "subject": subject}))
    assert (answer.status, answer["OCI-Subject"]) == (201, subject["digest"])


def test_an_index_with_a_subject_is_answered_too(stocked: Client) -> None:
    subject = descriptor(b"never pushed", OCI_MANIFEST)
    answer = put(stocked, "sig", encode(index(subject=subject)), Content_Type=OCI_INDEX)
    assert (answer.status, answer["OCI-Subject"]) == (201, subject["digest"])


def test_a_tag_moves_and_the_old_manifest_stays(stocked: Client) -> None:
    old = stocked.push_manifest(MANIFEST, "v1")
    new = stocked.push_manifest(image(CONFIG), "v1")
    assert stocked.head(url_of("v1"))["Docker-Content-Digest"] == new
    assert stocked.head(url_of(old)).status == 200


@pytest.mark.parametrize("condition", ['"{}"', 'W/"{}"', '"x", "{}"', "*"])
@pytest.mark.parametrize("reference", ["v1", DIGEST])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_if_none_match_is_304(stocked: Client, method: str, reference: str, condition: str) -> None:
    put(stocked, "v1")
    headers = {"If-None-Match": condition.format(DIGEST)}
    answer = stocked.request(method, url_of(reference), headers=headers)
    assert (answer.status, answer.body) == (304, b"")
    assert (answer["ETag"], answer["Docker-Content-Digest"]) == (f'"{DIGEST}"', DIGEST)


def test_if_none_match_of_a_moved_tag_sends_the_new_one(stocked: Client) -> None:
    put(stocked, "v1")
    new = stocked.push_manifest(image(CONFIG), "v1")
    answer = stocked.get(url_of("v1"), If_None_Match=f'"{DIGEST}"')
    assert (answer.status, answer["Docker-Content-Digest"]) == (200, new)


def test_deleting_a_tag_leaves_the_manifest_and_other_tags(stocked: Client) -> None:
    for tag in ("v1", "v2"):
        put(stocked, tag)
    assert stocked.delete(url_of("v1")).status == 202
    assert stocked.get(url_of("v1")).outcome == (404, "MANIFEST_UNKNOWN")
    assert stocked.delete(url_of("v1")).outcome == (404, "MANIFEST_UNKNOWN")
    assert stocked.head(url_of("v2")).status == stocked.head(url_of(DIGEST)).status == 200


def test_deleting_a_manifest_takes_its_tags_along(stocked: Client) -> None:
    put(stocked, "v1")
    put(stocked, "v2")
    kept = stocked.push_manifest(image(CONFIG), "kept")
    assert stocked.delete(url_of(DIGEST)).status == 202
    for reference in ("v1", "v2", DIGEST):
        assert stocked.get(url_of(reference)).outcome == (404, "MANIFEST_UNKNOWN")
    assert stocked.delete(url_of(DIGEST)).outcome == (404, "MANIFEST_UNKNOWN")
    assert stocked.head(url_of("kept"))["Docker-Content-Digest"] == kept
    assert stocked.get("/v2/app/tags/list").json["tags"] == ["kept"]


def test_a_deleted_manifest_can_be_pushed_again(stocked: Client) -> None:
    put(stocked, "v1")
    stocked.delete(url_of(DIGEST))
    put(stocked, "v1")
    assert stocked.get(url_of("v1")).body == CONTENT


@pytest.mark.parametrize("reference", ["v1", DIGEST])
def test_delete_is_405_where_deletion_is_off(client_with: MakeClient, reference: str) -> None:
    client = client_with(delete_enabled=False)
    for blob in (CONFIG, LAYER):
        client.push_blob(blob)
    put(client, "v1")
    answer = client.delete(url_of(reference))
    assert answer.outcome == (405, "UNSUPPORTED")
    assert answer["Allow"] == "GET, HEAD, OPTIONS, PUT"
    assert client.head(url_of(reference)).status == 200


def test_a_damaged_manifest_reads_as_absent_and_heals_by_a_push(
    stocked: Client, root: Path
) -> None:
    put(stocked, "v1")
    stored = root / f"docker/registry/v2/blobs/sha256/{DIGEST[7:9]}/{DIGEST[7:]}/data"
    stored.write_bytes(CONTENT.replace(b"linux", b"LINUX").replace(b"layers", b"LAYERS"))
    assert stocked.get(url_of("v1")).outcome == (404, "MANIFEST_UNKNOWN")
    put(stocked, "v1")
    assert stocked.get(url_of("v1")).body == CONTENT
