"""Clients that pull and discard: the kernel drops what it would have copied (MSG_TRUNC).

So one cheap process is dozens of pulling clients, and the server is the slow part.
"""

from __future__ import annotations

import contextlib
import math
import select
import socket
import time
from dataclasses import dataclass

from loadtests.bench.pace import Pace
from loadtests.bench.wire import DISCARD_BYTES, discard, read_head

TIMEOUT_S = 30


@dataclass(frozen=True)
class Pulled:
    received_bytes: int
    """Of bodies."""
    duration_s: float
    cpu_s: float
    """Of this client."""


class Puller:
    """One connection that asks for the same thing again as soon as it has it."""

    def __init__(self, sock: socket.socket, request: bytes) -> None:
        self.sock = sock
        self._request = request
        self._left = 0
        self.ask()

    def ask(self) -> None:
        self.sock.sendall(self._request)
        self._left = -1

    def take(self, buffer: bytearray, most: int) -> int:
        """Take what is there, up to `most`; return how much of a body it was."""
        if self._left < 0:
            answer = read_head(self.sock)
            if answer.status != 200:
                raise RuntimeError(f"a pull was answered {answer}")
            self._left = answer.content_bytes - answer.extra_bytes
            count = answer.extra_bytes
        else:
            count = discard(self.sock, buffer, min(most, self._left))
            self._left -= count
        if self._left == 0:
            self.ask()
        return count


def pull(
    address: tuple[str, int],
    request: bytes,
    connections: int,
    until: float,
    bytes_s: float = math.inf,
) -> Pulled:
    """Pull on many connections at once until a time of `time.monotonic`."""
    buffer, received, pace = bytearray(DISCARD_BYTES), 0, Pace(bytes_s)
    most = pace.piece(DISCARD_BYTES)
    with contextlib.ExitStack() as stack:
        socks = [
            stack.enter_context(socket.create_connection(address, TIMEOUT_S))
            for _ in range(connections)
        ]
        begun, cpu = time.monotonic(), time.process_time()
        pullers = {sock.fileno(): Puller(sock, request) for sock in socks}
        poll = stack.enter_context(select.epoll())
        for fd in pullers:
            poll.register(fd, select.EPOLLIN)
        while (now := time.monotonic()) < until:
            for fd, _ in poll.poll(until - now):
                received += (count := pullers[fd].take(buffer, most))
                pace.keep(count)
    return Pulled(received, now - begun, time.process_time() - cpu)
