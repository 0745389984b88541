"""Thousands of keep-alive connections that ask now and then."""

from __future__ import annotations

import resource
import socket
from types import TracebackType

from loadtests.bench.wire import take_answer

TIMEOUT_S = 60
SPARE_FDS = 200


def affordable(connections: int) -> int:
    """Raise the limit of open files for that many connections; return how many it allows."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = connections + SPARE_FDS
    if hard != resource.RLIM_INFINITY:
        wanted = min(wanted, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    return min(connections, wanted - SPARE_FDS)


class Crowd:
    """Connections that stay open until the context ends."""

    def __init__(self, address: tuple[str, int], count: int) -> None:
        self._socks = [socket.create_connection(address, TIMEOUT_S) for _ in range(count)]

    def __enter__(self) -> Crowd:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for sock in self._socks:
            sock.close()

    def ask(self, request: bytes) -> int:
        """Send a request on all connections, then take the answers; return how many were 200."""
        asked = [sock for sock in self._socks if is_sent(sock, request)]
        return sum(is_answered(sock) for sock in asked)


def is_sent(sock: socket.socket, request: bytes) -> bool:
    try:
        sock.sendall(request)
    except OSError:
        return False  # the server closed it
    return True


def is_answered(sock: socket.socket) -> bool:
    try:
        return take_answer(sock).status == 200
    except OSError:
        return False
