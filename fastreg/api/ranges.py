"""`Range` and `Content-Range`. RFC 9110, section 14; the upload forms of the OCI spec."""

from __future__ import annotations

import re
from typing import Final

from fastreg.errors import BlobUploadInvalid

MAX_RANGES: Final = 128
"""More than a lazy-pulling snapshotter asks for at once; beyond, the whole blob is sent."""

_RANGE = re.compile(r"(\d{0,100})\s*-\s*(\d{0,100})\Z", re.ASCII)
_CONTENT_RANGE = re.compile(
    r"(?:bytes[ =])?\s*(\d{1,19})-(\d{1,19})(?:/(?:\d{1,19}|\*))?\Z", re.ASCII
)


def parse_range(header: str, size: int) -> list[tuple[int, int]] | None:
    """Return the satisfiable (offset, length) pairs of a `Range` header, in its order.

    An empty list where none is satisfiable (416), as one that ends before it begins is not.
    None where the header is ignored: no byte range, malformed, or one that asks for more
    bytes than the blob has.
    """
    unit, equals, ranges = header.partition("=")
    if not equals or unit.strip().lower() != "bytes":
        return None
    found: list[tuple[int, int]] = []
    parts = [p.strip() for p in ranges.split(",") if p.strip()]
    if not parts or len(parts) > MAX_RANGES:
        return None
    for part in parts:
        match = _RANGE.match(part)
        if not match or match[0] == "-":
            return None
        first, last = match[1], match[2]
        if not first:
            begin, end = max(0, size - int(last)), size
        else:
            begin, end = int(first), min(int(last) + 1, size) if last else size
        if begin < end:
            found.append((begin, end - begin))
    if len(found) > 1 and sum(length for _, length in found) > size:
        return None
    return found


def parse_content_range(header: str) -> tuple[int, int]:
    """Return (start, length) of an upload's `Content-Range`: `0-99` or `bytes 0-99/200`.

    Raises BlobUploadInvalid.
    """
    match = _CONTENT_RANGE.match(header.strip())
    if not match or int(match[2]) < int(match[1]):
        raise BlobUploadInvalid(
            f"Content-Range {header[:80]!r} is not of the form <start>-<end>, both inclusive"
        )
    return int(match[1]), int(match[2]) - int(match[1]) + 1
