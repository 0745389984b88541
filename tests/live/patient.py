"""A client that does not give up: what may go better later it does again, as docker does."""

import http.client
from collections.abc import Callable
from typing import TypeVar

from tests.live.client import Answer, Client, Upload, digest_of, pieces

T = TypeVar("T")
ATTEMPTS = 40


class Refused(Exception):
    """An answer that says to come again."""


FAILURES = (OSError, http.client.HTTPException, Refused)


def allow(answer: Answer, *statuses: int) -> Answer:
    """Return a hoped-for answer; raise Refused for one that may be another the next time."""
    if answer.status >= 500 or answer.status in (416, 429):
        raise Refused(f"{answer.status} {answer.error_code()}")
    assert answer.status in statuses, f"{answer.status}: {answer.body[:500]!r}"
    return answer


def patiently(act: Callable[[], T]) -> T:
    """Return what `act` returns when it succeeds at last."""
    for _ in range(ATTEMPTS):
        try:
            return act()
        except FAILURES as error:
            failure = error
    raise failure


def push_whole(client: Client, name: str, content: bytes) -> None:
    target = f"/v2/{name}/blobs/uploads/?digest={digest_of(content)}"
    patiently(lambda: allow(client.request("POST", target, content), 201))


def push_chunked(client: Client, name: str, content: bytes) -> None:
    def once() -> None:
        upload = _begin(client, name)
        allow(upload.patch(pieces(content, 100_000)), 202)
        allow(upload.finish(digest_of(content)), 201)

    patiently(once)


def push_in_parts(client: Client, name: str, content: bytes, part_bytes: int) -> None:
    """Push a blob part by part; after a failure ask how far it is, and go on from there."""
    upload = patiently(lambda: _begin(client, name))

    def once() -> None:
        if allow(upload.ask(), 204, 404).status == 404:
            # The last answer alone was lost.
            allow(client.request("HEAD", f"/v2/{name}/blobs/{digest_of(content)}"), 200)
            return
        while upload.size < len(content):
            part = content[upload.size : upload.size + part_bytes]
            allow(upload.patch_at(upload.size, part), 202)
        allow(upload.finish(digest_of(content)), 201)

    patiently(once)


def _begin(client: Client, name: str) -> Upload:
    answer = allow(client.request("POST", f"/v2/{name}/blobs/uploads/"), 202)
    return Upload(client, name, answer)


def put_manifest(client: Client, name: str, tag: str, manifest: bytes) -> None:
    patiently(lambda: allow(client.put_manifest(name, tag, manifest), 201))


def pull(client: Client, name: str, digest: str, begun: bytes = b"") -> None:
    """Pull a blob, going on where it was cut, until it is whole."""
    received = bytearray(begun)
    target = f"/v2/{name}/blobs/{digest}"

    def once() -> None:
        connection = http.client.HTTPConnection(client.host, timeout=30)
        try:
            connection.request("GET", target, headers={"Range": f"bytes={len(received)}-"})
            response = connection.getresponse()
            if response.status >= 500:
                raise Refused(f"{response.status} {response.read()!r}")
            assert response.status == 206, response.status
            while data := response.read1(1 << 20):
                received.extend(data)
            if response.length:
                raise http.client.IncompleteRead(b"", response.length)
        finally:
            connection.close()

    patiently(once)
    assert digest_of(bytes(received)) == digest
