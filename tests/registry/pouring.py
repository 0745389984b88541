"""A body that is poured: from a socket into a file, unseen by Python."""

import socket
import threading
from contextlib import suppress

from fastreg.fastlane import Inflow, Sink


class Poured:
    """A body of `content`, of which only the first `sent` bytes come."""

    def __init__(self, content: bytes, sent: int | None = None) -> None:
        self._inflow = Inflow(len(content))
        self._server, client = socket.socketpair()
        self._inflow.hold(self._server.fileno())
        self.poured = 0
        self._sender = threading.Thread(target=_send, args=(client, content[:sent]))
        self._sender.start()

    def close(self) -> None:
        self._server.close()
        self._inflow.release()
        self._sender.join()

    def read(self, max_bytes: int) -> bytes:
        buffer = bytearray(max_bytes)
        while (count := self._inflow.receive(self._server.fileno(), buffer)) is None:
            pass
        return bytes(buffer[:count])

    def pour(self, sink: Sink, max_bytes: int) -> int:
        while (count := self._inflow.pour(sink, max_bytes)) is None:
            pass
        self.poured += count
        return count


def _send(client: socket.socket, data: bytes) -> None:
    with client, suppress(ConnectionError):
        client.sendall(data)
