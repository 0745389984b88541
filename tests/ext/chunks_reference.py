"""Bodies in chunks, decoded as a whole by regular expressions: slow, and easily checked
against RFC 9112, 7.1."""

from __future__ import annotations

import re
from dataclasses import dataclass

MAX_LINE = 1024
MAX_TRAILERS = 8192

_CHUNK_LINE = re.compile(rb"([0-9A-Fa-f]{1,15})[ \t]*(;[\t\x20-\x7e\x80-\xff]*)?")
_TRAILER = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+:[\t\x20-\x7e\x80-\xff]*")


@dataclass
class Decoded:
    data: bytes
    rest: bytes | None = None
    """What follows the body; None where it has not ended."""
    is_faulty: bool = False


class _Incomplete(Exception):
    pass


class _Faulty(Exception):
    pass


class _Reader:
    def __init__(self, raw: bytes) -> None:
        self.raw = raw
        self.data = b""

    def line(self, max_bytes: int) -> bytes:
        end = self.raw.find(b"\r\n", 0, max_bytes + 2)
        if end < 0:
            raise _Faulty if len(self.raw) > max_bytes + 1 else _Incomplete
        line, self.raw = self.raw[:end], self.raw[end + 2 :]
        return line

    def chunk(self) -> int:
        match = _CHUNK_LINE.fullmatch(self.line(MAX_LINE))
        if match is None:
            raise _Faulty
        size = int(match[1], 16)
        self.data, self.raw = self.data + self.raw[:size], self.raw[size:]
        if size and not self.raw:
            raise _Incomplete
        if size and self.line(0):
            raise _Faulty
        return size

    def trailers(self) -> None:
        room = MAX_TRAILERS
        while line := self.line(room):
            if not _TRAILER.fullmatch(line):
                raise _Faulty
            room = max(0, room - len(line) - 2)


def decode(raw: bytes) -> Decoded:
    reader = _Reader(raw)
    try:
        while reader.chunk():
            pass
        reader.trailers()
    except _Incomplete:
        return Decoded(reader.data)
    except _Faulty:
        return Decoded(reader.data, is_faulty=True)
    return Decoded(reader.data, rest=reader.raw)
