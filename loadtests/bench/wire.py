"""As much of HTTP as a cheap client needs: one request out, one answer in."""

from __future__ import annotations

import socket
from dataclasses import dataclass

DISCARD_BYTES = 4 << 20


@dataclass(frozen=True)
class Answer:
    status: int
    head_bytes: int
    content_bytes: int
    """What Content-Length says."""
    extra_bytes: int
    """How much of the body came together with the head."""


def exchange(sock: socket.socket, request: bytes, *, has_body: bool = True) -> Answer:
    """Send a request and take the whole answer; its body is discarded."""
    sock.sendall(request)
    return take_answer(sock, has_body=has_body)


def take_answer(sock: socket.socket, *, has_body: bool = True) -> Answer:
    answer = read_head(sock)
    left = answer.content_bytes - answer.extra_bytes if has_body else 0
    buffer = bytearray(min(left, DISCARD_BYTES))
    while left > 0:
        left -= discard(sock, buffer, left)
    return answer


def read_head(sock: socket.socket) -> Answer:
    received = b""
    while b"\r\n\r\n" not in received:
        piece = sock.recv(4096)
        if not piece:
            raise ConnectionError(f"closed after {received!r}")
        received += piece
    return parse_head(received)


def parse_head(received: bytes) -> Answer:
    head, _, extra = received.partition(b"\r\n\r\n")
    status_line, *lines = head.split(b"\r\n")
    length = next((n for name, n in map(split_header, lines) if name == b"content-length"), b"0")
    status = int(status_line.split()[1])
    return Answer(status, len(head) + 4, int(length), len(extra))


def split_header(line: bytes) -> tuple[bytes, bytes]:
    name, _, value = line.partition(b":")
    return name.lower(), value.strip()


def discard(sock: socket.socket, buffer: bytearray, most: int) -> int:
    """Take up to `most` bytes that are there; the kernel drops them instead of copying."""
    count = sock.recv_into(buffer, min(most, len(buffer)), socket.MSG_TRUNC)
    if count == 0:
        raise ConnectionError("closed in the middle of an answer")
    return count
