"""The life of every kind of content, as the conformance suite of the OCI leads it."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import pytest

from tests.api.client import (
    OCI_CONFIG,
    OCI_INDEX,
    OCI_LAYER,
    OCI_MANIFEST,
    Client,
    Pieces,
    descriptor,
    digest_of,
    encode,
    image,
    index,
)

Push = Callable[[Client, bytes, str], str]
"""Pushes the bytes under the digest, and returns the blob's location."""

CHUNK = 1024


def post_only(client: Client, data: bytes, digest: str) -> str:
    answer = client.post(f"/v2/app/blobs/uploads/?digest={digest}", data)
    assert answer.status == 201
    return answer["Location"]


def post_put(client: Client, data: bytes, digest: str) -> str:
    answer = client.put(f"{client.start()}&digest={digest}", data)
    assert answer.status == 201
    return answer["Location"]


def stream(client: Client, data: bytes, digest: str) -> str:
    answer = client.request("PATCH", client.start(), Pieces([data]), chunked=True)
    assert answer.status == 202
    answer = client.put(f"{answer['Location']}&digest={digest}")
    assert answer.status == 201
    return answer["Location"]


def mount(client: Client, data: bytes, digest: str) -> str:
    client.push_blob(data, "source", digest.partition(":")[0])
    answer = client.post(f"/v2/app/blobs/uploads/?mount={digest}&from=source")
    assert answer.status == 201
    return answer["Location"]


def in_chunks(*, put_last: bool, out_of_order: bool) -> Push:
    def push(client: Client, data: bytes, digest: str) -> str:
        algorithm = digest.partition(":")[0]
        location = client.start(query=f"?digest-algorithm={algorithm}")
        for start in range(0, len(data), CHUNK):
            end = min(start + CHUNK, len(data)) - 1
            if out_of_order:
                location = miss(client, location, data, start)
            is_put = put_last and end == len(data) - 1
            answer = client.request(
                "PUT" if is_put else "PATCH",
                f"{location}&digest={digest}" if is_put else location,
                data[start : end + 1],
                {"Content-Range": f"{start}-{end}"},
            )
            assert answer.status == (201 if is_put else 202)
            location = answer["Location"]
        return location if put_last else client.put(f"{location}&digest={digest}")["Location"]

    return push


def miss(client: Client, location: str, data: bytes, expected: int) -> str:
    """Send a chunk that is not due, and return where the session says to go on."""
    start = expected + CHUNK if expected + CHUNK < len(data) else 0
    chunk = data[start : start + CHUNK]
    headers = {"Content-Range": f"{start}-{start + len(chunk) - 1}"}
    if start != expected:
        assert client.request("PATCH", location, chunk, headers).status == 416
    answer = client.get(location)
    assert answer.status == 204
    assert answer["Range"] == f"0-{max(expected - 1, 0)}"
    return answer["Location"]


PUSHES: dict[str, Push] = {
    "one POST": post_only,
    "POST and PUT": post_put,
    "a stream": stream,
    "a mount": mount,
    "chunks": in_chunks(put_last=False, out_of_order=False),
    "chunks, the last in the PUT": in_chunks(put_last=True, out_of_order=False),
    "chunks out of order": in_chunks(put_last=False, out_of_order=True),
    "chunks out of order, the last in the PUT": in_chunks(put_last=True, out_of_order=True),
}


@pytest.mark.parametrize("algorithm", ["sha256", "sha512", "blake3"])
@pytest.mark.parametrize("size", [2, 512, 3 * CHUNK - 5, 3 * CHUNK])
@pytest.mark.parametrize("push", PUSHES)
def test_a_blob_lives_from_push_to_delete(
    client: Client, push: str, size: int, algorithm: str
) -> None:
    data = os.urandom(size)
    digest = digest_of(data, algorithm)
    url = f"/v2/app/blobs/{digest}"
    assert client.get(url).status == 404
    location = PUSHES[push](client, data, digest)
    for place in (location, url):
        answer = client.get(place)
        assert (answer.status, answer.body) == (200, data)
        assert answer["Docker-Content-Digest"] == digest
    assert client.head(url)["Content-Length"] == str(size)
    assert client.delete(url).status == 202
    assert client.head(url).status == 404


