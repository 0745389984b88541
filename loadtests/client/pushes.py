"""Blobs on their way in: whole, in one request, in chunks or as a stream; broken and resumed.

What is sent is produced while it goes out, and produced again where it must be sent again.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Protocol

from loadtests.client.answers import TURN_BYTES, Answer, Turns
from loadtests.client.auth import push_scope
from loadtests.client.calls import Calls
from loadtests.client.failures import Cut, DigestMismatch, Failure
from loadtests.client.wire import Body

STREAM_BYTES = 32 << 10
"""The pieces in which Go's HTTP client frames a body of unknown length."""
MAX_STANDS = 6
SETTLE_S = 0.05
"""How long a registry has to notice that a connection is cut before it is asked how far it
came; longer each time that it had not, so often at most."""
OCTETS = {"Content-Type": "application/octet-stream"}


class Content(Protocol):
    """What is pushed."""

    @property
    def digest(self) -> str: ...

    @property
    def size(self) -> int: ...

    def chunks(self) -> Iterator[bytes]:
        """The bytes, the same every time."""


@dataclass(frozen=True)
class Breaks:
    """After which bytes of a blob its connection is cut, in the middle of a body."""

    after: tuple[int, ...] = ()


@dataclass
class Pushed:
    """What a push took."""

    size: int
    sent_bytes: int = 0
    lost_bytes: int = 0
    """Sent before a break, and not there when the registry was asked. A push sends what is
    lost twice and nothing else."""
    resumed: int = 0
    restarted: int = 0
    """Begun anew: Debian's docker-registry forgets a session whose PATCH was cut."""


@dataclass
class Source:
    """A blob's bytes from anywhere; going forward costs nothing, going back begins anew."""

    blob: Content
    _chunks: Iterator[bytes] = field(default_factory=lambda: iter(()))
    _rest: memoryview = field(default_factory=lambda: memoryview(b""))
    _at: int | None = None
    """Where in the blob `_rest` begins."""

    def pieces(self, start: int, end: int, most: int = TURN_BYTES) -> Iterator[memoryview]:
        """Yield the bytes from start to end, at most so many at once."""
        self._go_to(start)
        turns = Turns()
        while start < end:
            piece = self._take(min(most, end - start))
            start += len(piece)
            yield piece
            turns.moved(len(piece))

    def _go_to(self, start: int) -> None:
        if self._at is None or start < self._at:
            self._chunks, self._rest, self._at = self.blob.chunks(), memoryview(b""), 0
        while self._at < start:
            self._take(start - self._at)

    def _take(self, most: int) -> memoryview:
        assert self._at is not None
        while not self._rest:
            self._rest = memoryview(next(self._chunks))
        piece, self._rest = self._rest[:most], self._rest[most:]
        self._at += len(piece)
        return piece


class Push:
    """One blob on its way into a repository."""

    def __init__(
        self, calls: Calls, name: str, blob: Content, breaks: Breaks | None = None
    ) -> None:
        self._calls = calls
        self._name = name
        self._blob = blob
        self._scope = push_scope(name)
        self._source = Source(blob)
        self._breaks = sorted(breaks.after) if breaks else []
        self._location = ""
        self._stands = 0
        self.pushed = Pushed(blob.size)

    def whole(self) -> Pushed:
        """POST, and a PUT with all of it."""
        self._begin()
        self._finish(self._body(0, self._blob.size))
        return self.pushed

    def at_once(self) -> Pushed:
        """One POST with all of it; the reference registry asks for a PUT after all."""
        target = f"/v2/{self._name}/blobs/uploads/?digest={self._blob.digest}"
        body = self._body(0, self._blob.size)
        with self._calls.call(
            "POST upload", target, self._scope, ok=(201, 202), headers=OCTETS, body=body
        ) as answer:
            self._follow(answer)
        self.pushed.sent_bytes += body.sent_bytes
        if answer.status == 202:
            self._finish(self._body(0, self._blob.size))
        return self.pushed

    def in_parts(self, part_bytes: int | None) -> Pushed:
        """POST, PATCHes of so many bytes each, and a PUT; with None one PATCH in chunked
        transfer encoding, as docker pushes."""
        self._begin()
        while self._offset < self._blob.size:
            self._patch(part_bytes)
        self._finish(self._body(0, 0))
        return self.pushed

    def _begin(self) -> None:
        target = f"/v2/{self._name}/blobs/uploads/"
        with self._calls.call(
            "POST upload", target, self._scope, ok=(202,), body=self._body(0, 0)
        ) as answer:
            self._follow(answer)
        self._offset = 0

    def _finish(self, body: Body) -> None:
        target = f"{self._location}{'&' if '?' in self._location else '?'}"
        with self._calls.call(
            "PUT upload",
            f"{target}digest={self._blob.digest}",
            self._scope,
            ok=(201,),
            headers=OCTETS,
            body=body,
        ) as answer:
            answer.content()
            stored = answer.header("Docker-Content-Digest")
            if stored not in ("", self._blob.digest):
                raise DigestMismatch(f"{self._blob.digest} was stored as {stored}")
        self.pushed.sent_bytes += body.sent_bytes

    def _patch(self, part_bytes: int | None) -> None:
        """Send the next part, or what comes before a break; know then where to go on."""
        start = self._offset
        end = min(start + (part_bytes or self._blob.size), self._blob.size)
        body = self._body(start, end, is_stream=part_bytes is None)
        headers = OCTETS if part_bytes is None else OCTETS | {"Content-Range": f"{start}-{end - 1}"}
        try:
            with self._calls.call(
                "PATCH upload",
                self._location,
                self._scope,
                ok=(202, 416),
                headers=headers,
                body=body,
            ) as answer:
                answer.content()
                if answer.status == 202:
                    self._follow(answer)
                    self._offset = end
        except Cut:
            self._stands = 0
        self.pushed.sent_bytes += body.sent_bytes
        if self._offset == end:
            self._stands = 0
        else:
            self._recover(start + body.sent_bytes)

    def _recover(self, sent_until: int) -> None:
        """Ask how far the registry has come, and go on from there."""
        self._stands += 1
        if self._stands > MAX_STANDS:
            raise Failure(f"an upload goes no further than {self._offset} bytes")
        time.sleep(SETTLE_S * self._stands)
        with self._calls.call(
            "GET upload", self._location, self._scope, ok=(200, 204, 404)
        ) as answer:
            self._follow(answer)
            if answer.status != 404:
                self._offset = end_of_range(answer.header("Range"))
        if answer.status == 404:
            self._begin()
            self.pushed.restarted += 1
        else:
            self.pushed.resumed += 1
        self.pushed.lost_bytes += sent_until - self._offset

    def _follow(self, answer: Answer) -> None:
        answer.content()
        self._location = answer.header("Location") or self._location

    def _body(self, start: int, end: int, *, is_stream: bool = False) -> Body:
        most = STREAM_BYTES if is_stream else TURN_BYTES
        return Body(lambda: self._until_break(start, end, most), None if is_stream else end - start)

    def _until_break(self, start: int, end: int, most: int) -> Iterator[memoryview]:
        stop = self._breaks[0] if self._breaks and start < self._breaks[0] < end else None
        yield from self._source.pieces(start, stop or end, most)
        if stop is not None:
            self._breaks.pop(0)
            raise Cut


def end_of_range(value: str) -> int:
    """Return how many bytes an upload has: `0-0` is none, as no upload has one byte."""
    try:
        last = int(value.rpartition("-")[2])
    except ValueError:
        raise Failure(f"an upload's Range is {value!r}") from None
    return last + 1 if last else 0
