"""Manifests that are not taken, and tags that do not move."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from fastreg.api import app as app_module
from fastreg.registry.content import MAX_MANIFEST_BYTES
from tests.api.client import (
    DOCKER_LIST,
    DOCKER_MANIFEST,
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

SCHEMA1 = "application/vnd.docker.distribution.manifest.v1+json"
SIGNED = "application/vnd.docker.distribution.manifest.v1+prettyjws"


def assert_nothing_was_stored(client: Client) -> None:
    assert client.get(url_of("v1")).outcome == (404, "MANIFEST_UNKNOWN")
    assert client.get("/v2/app/tags/list").json["tags"] == []


def test_every_missing_reference_is_listed(client: Client) -> None:
    client.push_blob(LAYER)
    document = image(CONFIG, LAYER, b"one", b"two", b"one")
    answer = put(client, "v1", encode(document))
    assert answer.outcome == (400, "MANIFEST_BLOB_UNKNOWN")
    errors = answer.json["errors"]
    assert {e["code"] for e in errors} == {"MANIFEST_BLOB_UNKNOWN"}
    assert [e["detail"]["digest"] for e in errors] == [
        digest_of(blob) for blob in (CONFIG, b"one", b"two")
    ]
    assert client.get(url_of("v1")).status == 404


def test_every_missing_manifest_of_an_index_is_listed(stocked: Client) -> None:
    stocked.push_manifest(MANIFEST)
    others = [image(CONFIG, annotations={"n": str(n)}) for n in range(3)]
    answer = put(
        stocked, "v1", encode(index(others[0], MANIFEST, *others[1:])), Content_Type=OCI_INDEX
    )
    assert answer.outcome == (400, "MANIFEST_BLOB_UNKNOWN")
    missing = [e["detail"]["digest"] for e in answer.json["errors"]]
    assert missing == [digest_of(encode(o)) for o in others]


def test_blobs_of_another_repository_are_missing_here(stocked: Client) -> None:
    answer = stocked.put("/v2/other/manifests/v1", CONTENT, Content_Type=OCI_MANIFEST)
    assert answer.outcome == (400, "MANIFEST_BLOB_UNKNOWN")


@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize("reference", ["v1", DIGEST])
def test_a_manifest_of_more_than_four_mebibytes_is_413(
    stocked: Client, reference: str, chunked: bool
) -> None:
    content = CONTENT + b" " * (MAX_MANIFEST_BYTES + 1 - len(CONTENT))
    body = Pieces([content[:100], content[100:], b"endless" * 1000])
    headers = {"Content-Type": OCI_MANIFEST}
    if not chunked:
        headers["Content-Length"] = str(len(content))
    answer = stocked.request("PUT", url_of(reference), body, headers, chunked=chunked)
    assert answer.outcome == (413, "MANIFEST_INVALID")
    assert body.taken <= (MAX_MANIFEST_BYTES + 1 if chunked else 0)


@pytest.mark.parametrize("algorithm", ["sha256", "sha512", "blake3"])
def test_content_of_another_digest_is_400(stocked: Client, algorithm: str) -> None:
    digest = digest_of(CONTENT, algorithm)
    answer = put(stocked, f"{digest}?tag=v1", CONTENT + b"  ")
    assert answer.outcome == (400, "DIGEST_INVALID")
    detail = answer.json["errors"][0]["detail"]
    assert detail == {"provided": digest, "actual": digest_of(CONTENT + b"  ", algorithm)}
    assert_nothing_was_stored(stocked)


@pytest.mark.parametrize("reference", ["sha256:baddigeststring", "md5:abc", "sha256:", ":", "a:b"])
@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
def test_an_invalid_digest_is_400(stocked: Client, method: str, reference: str) -> None:
    answer = stocked.request(method, url_of(reference), CONTENT)
    assert answer.outcome == (400, "DIGEST_INVALID")


BAD_TAGS = [".hidden", "-dash", "a" * 129, "caf%C3%A9", "a%20b", "a+b%00", "..", "a%0a"]


@pytest.mark.parametrize("tag", BAD_TAGS)
def test_an_invalid_tag_is_400_to_push_and_404_to_pull(stocked: Client, tag: str) -> None:
    assert put(stocked, tag).outcome == (400, "TAG_INVALID")
    assert stocked.get(url_of(tag)).outcome == (404, "MANIFEST_UNKNOWN")
    assert stocked.delete(url_of(tag)).outcome == (404, "MANIFEST_UNKNOWN")


@pytest.mark.parametrize("tag", [*BAD_TAGS, ""])
def test_one_invalid_tag_parameter_refuses_the_push(stocked: Client, tag: str) -> None:
    answer = put(stocked, f"{DIGEST}?tag=v1&tag={tag}")
    assert answer.outcome == (400, "TAG_INVALID")
    assert_nothing_was_stored(stocked)


def test_too_many_tags_are_refused(stocked: Client) -> None:
    answer = put(stocked, DIGEST + "?" + "&".join(f"tag=v{i}" for i in range(101)))
    assert answer.status == 400
    assert_nothing_was_stored(stocked)


@pytest.mark.parametrize("media_type", [SCHEMA1, SIGNED])
@pytest.mark.parametrize("schema_version", [1, 2])
def test_schema_1_is_refused_with_what_to_do(
    stocked: Client, media_type: str, schema_version: int
) -> None:
    document = {"schemaVersion": schema_version, "name": "app", "fsLayers": [], "history": []}
    answer = put(stocked, "v1", encode(document), Content_Type=media_type)
    assert answer.outcome == (400, "MANIFEST_INVALID")
    assert "schema 2" in answer.json["errors"][0]["detail"]
    assert_nothing_was_stored(stocked)


def without(document: dict[str, Any], *fields: str) -> dict[str, Any]:
    return {k: v for k, v in document.items() if k not in fields}


REFUSED: dict[str, tuple[bytes, str]] = {
    "nothing": (b"", OCI_MANIFEST),
    "not JSON": (b"{", OCI_MANIFEST),
    "not an object": (b"[]", OCI_MANIFEST),
    "not UTF-8": (b'{"schemaVersion": 2, "x": "\xff"}', OCI_MANIFEST),
    "deeply nested": (b"[" * 100_000, OCI_MANIFEST),
    "unknown type": (encode(MANIFEST), "application/vnd.example+json"),
    "unknown type inside": (encode({**MANIFEST, "mediaType": "application/x"}), ""),
    "types that differ": (encode(MANIFEST), DOCKER_MANIFEST),
    "an index sent as an image": (encode(index()), OCI_MANIFEST),
    "an image sent as an index": (encode(without(MANIFEST, "mediaType")), OCI_INDEX),
    "both an image and an index": (encode({**MANIFEST, "manifests": []}), OCI_MANIFEST),
    "both an index and an image": (encode({**index(), "layers": []}), OCI_INDEX),
    "a Docker image that does not say so": (
        encode(without(MANIFEST, "mediaType")),
        DOCKER_MANIFEST,
    ),
    "a Docker list that does not say so": (encode(without(index(), "mediaType")), DOCKER_LIST),
    "no config": (encode(without(MANIFEST, "config")), OCI_MANIFEST),
    "schema version 3": (encode({**MANIFEST, "schemaVersion": 3}), OCI_MANIFEST),
    "no schema version": (encode(without(MANIFEST, "schemaVersion")), OCI_MANIFEST),
    "a digest of no form": (
        encode({**MANIFEST, "config": {"digest": "sha256:x", "size": 1}}),
        OCI_MANIFEST,
    ),
    "a path for a digest": (
        encode({**MANIFEST, "config": {"digest": "../../../etc/passwd", "size": 1}}),
        OCI_MANIFEST,
    ),
    "a negative size": (
        encode({**MANIFEST, "config": {**descriptor(CONFIG, ""), "size": -1}}),
        OCI_MANIFEST,
    ),
    "a bad subject": (
        encode({**MANIFEST, "subject": {"digest": "sha256:\n", "size": 1}}),
        OCI_MANIFEST,
    ),
    "an annotation that is no text": (
        encode({**MANIFEST, "annotations": {"a": 1}}),
        OCI_MANIFEST,
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_no_manifest_is_400(stocked: Client, case: str) -> None:
    content, content_type = REFUSED[case]
    answer = put(stocked, "v1", content, Content_Type=content_type)
    assert answer.outcome == (400, "MANIFEST_INVALID")
    assert answer.json["errors"][0]["detail"]
    assert_nothing_was_stored(stocked)


def test_an_unknown_manifest_is_404(client: Client) -> None:
    for reference in ("latest", DIGEST):
        assert client.get(url_of(reference)).outcome == (404, "MANIFEST_UNKNOWN")
        assert client.head(url_of(reference)).status == 404
        assert client.delete(url_of(reference)).outcome == (404, "MANIFEST_UNKNOWN")


def test_a_blob_is_no_manifest(client: Client) -> None:
    digest = client.push_blob(CONTENT)
    assert client.get(url_of(digest)).outcome == (404, "MANIFEST_UNKNOWN")


def test_a_manifest_of_another_repository_is_404(stocked: Client) -> None:
    put(stocked, "v1")
    assert stocked.get(url_of(DIGEST, "other")).outcome == (404, "MANIFEST_UNKNOWN")


@pytest.mark.parametrize(
    "headers",
    [
        {"If_None_Match": "*"},
        {"If_Match": f'"{digest_of(b"another")}"'},
        {"If_Match": f'W/"{DIGEST}"'},
        {"If_None_Match": f'"{DIGEST}"'},
    ],
)
def test_a_push_whose_condition_does_not_hold_is_412(
    stocked: Client, headers: dict[str, str]
) -> None:
    put(stocked, "v1")
    new = encode(image(CONFIG))
    answer = put(stocked, "v1", new, **headers)
    assert answer.status == 412
    assert answer.code
    assert stocked.head(url_of("v1"))["Docker-Content-Digest"] == DIGEST
    assert stocked.get(url_of(digest_of(new))).status == 404


@pytest.mark.parametrize(
    "condition", ['"{}"', '"x", "{}"', "*", "{}"], ids=["one", "list", "any", "unquoted"]
)
def test_a_push_whose_if_match_holds_moves_the_tag(stocked: Client, condition: str) -> None:
    put(stocked, "v1")
    new = encode(image(CONFIG))
    assert put(stocked, "v1", new, If_Match=condition.format(DIGEST)).status == 201
    assert stocked.head(url_of("v1"))["Docker-Content-Digest"] == digest_of(new)


def test_if_match_of_an_absent_tag_is_412(stocked: Client) -> None:
    for condition in ("*", f'"{DIGEST}"'):
        assert put(stocked, "v1", If_Match=condition).status == 412
    assert_nothing_was_stored(stocked)


def test_if_none_match_any_creates_a_tag_once(stocked: Client) -> None:
    answers = [put(stocked, "v1", If_None_Match="*").status for _ in range(2)]
    assert answers == [201, 412]


def test_conditions_hold_for_every_tag_parameter(stocked: Client) -> None:
    put(stocked, "taken")
    new = encode(image(CONFIG))
    answer = put(stocked, f"{digest_of(new)}?tag=free&tag=taken", new, If_None_Match="*")
    assert answer.status == 412
    assert stocked.get("/v2/app/tags/list").json["tags"] == ["taken"]


def test_conditions_hold_for_a_push_by_digest(stocked: Client) -> None:
    answers = [put(stocked, DIGEST, If_None_Match="*").status for _ in range(2)]
    assert answers == [201, 412]


@pytest.mark.parametrize("failure", [TimeoutError("slow"), ConnectionResetError(104, "gone")])
def test_a_manifest_cut_short_is_not_stored(stocked: Client, failure: OSError) -> None:
    body = Pieces([CONTENT], failure)
    answer = stocked.request("PUT", url_of("v1"), body, chunked=True)
    assert answer.status == (408 if isinstance(failure, TimeoutError) else 400)
    assert_nothing_was_stored(stocked)


def test_a_body_shorter_than_announced_is_not_stored(stocked: Client, root: Path) -> None:
    headers = {"Content-Length": str(len(CONTENT) + 1)}
    answer = stocked.request("PUT", url_of("v1"), Pieces([CONTENT]), headers)
    assert answer.outcome == (400, "SIZE_INVALID")
    assert not list(root.rglob("_manifests"))


def test_manifests_on_their_way_in_have_a_common_bound(
    client_with: MakeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(app_module, "MANIFEST_BUDGET_BYTES", 1000)
    client = client_with()
    free = 64 << 10
    assert client.put(url_of("v1"), b"x" * (free + 1001)).outcome == (429, "TOOMANYREQUESTS")
    # What was spent came back: this one is read, and refused for what it is.
    assert client.put(url_of("v1"), b"x" * (free + 1000)).outcome == (400, "MANIFEST_INVALID")


def test_a_common_manifest_is_taken_while_large_ones_hold_the_budget(
    stocked: Client, client_with: MakeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(app_module, "MANIFEST_BUDGET_BYTES", 0)
    assert put(client_with(), "v1", encode(MANIFEST)).status == 201
