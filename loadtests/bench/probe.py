"""How long one request takes, asked at a steady rate whatever the server's answers do."""

from __future__ import annotations

import contextlib
import math
import os
import select
import socket
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

RATE = 200
CONNECTIONS = 8
TIMEOUT_S = 30


@dataclass
class Latencies:
    seconds: list[float] = field(default_factory=list)
    is_realtime: bool = False
    """Whether the prober was never kept waiting for a core."""

    def percentile(self, percent: float) -> float:
        """Return the least value that `percent` of all do not exceed (nearest rank)."""
        return percentile(self.seconds, percent)


def percentile(values: Sequence[float], percent: float) -> float:
    ordered = sorted(values)
    return ordered[max(0, math.ceil(len(ordered) * percent / 100) - 1)]


def probe(address: tuple[str, int], request: bytes, answer_bytes: int, seconds: float) -> Latencies:
    """Ask RATE times a second over a few connections.

    A request is timed from being sent or, where no connection was free, from when it was due:
    a server that stalls is charged for everything that would have been asked meanwhile, but
    not for the prober's own lateness.
    """
    with contextlib.ExitStack() as stack:
        socks = [
            stack.enter_context(socket.create_connection(address, TIMEOUT_S))
            for _ in range(CONNECTIONS)
        ]
        prober = Prober(socks, request, answer_bytes)
        prober.latencies.is_realtime = become_realtime()
        prober.run(int(RATE * seconds))
        return prober.latencies


def become_realtime() -> bool:
    """Let this process go before all others; it sleeps nearly always."""
    try:
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
    except PermissionError:
        return False
    return True


class Prober:
    def __init__(self, socks: Sequence[socket.socket], request: bytes, answer_bytes: int) -> None:
        self.latencies = Latencies()
        self._request = request
        self._answer_bytes = answer_bytes
        self._free = deque(socks)
        self._asked: dict[socket.socket, float] = {}
        self._received: dict[socket.socket, bytes] = {}
        self._overdue: deque[float] = deque()

    def run(self, count: int) -> None:
        begun = time.monotonic()
        for number in range(count):
            due = begun + number / RATE
            while (left := due - time.monotonic()) > 0:
                self._receive(left)
            if self._free:
                self._ask(time.monotonic())
            else:
                self._overdue.append(due)
        while self._asked:
            self._receive(TIMEOUT_S)

    def _ask(self, since: float) -> None:
        sock = self._free.popleft()
        self._asked[sock], self._received[sock] = since, b""
        sock.sendall(self._request)

    def _receive(self, timeout_s: float) -> None:
        # select, as epoll of Python sleeps whole milliseconds
        readable, _, _ = select.select(list(self._asked), [], [], timeout_s)
        if not readable and timeout_s == TIMEOUT_S:
            raise TimeoutError("a request was never answered")
        for sock in readable:
            self._take(sock)

    def _take(self, sock: socket.socket) -> None:
        piece = sock.recv(65536)
        self._received[sock] += piece
        received = self._received[sock]
        if len(received) < self._answer_bytes and piece:
            return
        self.latencies.seconds.append(time.monotonic() - self._asked.pop(sock))
        if len(received) != self._answer_bytes or not received.startswith(b"HTTP/1.1 200 "):
            raise RuntimeError(f"a wrong answer: {received[:200]!r}")
        self._free.append(sock)
        if self._overdue:
            self._ask(self._overdue.popleft())
