"""`/v2/<name>/blobs/<digest>`: distribution-spec, "Pulling blobs", "Deleting Blobs"."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from functools import partial

from fastreg.api.call import Call
from fastreg.api.http import Body, Headers, Readable, Request, Response, Segment
from fastreg.api.ranges import parse_range
from fastreg.errors import RangeInvalid
from fastreg.oci.digest import Digest
from fastreg.registry.blobs import Blob

OCTETS = "application/octet-stream"
_IMMUTABLE = ("Cache-Control", "max-age=31536000")
_REDIRECT_S = 20 * 60
"""Time enough to begin; what has begun is not cut."""


def get_blob(call: Call) -> Response:
    digest = call.digest
    blob = call.repository.blobs.find(digest)
    headers: Headers = [
        ("Docker-Content-Digest", str(digest)),
        ("ETag", f'"{digest}"'),
        ("Accept-Ranges", "bytes"),
        _IMMUTABLE,
    ]
    if has_etag(call.request.header("If-None-Match"), str(digest)):
        return Response(304, headers, lasts=True)
    if call.settings.redirect and (url := _elsewhere(call.request, blob)):
        return Response(307, [("Location", url), headers[0]])
    ranges = _wanted_ranges(call.request, digest, blob.size)
    if ranges is None:
        return _whole(call.request, blob, headers)
    if not ranges:
        raise RangeInvalid(
            f"the blob has {blob.size} bytes",
            headers=[("Content-Range", f"bytes */{blob.size}")],
        )
    if len(ranges) == 1:
        return _one_range(blob, ranges[0], headers)
    return _several_ranges(blob, ranges, headers)


def _elsewhere(request: Request, blob: Blob) -> str | None:
    """Return where the client can get the blob without us. The store knows no answer of
    several ranges; and a question without a body is answered sooner than redirected."""
    if request.method != "GET" or "," in request.header("Range"):
        return None
    return blob.signed_url(_REDIRECT_S)


def delete_blob(call: Call) -> Response:
    call.repository.blobs.delete(call.digest)
    return Response(202)


def has_etag(header: str, digest: str) -> bool:
    """Whether an `If-None-Match` names the digest (weak comparison, RFC 9110, 13.1.2)."""
    tags = [t.strip().removeprefix("W/").strip('"') for t in header.split(",")]
    return digest in tags or "*" in tags


def _wanted_ranges(request: Request, digest: Digest, size: int) -> list[tuple[int, int]] | None:
    """Return the ranges to send, None for the whole blob. A `Range` is for GET alone (RFC
    9110, 14.2)."""
    header = request.header("Range") if request.method == "GET" else ""
    condition = request.header("If-Range")
    if not header or (condition and condition.strip() != f'"{digest}"'):
        return None
    return parse_range(header, size)


def _whole(request: Request, blob: Blob, headers: Headers) -> Response:
    headers += [("Content-Type", OCTETS), ("Content-Length", str(blob.size))]
    body = Body([] if request.method == "HEAD" else [blob.open()])
    return Response(200, headers, body, lasts=True)


def _one_range(blob: Blob, wanted: tuple[int, int], headers: Headers) -> Response:
    offset, length = wanted
    content_range = _content_range(offset, length, blob.size)
    headers += [("Content-Type", OCTETS), ("Content-Range", content_range)]
    return Response(206, headers, Body([blob.open(offset, length)]), lasts=True)


def _several_ranges(blob: Blob, ranges: list[tuple[int, int]], headers: Headers) -> Response:
    """RFC 9110, section 14.6: one part a range, in the order asked for."""
    boundary = secrets.token_hex(12)
    pieces: list[bytes | Readable] = []
    whole = blob.open()
    for offset, length in ranges:
        content_range = _content_range(offset, length, blob.size)
        head = f"\r\n--{boundary}\r\nContent-Type: {OCTETS}\r\n"
        pieces.append(f"{head}Content-Range: {content_range}\r\n\r\n".encode())
        pieces.append(_Part(whole, blob.open, offset, length))
    pieces.append(f"\r\n--{boundary}--\r\n".encode())
    headers.append(("Content-Type", f"multipart/byteranges; boundary={boundary}"))
    return Response(206, headers, Body(pieces))


class _Part:
    """One of several ranges of a blob. All share one file: an answer must not cost a worker
    a descriptor a range. Where it cannot be sent from, they are opened one after the other."""

    def __init__(
        self, whole: Readable, open_range: Callable[[int, int], Readable], offset: int, length: int
    ) -> None:
        self._whole = whole
        self._open_range = partial(open_range, offset, length)
        self._range: Readable | None = None
        self.offset = offset
        self.length = length

    def fileno(self) -> int | None:
        return self._whole.fileno()

    def segments(self) -> Iterator[Segment]:
        fd = self.fileno()
        if fd is not None:
            yield fd, self.offset, self.length
            return
        self._range = self._open_range()
        yield from self._range.segments()
        self._range.close()

    def read(self, max_bytes: int) -> bytes:
        if self._range is None:
            self._range = self._open_range()
        data = self._range.read(max_bytes)
        if not data:
            self._range.close()
        return data

    def close(self) -> None:
        self._whole.close()
        if self._range:
            self._range.close()


def _content_range(offset: int, length: int, size: int) -> str:
    return f"bytes {offset}-{offset + length - 1}/{size}"
