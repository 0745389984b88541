"""What a connection has received and nobody has consumed yet.

The one reader of the socket. Bytes that came with a head and belong to its body, or to
the next request, wait here.
"""

from __future__ import annotations

import errno
import re
import time
from collections.abc import Callable
from typing import Any, Final, TypeVar

from gevent.socket import socket as GeventSocket

from fastreg.server.head import BadHead, check_growing
from fastreg.server.patience import Patience

T = TypeVar("T")

_HEAD_READ: Final = 16 << 10
_YIELD_EVERY: Final = 1 << 20
_MAX_EMPTY_LINES: Final = 8
"""Before a request. Who sends more does not mean to send one."""


class Inbound:
    def __init__(self, sock: GeventSocket, received: bytes = b"") -> None:
        self._sock = sock
        self._data = received
        self._at = 0
        self._since_yield = 0

    @property
    def pending(self) -> int:
        """Bytes received and not consumed."""
        return len(self._data) - self._at

    def await_first_byte(self, patience: Patience) -> bool:
        """Wait for a request to begin; False when the client left or does not begin one.

        A few empty lines before a request are skipped (RFC 9112, 2.2).
        """
        room = _MAX_EMPTY_LINES
        while True:
            while room and self._data[self._at : self._at + 2] == b"\r\n":
                self._at += 2
                room -= 1
            if not room:
                return False
            if self.pending and self._data[self._at :] != b"\r":
                return True
            try:
                self.receive_more(_HEAD_READ, patience)
            except OSError:
                return False

    def read_head(self, patience: Patience) -> bytes:
        """Return a whole head without the empty line that ends it.

        Raises BadHead when the head is too long or too late, ConnectionResetError when the
        client leaves in the middle.
        """
        searched = self._at
        while True:
            end = self._data.find(b"\r\n\r\n", searched)
            check_growing(self._data[self._at :], end - self._at if end >= 0 else -1)
            if end >= 0:
                head = self._data[self._at : end]
                self._at = end + 4
                return head
            searched = max(0, len(self._data) - self._at - 3)
            try:
                self.receive_more(_HEAD_READ, patience)
            except TimeoutError:
                raise BadHead("408 Request Timeout", "the head did not arrive in time") from None

    def match(self, pattern: re.Pattern[bytes]) -> re.Match[bytes] | None:
        """Consume what `pattern` matches of what is here already."""
        found = pattern.match(self._data, self._at)
        if found is not None:
            self._at = found.end()
        return found

    def read_line(self, max_bytes: int, patience: Patience) -> bytes | None:
        """Return a line without its CRLF; None when it is longer than `max_bytes`."""
        while True:
            end = self._data.find(b"\r\n", self._at, self._at + max_bytes + 2)
            if end >= 0:
                line = self._data[self._at : end]
                self._at = end + 2
                return line
            if self.pending > max_bytes + 1:
                return None
            self.receive_more(_HEAD_READ, patience)

    def take(self, max_bytes: int) -> memoryview:
        """Consume up to `max_bytes` of what is here already; may be empty."""
        end = min(len(self._data), self._at + max_bytes)
        view = memoryview(self._data)[self._at : end]
        self._at = end
        return view

    def receive(self, max_bytes: int, patience: Patience) -> bytes:
        """Return 1..max_bytes straight from the socket; only while nothing is pending.

        Raises TimeoutError, and ConnectionResetError when the client left.
        """
        return self._from_socket(self._sock.recv, max_bytes, len, patience)

    def receive_into(self, buffer: memoryview, patience: Patience) -> int:
        """As `receive`, into a buffer; returns how many bytes."""
        return self._from_socket(self._sock.recv_into, buffer, int, patience)

    def _from_socket(
        self, receive: Callable[[Any], T], what: Any, count: Callable[[T], int], patience: Patience
    ) -> T:
        if self._since_yield >= _YIELD_EVERY:
            # A client that is always faster than we are would never let others run.
            self._since_yield = 0
            gevent.sleep(0)
        timeout_s = patience.left_s()
        if timeout_s <= 0:
            raise TimeoutError("the client is too slow")
        self._sock.settimeout(timeout_s)
        began = time.monotonic()
        try:
            data = receive(what)
        except TimeoutError:
            raise
        except OSError as error:
            raise ConnectionResetError(error.errno, "the client left") from error
        received = count(data)
        if not received:
            raise ConnectionResetError(errno.ECONNRESET, "the client left")
        patience.spent(time.monotonic() - began, received)
        self._since_yield += received
        return data

    def receive_more(self, max_bytes: int, patience: Patience) -> None:
        """Wait for up to `max_bytes` more. Raises TimeoutError, ConnectionResetError."""
        data = self.receive(max_bytes, patience)
        self._data = self._data[self._at :] + data if self.pending else data
        self._at = 0