EMPTY = b"{}"
EMPTY_TYPE = "application/vnd.oci.empty.v1+json"
CONFIG, LAYER = os.urandom(100), os.urandom(200)
IMAGE = image(CONFIG, LAYER)
ARM = image(CONFIG, LAYER, annotations={"platform": "arm64"})
ARTIFACT = {
    **image(EMPTY),
    "artifactType": "application/vnd.example.one",
    "config": descriptor(EMPTY, EMPTY_TYPE),
    "layers": [descriptor(EMPTY, EMPTY_TYPE)],
}
SUBJECT = descriptor(encode(IMAGE), OCI_MANIFEST)
ABSENT = descriptor(b"never pushed", OCI_MANIFEST)
FOREIGN = descriptor(b"elsewhere", OCI_LAYER.replace("layer.v1", "layer.nondistributable.v1"))
LARGE = {f"large-{i}": "A" * 10_000 for i in range(390)}

CONTENTS: dict[str, list[dict[str, Any]]] = {
    "an image": [IMAGE],
    "an image of many annotations": [image(CONFIG, LAYER, annotations=LARGE)],
    "an index": [IMAGE, ARM, index(IMAGE, ARM)],
    "a nested index": [IMAGE, ARM, index(IMAGE), index(ARM), index(index(IMAGE), index(ARM))],
    "an empty index": [index()],
    "an artifact": [ARTIFACT],
    "an index of artifacts": [ARTIFACT, index(ARTIFACT, artifactType="application/x")],
    "artifacts with a subject": [
        IMAGE,
        {**ARTIFACT, "subject": SUBJECT, "annotations": {"a": "1"}},
        {**ARTIFACT, "subject": SUBJECT, "artifactType": "application/vnd.example.two"},
    ],
    "an index with a subject": [IMAGE, index(IMAGE, subject=SUBJECT)],
    "an artifact with a subject that is not there": [{**ARTIFACT, "subject": ABSENT}],
    "a descriptor with its data": [
        {**ARTIFACT, "config": {**descriptor(EMPTY, EMPTY_TYPE), "data": "e30="}}
    ],
    "a layer that is not distributed": [{**IMAGE, "layers": [FOREIGN, *IMAGE["layers"]]}],
    "unknown fields": [{**IMAGE, "x-custom": ["field"]}],
    "an image without layers": [image(CONFIG)],
}


@pytest.mark.parametrize("algorithm", ["sha256", "sha512", "blake3"])
@pytest.mark.parametrize("content", CONTENTS)
def test_a_manifest_lives_from_push_to_delete(client: Client, content: str, algorithm: str) -> None:
    for blob in (EMPTY, CONFIG, LAYER):
        client.push_blob(blob)
    pushed = [encode(document) for document in CONTENTS[content]]
    for data in pushed[:-1]:
        client.push_manifest(data)
    push_and_pull(client, pushed[-1], algorithm)
    for data in reversed(pushed[:-1]):
        assert client.delete(f"/v2/app/manifests/{digest_of(data)}").status == 202
    assert client.get("/v2/app/tags/list").json["tags"] == []


def push_and_pull(client: Client, data: bytes, algorithm: str) -> None:
    digest = digest_of(data, algorithm)
    document = CONTENT_TYPES[b'"manifests"' in data]
    url = f"/v2/app/manifests/{digest}"
    answer = client.put(f"{url}?tag=one&tag=two", data, Content_Type=document)
    assert answer.status == 201
    assert answer.all("OCI-Tag") == ["one", "two"]
    for reference in (digest, "one", "two"):
        pulled = client.get(f"/v2/app/manifests/{reference}")
        assert (pulled.status, pulled.body) == (200, data)
        assert (pulled["Content-Type"], pulled["Docker-Content-Digest"]) == (document, digest)
    if subject := answer["OCI-Subject"]:
        listed = client.get(f"/v2/app/referrers/{subject}").json["manifests"]
        assert digest in [entry["digest"] for entry in listed]
    assert client.delete("/v2/app/manifests/one").status == 202
    assert client.delete(url).status == 202
    for reference in (digest, "one", "two"):
        assert client.head(f"/v2/app/manifests/{reference}").status == 404


CONTENT_TYPES = {False: OCI_MANIFEST, True: OCI_INDEX}


def test_types_of_the_descriptors_do_not_decide_what_is_a_blob(client: Client) -> None:
    client.push_blob(CONFIG)
    client.push_blob(LAYER)
    odd = {**IMAGE, "layers": [descriptor(LAYER, OCI_MANIFEST), descriptor(CONFIG, OCI_CONFIG)]}
    client.push_manifest(odd, "v1")
    assert client.head("/v2/app/manifests/v1").status == 200
