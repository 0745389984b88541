"""What a connection has received and nobody has consumed yet.

Bytes that came with a head and belong to its body, or to the next request, wait here. A
body that is being read takes them first, then what follows on the socket, and puts back
what was not its own.
"""

from __future__ import annotations

import errno
import time
from typing import Final

from gevent.socket import socket as GeventSocket
from gevent.socket import wait_read

from fastreg.server.head import BadHead, check_growing
from fastreg.server.patience import Patience

_HEAD_READ: Final = 16 << 10
_MAX_EMPTY_LINES: Final = 8
"""Before a request. Who sends more does not mean to send one."""


class Inbound:
    def __init__(self, sock: GeventSocket, received: bytes = b"") -> None:
        self._sock = sock
        self._data = received
        self._at = 0

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

    def take(self, max_bytes: int) -> memoryview:
        """Consume up to `max_bytes` of what is here already; may be empty."""
        end = min(len(self._data), self._at + max_bytes)
        view = memoryview(self._data)[self._at : end]
        self._at = end
        return view

    def put_back(self, data: bytes) -> None:
        """Make `data` what is received and not consumed; only while nothing is."""
        self._data, self._at = data, 0

    def fileno(self) -> int:
        """The socket, for who receives by himself while nothing is pending."""
        return self._sock.fileno()

    def wait(self, patience: Patience) -> None:
        """Wait until there is something to receive. Raises TimeoutError."""
        began = time.monotonic()
        wait_read(self.fileno(), _time_left(patience), TimeoutError("the client is too slow"))
        patience.spent(time.monotonic() - began, 0)

    def receive(self, max_bytes: int, patience: Patience) -> bytes:
        """Return 1..max_bytes straight from the socket; only while nothing is pending.

        Raises TimeoutError, and ConnectionResetError when the client left.
        """
        self._sock.settimeout(_time_left(patience))
        began = time.monotonic()
        try:
            data: bytes = self._sock.recv(max_bytes)
        except TimeoutError:
            raise
        except OSError as error:
            raise ConnectionResetError(error.errno, "the client left") from error
        if not data:
            raise ConnectionResetError(errno.ECONNRESET, "the client left")
        patience.spent(time.monotonic() - began, len(data))
        return data

    def receive_more(self, max_bytes: int, patience: Patience) -> None:
        """Wait for up to `max_bytes` more. Raises TimeoutError, ConnectionResetError."""
        data = self.receive(max_bytes, patience)
        self._data = self._data[self._at :] + data if self.pending else data
        self._at = 0


def _time_left(patience: Patience) -> float:
    timeout_s = patience.left_s()
    if timeout_s <= 0:
        raise TimeoutError("the client is too slow")
    return timeout_s
