"""Many nodes that pull the same thing at once, each of them once."""

from __future__ import annotations

import contextlib
import select
import socket
import time
from dataclasses import dataclass

from loadtests.bench.wire import DISCARD_BYTES, discard, read_head

TIMEOUT_S = 120


@dataclass(frozen=True)
class Arrivals:
    begun_s: float
    """When all asked, on the clock of `time.monotonic`."""
    first_s: float
    """When the first node had the first byte of the body."""
    last_s: float
    """When the last node had the last."""
    client_cpu_s: float

    @property
    def duration_s(self) -> float:
        return self.last_s - self.begun_s


class Node:
    """One connection that waits for its answer."""

    def __init__(self, sock: socket.socket, content_bytes: int) -> None:
        self._sock = sock
        self._content_bytes = content_bytes
        self._left: int | None = None

    def take(self, buffer: bytearray) -> int:
        """Take what is there; return how much of the body is still to come."""
        if self._left is None:
            answer = read_head(self._sock)
            if (answer.status, answer.content_bytes) != (200, self._content_bytes):
                raise RuntimeError(f"a pull was answered {answer}")
            self._left = answer.content_bytes - answer.extra_bytes
        else:
            self._left -= discard(self._sock, buffer, self._left)
        return self._left


def pull_once(address: tuple[str, int], request: bytes, content_bytes: int, nodes: int) -> Arrivals:
    """Let so many nodes ask for the same thing in the same moment."""
    buffer, first_s = bytearray(DISCARD_BYTES), 0.0
    with contextlib.ExitStack() as stack:
        socks = [
            stack.enter_context(socket.create_connection(address, TIMEOUT_S)) for _ in range(nodes)
        ]
        waiting = {sock.fileno(): Node(sock, content_bytes) for sock in socks}
        poll = stack.enter_context(select.epoll())
        for fd in waiting:
            poll.register(fd, select.EPOLLIN)
        begun_s, cpu = time.monotonic(), time.process_time()
        for sock in socks:
            sock.sendall(request)
        while waiting:
            for fd in ready(poll):
                left = waiting[fd].take(buffer)
                if not first_s and left < content_bytes:
                    first_s = time.monotonic()
                if not left:
                    del waiting[fd]
                    poll.unregister(fd)
    return Arrivals(begun_s, first_s, time.monotonic(), time.process_time() - cpu)


def ready(poll: select.epoll) -> list[int]:
    events = poll.poll(TIMEOUT_S)
    if not events:
        raise TimeoutError("a pull stands still")
    return [fd for fd, _ in events]
