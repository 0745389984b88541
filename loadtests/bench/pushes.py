"""Pushes from a client that costs next to nothing, and what they cost a server."""

from __future__ import annotations

import contextlib
import http.client
import math
import os
import socket
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from loadtests.bench.content import (
    BLOCK_BYTES,
    REPOSITORY,
    TAIL_BYTES,
    Body,
    Upload,
    framed,
)
from loadtests.bench.pace import Pace
from loadtests.bench.servers import Server

TIMEOUT_S = 120


@dataclass(frozen=True)
class Pushed:
    size: int
    duration_s: float
    client_cpu_s: float


class Client:
    """One connection to push on."""

    def __init__(self, server: Server, pace: Pace) -> None:
        self._pace = pace
        self._connection = http.client.HTTPConnection(server.host, timeout=TIMEOUT_S)

    def close(self) -> None:
        self._connection.close()

    def send_head(self, method: str, target: str, **headers: object) -> socket.socket:
        """Send a head; return the socket for the body."""
        self._connection.putrequest(method, target)
        for name, value in headers.items():
            self._connection.putheader(name.replace("_", "-"), str(value))
        self._connection.endheaders()
        sock: socket.socket = self._connection.sock
        return sock

    def send_file(self, fd: int, size: int) -> None:
        sock, offset = self._connection.sock, 0
        sock.setblocking(True)  # sendfile(2) knows nothing of Python's timeouts
        while offset < size:
            count = os.sendfile(sock.fileno(), fd, offset, self._pace.piece(size - offset))
            self._pace.keep(count)
            offset += count
        sock.settimeout(TIMEOUT_S)

    def expect(self, status: int) -> str:
        """Take an answer without content; return the path and query of its Location."""
        response = self._connection.getresponse()
        content = response.read()
        if response.status != status:
            raise RuntimeError(f"{response.status}, not {status}: {content[:500]!r}")
        return urlsplit(response.getheader("Location", ""))._replace(scheme="", netloc="").geturl()

    def start_upload(self) -> str:
        self.send_head("POST", f"/v2/{REPOSITORY}/blobs/uploads/", Content_Length=0)
        return self.expect(202)

    def finish_upload(self, target: str, upload: Upload) -> None:
        self.send_head("PUT", with_digest(target, upload), Content_Length=0)
        self.expect(201)


def push_whole(client: Client, body: Body, upload: Upload) -> None:
    """POST, and one PUT with a Content-Length."""
    target = with_digest(client.start_upload(), upload)
    sock = client.send_head("PUT", target, Content_Length=body.size)
    for _ in range(body.count):
        client.send_file(body.block_fd, BLOCK_BYTES)
    sock.sendall(upload.tail)
    client.expect(201)


def push_streamed(client: Client, body: Body, upload: Upload) -> None:
    """POST, one PATCH in chunked transfer encoding as docker pushes, PUT."""
    target = client.start_upload()
    sock = client.send_head("PATCH", target, Transfer_Encoding="chunked")
    for _ in range(body.count):
        client.send_file(body.framed_fd, body.framed_bytes)
    sock.sendall(framed(upload.tail) + b"0\r\n\r\n")
    client.finish_upload(client.expect(202), upload)


def push_in_chunks(client: Client, body: Body, upload: Upload) -> None:
    """POST, a PATCH for every block, PUT."""
    target = client.start_upload()
    for number in range(body.count):
        tail = upload.tail if number == body.count - 1 else b""
        first, size = number * BLOCK_BYTES, BLOCK_BYTES + len(tail)
        content_range = f"{first}-{first + size - 1}"
        sock = client.send_head("PATCH", target, Content_Length=size, Content_Range=content_range)
        client.send_file(body.block_fd, BLOCK_BYTES)
        sock.sendall(tail)
        target = client.expect(202)
    client.finish_upload(target, upload)


Push = Callable[[Client, Body, Upload], None]


def with_digest(target: str, upload: Upload) -> str:
    return f"{target}{'&' if '?' in target else '?'}digest={upload.digest}"


def push(server: Server, how: Push, body: Body, bytes_s: float = math.inf) -> Pushed:
    """Push content that was never there, and remove it again when the time is taken."""
    upload = body.new_upload()
    with contextlib.closing(Client(server, Pace(bytes_s))) as client:
        begun, cpu = time.monotonic(), time.thread_time()
        how(client, body, upload)
        spent, duration = time.thread_time() - cpu, time.monotonic() - begun
    if (stored := server.storage.take_out(upload.digest)) != body.size:
        raise RuntimeError(f"{server.name} stored {stored} of {body.size} bytes")
    return Pushed(body.size, duration, spent)


def push_until(
    server: Server, body: Body, clients: int, until: float, bytes_s: float = math.inf
) -> int:
    """Push on many connections at once until a time of `time.monotonic`; return the bytes."""

    def push_repeatedly() -> int:
        pushed = 0
        while time.monotonic() < until:
            pushed += push(server, push_whole, body, bytes_s / clients).size
        return pushed

    with ThreadPoolExecutor(clients or 1) as threads:
        runs = [threads.submit(push_repeatedly) for _ in range(clients)]
    return sum(run.result() for run in runs)


def disk_speed(directory: Path, body: Body) -> float:
    """Return the bytes a second of writing such a body and nothing else, durably."""
    path = directory / "disk-speed"
    begun = time.monotonic()
    with path.open("wb") as file:
        for _ in range(body.count):
            os.sendfile(file.fileno(), body.block_fd, 0, BLOCK_BYTES)
        os.fsync(file.fileno())
    duration = time.monotonic() - begun
    path.unlink()
    return (body.size - TAIL_BYTES) / duration
