"""`/v2/<name>/blobs/uploads/`: distribution-spec, "Pushing blobs" and "Cancel a Blob Upload"."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from fastreg.api.call import Call, parse_digest
from fastreg.api.http import Headers, Response
from fastreg.api.ranges import parse_content_range
from fastreg.api.state import sign_state
from fastreg.errors import (
    BlobUploadInvalid,
    BlobUploadUnknown,
    DigestInvalid,
    SizeInvalid,
    UploadOutOfOrder,
)
from fastreg.oci.digest import Digest, InvalidDigest, check_algorithm
from fastreg.oci.names import is_name, is_upload_id
from fastreg.registry.repository import Repository


def start_upload(call: Call) -> Response:
    """Mount a blob, take a whole one, or begin a session: in that order of preference."""
    if "mount" in call.request.query and (mounted := _mount(call)):
        return _created(call, mounted)
    uploads = call.repository.uploads
    if _is_monolithic(call):
        digest = parse_digest(call.request.parameter("digest"))
        uploads.push(call.request.body, digest)
        return _created(call, digest)
    upload_id = uploads.start(_algorithm(call))
    return Response(202, _session_headers(call, upload_id, 0))


def get_upload(call: Call) -> Response:
    upload_id = _upload_id(call)
    size = call.repository.uploads.size(upload_id)
    return Response(204, _session_headers(call, upload_id, size))


def append_upload(call: Call) -> Response:
    upload_id = _upload_id(call)
    start, length = _expected(call)
    with _telling_where(call, upload_id):
        size = call.repository.uploads.append(
            upload_id, call.request.body, start=start, length=length
        )
    return Response(202, _session_headers(call, upload_id, size))


def finish_upload(call: Call) -> Response:
    upload_id = _upload_id(call)
    if "digest" not in call.request.query:
        raise DigestInvalid("the digest parameter is missing: PUT <location>?digest=<digest>")
    digest = parse_digest(call.request.parameter("digest"))
    start, length = _expected(call)
    with _telling_where(call, upload_id):
        call.repository.uploads.finish(
            upload_id, call.request.body, digest, start=start, length=length
        )
    return _created(call, digest)


def cancel_upload(call: Call) -> Response:
    upload_id = _upload_id(call)
    with _telling_where(call, upload_id):
        call.repository.uploads.cancel(upload_id)
    return Response(204)


def _mount(call: Call) -> Digest | None:
    """Return the digest that was mounted, None where a session must do.

    What cannot be mounted, for whatever reason, is no error: the client uploads it.
    """
    try:
        digest = Digest.parse(call.request.parameter("mount"))
    except InvalidDigest:
        return None
    blobs = call.repository.blobs
    return digest if any(blobs.mount(digest, s.blobs) for s in _sources(call, digest)) else None


def _sources(call: Call, digest: Digest) -> Iterator[Repository]:
    source = call.request.parameter("from")
    if is_name(source):
        yield call.registry.repository(source)
    elif not source:
        yield from call.registry.holders(digest)


def _is_monolithic(call: Call) -> bool:
    """A POST that names a digest but brings nothing is a client that wants a session."""
    digest = call.request.parameter("digest")
    return bool(digest) and (call.request.has_body or parse_digest(digest).is_of_nothing)


def _algorithm(call: Call) -> str:
    try:
        return check_algorithm(call.request.parameter("digest-algorithm") or "sha256")
    except InvalidDigest as e:
        raise DigestInvalid(str(e)) from None


def _upload_id(call: Call) -> str:
    upload_id = call.arguments["upload_id"]
    if not is_upload_id(upload_id):
        raise BlobUploadUnknown({"upload": upload_id[:80], "reason": "not an upload's id"})
    return upload_id


def _expected(call: Call) -> tuple[int | None, int | None]:
    """Return where the body must belong and how long it must be, None for what the request
    does not say. `offset` is what our own Location said the session held."""
    header = call.request.header("Content-Range")
    if header:
        start, length = parse_content_range(header)
        announced = call.request.content_length
        if announced not in (None, length):
            raise SizeInvalid(f"Content-Range is {length} bytes, Content-Length {announced}")
        return start, length
    offset = call.request.parameter("offset")
    if not offset or not call.request.has_body:
        return None, None
    if not (offset.isascii() and offset.isdecimal() and len(offset) < 19):
        raise BlobUploadInvalid(f"offset {offset[:40]!r} is not a number")
    return int(offset), None


@contextmanager
def _telling_where(call: Call, upload_id: str) -> Iterator[None]:
    """A request out of order is told where to go on."""
    try:
        yield
    except UploadOutOfOrder as e:
        e.headers = tuple(_session_headers(call, upload_id, e.size))
        raise


def _session_headers(call: Call, upload_id: str, size: int) -> Headers:
    name, secret = call.repository.name, call.settings.secret
    query: dict[str, str | int] = {"offset": size}
    if secret:
        query["_state"] = sign_state(secret, name, upload_id, size)
    return [
        ("Location", call.url(f"/v2/{name}/blobs/uploads/{upload_id}", **query)),
        # Inclusive; docker takes 0-0 for nothing and rejects 0--1.
        ("Range", f"0-{max(size - 1, 0)}"),
        ("Docker-Upload-UUID", upload_id),
    ]


def _created(call: Call, digest: Digest) -> Response:
    location = call.url(f"/v2/{call.repository.name}/blobs/{digest}")
    return Response(201, [("Location", location), ("Docker-Content-Digest", str(digest))])
