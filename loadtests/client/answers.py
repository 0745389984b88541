"""Bodies that are received and that nobody keeps.

A body is received into one buffer a thread of the operating system. All greenlets of a
thread share it: one receives and feeds it to a hasher without letting another one run in
between. So a thousand downloads take 256 KiB, which stay in the processor's cache.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from http.client import HTTPResponse
from io import DEFAULT_BUFFER_SIZE

from gevent.monkey import get_original

from loadtests.client.failures import Truncated, WrongLength

BUFFER_BYTES = 256 << 10
TURN_BYTES = 512 << 10
"""After so many, others get a turn: half a millisecond of SHA-256."""
MAX_CONTENT_BYTES = 8 << 20

Feed = Callable[[memoryview], object]
"""Takes bytes at once: it must neither wait nor keep them."""


class _OfThread(get_original("threading", "local")):  # type: ignore[misc]
    """Of the operating system's thread, also where greenlets stand in for threads."""

    def __init__(self) -> None:
        self.buffer = memoryview(bytearray(BUFFER_BYTES))


_own = _OfThread()


class Turns:
    """Lets others run: a greenlet whose socket is always ready would never wait for it."""

    def __init__(self) -> None:
        self._bytes = 0

    def moved(self, count: int) -> None:
        self._bytes += count
        if self._bytes >= TURN_BYTES:
            self._bytes = 0
            time.sleep(0)


class Answer:
    """An answer's head, and its body while it comes. Its context ends with the connection
    reusable if the whole body was taken."""

    def __init__(self, response: HTTPResponse, end: Callable[[bool], None]) -> None:
        """`end` is told whether the connection can be used again."""
        self._response = response
        self._end = end
        self.status = response.status
        self.length = response.length
        """None where only the end of the body tells."""
        self.received_bytes = 0

    def __enter__(self) -> Answer:
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    def header(self, name: str) -> str:
        return self._response.headers.get(name, "")

    def headers(self, name: str) -> list[str]:
        return self._response.headers.get_all(name, [])

    def receive(self, feed: Feed, size: int) -> None:
        """Feed the body, of `size` bytes, piece by piece; raise WrongLength, Truncated."""
        if self.length not in (None, size):
            raise WrongLength(f"{self.length} bytes are announced, not {size}")
        turns = Turns()
        while self.received_bytes < size:
            count = self._take(feed, size - self.received_bytes)
            if count == 0:
                raise Truncated(f"the body ended after {self.received_bytes} of {size} bytes")
            self.received_bytes += count
            turns.moved(count)
        if self.length is None and self._response.read(1):
            raise WrongLength(f"more than {size} bytes came")

    def _take(self, feed: Feed, most: int) -> int:
        """Feed what one call brings, 0 bytes at the end."""
        stream = self._response.fp
        if self.length is not None and self.received_bytes > 0:
            # Nothing is in the stream's own buffer any more.
            room = _own.buffer[:most]
            count = stream.raw.readinto(room) or 0
            feed(room[:count])
            return count
        source = self._response if self.length is None else stream
        piece = source.read1(min(most, DEFAULT_BUFFER_SIZE))
        feed(memoryview(piece))
        return len(piece)

    def content(self) -> bytes:
        """Return a body of a few MiB at most; raise WrongLength, Truncated."""
        content = self._response.read(MAX_CONTENT_BYTES)
        self.received_bytes = len(content)
        if self.received_bytes == MAX_CONTENT_BYTES:
            raise WrongLength(f"{self.length or 'many'} bytes come where a few were expected")
        if self.length not in (None, self.received_bytes):
            raise Truncated(f"the body ended after {self.received_bytes} of {self.length} bytes")
        return content

    def end(self) -> None:
        response = self._response
        has_all = response.isclosed() or self.length == self.received_bytes
        response.close()
        self._end(has_all and not response.will_close)
