"""What many tests push, and the shortest way to push it."""

from __future__ import annotations

from tests.api.client import OCI_MANIFEST, Answer, Client, digest_of, encode, image

DATA = b"a blob that is pushed in pieces " * 40
HALF = len(DATA) // 2

CONFIG, LAYER = b'{"os": "linux"}', b"a layer"
MANIFEST = image(CONFIG, LAYER)
CONTENT = encode(MANIFEST)
DIGEST = digest_of(CONTENT)


def assert_is_stored(client: Client, location: str, data: bytes = DATA) -> None:
    answer = client.get(location)
    assert (answer.status, answer.body) == (200, data)


def url_of(reference: str, name: str = "app") -> str:
    return f"/v2/{name}/manifests/{reference}"


def put(client: Client, reference: str, content: bytes = CONTENT, **headers: str) -> Answer:
    return client.put(url_of(reference), content, **{"Content_Type": OCI_MANIFEST, **headers})
