"""Refusals of large bodies: told at once, without reading them."""

import http.client
import select
import socket

import pytest

from tests.live.client import MANIFEST_TYPE, MIB, Answer, Upload, digest_of, noise, read_answer
from tests.live.conftest import Start
from tests.live.processes import Registry, connect, send_head

pytestmark = pytest.mark.live

HUGE = 100 * MIB
BLOCK = bytes(64 << 10)
SOCKET_BUFFERS = 16 * MIB
"""More than the kernel keeps of what nobody reads, in both directions' buffers."""


@pytest.fixture
def readonly(start: Start) -> tuple[Registry, str]:
    """A read-only registry, and an upload session begun before it was."""
    registry = start()
    path = Upload(registry.client(), "early/session").path
    registry.stop()
    return start({"storage.maintenance.readonly.enabled": "true"}), path


def send_until_answered(sock: socket.socket) -> tuple[Answer, int]:
    """Send a body block by block until the answer is there; return it and what was sent."""
    sent = 0
    while sent < HUGE and not select.select([sock], [], [], 0.02)[0]:
        sock.sendall(BLOCK)
        sent += len(BLOCK)
    return answer_on(sock), sent


def answer_on(sock: socket.socket) -> Answer:
    response = http.client.HTTPResponse(sock)
    response.begin()
    return read_answer(response)


def send_until_cut(sock: socket.socket) -> int:
    """Go on sending as if nothing had been answered; return how much was taken."""
    sent = 0
    while sent < HUGE:
        try:
            sent += sock.send(BLOCK)
        except (BrokenPipeError, ConnectionResetError):
            break
    return sent


def refuse_body(registry: Registry, method: str, target: str, *headers: str) -> Answer:
    """Return the answer to a huge body, after asserting how the rest of it was treated."""
    with connect(registry) as sock:
        send_head(sock, method, target, f"Content-Length: {HUGE}", *headers)
        answer, sent = send_until_answered(sock)
        assert sent < 2 * MIB
        assert answer.headers["connection"] == "close"
        assert send_until_cut(sock) < SOCKET_BUFFERS
    return answer


def refuse_expectation(registry: Registry, method: str, target: str, *headers: str) -> bytes:
    """Return all that comes back to a client that asks before it sends its body."""
    with connect(registry) as sock:
        send_head(sock, method, target, f"Content-Length: {HUGE}", "Expect: 100-continue", *headers)
        received = b""
        while data := sock.recv(64 << 10):
            received += data
    return received


def test_a_manifest_that_is_too_large_is_refused_unread(registry: Registry) -> None:
    target = "/v2/early/manifest/manifests/huge"
    answer = refuse_body(registry, "PUT", target, f"Content-Type: {MANIFEST_TYPE}")
    assert answer.expect(413).error_code() == "MANIFEST_INVALID"


def test_a_manifest_that_is_too_large_is_not_asked_for(registry: Registry) -> None:
    received = refuse_expectation(registry, "PUT", "/v2/early/manifest/manifests/huge")
    assert received.startswith(b"HTTP/1.1 413 ")
    assert b"\r\nConnection: close\r\n" in received


def test_a_read_only_registry_refuses_an_upload_unread(readonly: tuple[Registry, str]) -> None:
    registry, path = readonly
    answer = refuse_body(registry, "PATCH", path)
    assert answer.expect(405).error_code() == "UNSUPPORTED"
    assert "read-only" in answer.body.decode()
    assert refuse_expectation(registry, "PATCH", path).startswith(b"HTTP/1.1 405 ")


def test_an_upload_that_asks_first_is_asked_for(registry: Registry) -> None:
    content = noise("asks first", 100_000)
    upload = Upload(registry.client(), "early/expects")
    with connect(registry) as sock:
        length = f"Content-Length: {len(content)}"
        send_head(sock, "PUT", upload.target(digest_of(content)), length, "Expect: 100-continue")
        assert sock.recv(1000) == b"HTTP/1.1 100 Continue\r\n\r\n"
        sock.sendall(content)
        answer_on(sock).expect(201)
    assert registry.client().has_blob("early/expects", digest_of(content))
