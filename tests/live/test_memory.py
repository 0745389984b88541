"""Blobs of any size pass through a worker without being held by it."""

import re
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from pathlib import Path

import pytest

from tests.live.client import MIB, Upload, noise
from tests.live.processes import Registry, connect, send_head, wait_until
from tests.live.strace import Trace, tracing

pytestmark = pytest.mark.live

PUSHED = 600 * MIB
PULLED = 200 * MIB
PULLS = 20
MAX_GROWTH = 48 * MIB
"""Of all workers together, above what they need at rest."""
BLOCK = noise("block", MIB)


def memory(pid: int, which: str) -> int:
    """Return a `Vm…` value of a process in bytes."""
    found = re.search(rf"{which}:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    assert found is not None
    return int(found[1]) * 1024


def growth(resting: dict[int, int]) -> int:
    """Return how far the workers' memory was above its rest at its highest, summed up."""
    return sum(memory(pid, "VmHWM") - rest for pid, rest in resting.items())


def blocks(size: int) -> Iterator[bytes]:
    for _ in range(size // MIB):
        yield BLOCK


def digest_of_blocks(size: int) -> str:
    hasher = sha256()
    for block in blocks(size):
        hasher.update(block)
    return f"sha256:{hasher.hexdigest()}"


def push_blocks(registry: Registry, name: str, size: int) -> str:
    """Push a blob that is nowhere in memory as a whole."""
    digest = digest_of_blocks(size)
    upload = Upload(registry.client(), name)
    with connect(registry) as sock:
        send_head(sock, "PUT", upload.target(digest), f"Content-Length: {size}")
        for block in blocks(size):
            sock.sendall(block)
        assert sock.recv(1000).startswith(b"HTTP/1.1 201 ")
    return digest


def pull_and_discard(registry: Registry, name: str, digest: str) -> int:
    """Return how many bytes came after the head of the answer."""
    with connect(registry) as sock:
        send_head(sock, "GET", f"/v2/{name}/blobs/{digest}", "Connection: close")
        head = b""
        while b"\r\n\r\n" not in head:
            head += sock.recv(1000)
        assert head.startswith(b"HTTP/1.1 200 ")
        came = len(head.partition(b"\r\n\r\n")[2])
        buffer = bytearray(MIB)
        # The kernel drops what it would have copied: the test must not be the slow part.
        while count := sock.recv_into(buffer, 0, socket.MSG_TRUNC):
            came += count
    return came


@pytest.fixture
def resting(registry: Registry) -> dict[int, int]:
    """What each worker needs after its first small push and pull."""
    with registry.client_of_each_worker() as clients:
        for client in clients:
            client.push_image("memory/warm-up", "latest", b"a layer")
            client.pull_image("memory/warm-up", "latest")
    return {pid: memory(pid, "VmRSS") for pid in registry.workers()}


def test_a_big_push_is_not_held_in_memory(registry: Registry, resting: dict[int, int]) -> None:
    digest = push_blocks(registry, "memory/push", PUSHED)
    assert registry.client().has_blob("memory/push", digest)
    assert growth(resting) < MAX_GROWTH


def test_many_pulls_of_a_big_blob_are_not_held_in_memory(
    registry: Registry, resting: dict[int, int]
) -> None:
    digest = push_blocks(registry, "memory/pull", PULLED)
    with ThreadPoolExecutor(PULLS) as threads:
        pulls = [
            threads.submit(pull_and_discard, registry, "memory/pull", digest) for _ in range(PULLS)
        ]
    assert [pull.result() for pull in pulls] == [PULLED] * PULLS
    assert growth(resting) < MAX_GROWTH


def test_a_blob_leaves_by_sendfile(registry: Registry, tmp_path: Path) -> None:
    size = 20 * MIB
    digest = push_blocks(registry, "memory/sendfile", size)
    with registry.client_of_each_worker() as clients:
        client = clients[0]
        worker = registry.worker_of(client.port)
        with tracing(worker, tmp_path / "strace", "sendfile") as trace:
            client.blob("memory/sendfile", digest).expect(200)
            wait_until(lambda: sent_from(trace, digest) >= size, "written down")
    assert sent_from(trace, digest) == size


def sent_from(trace: Trace, digest: str) -> int:
    """Return how many bytes left by `sendfile` from the blob's own file."""
    hexadecimal = digest.partition(":")[2]
    return sum(call.result for call in trace.calls() if hexadecimal in call.arguments)
