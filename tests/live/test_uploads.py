"""Upload sessions that wander between workers, and clients that leave in the middle."""

import itertools
import socket
from collections.abc import Callable

import pytest

from tests.live.client import MIB, Upload, digest_of, noise, pieces
from tests.live.processes import Registry, connect, send_head, wait_until

pytestmark = pytest.mark.live


def test_a_session_goes_on_from_worker_to_worker(registry: Registry) -> None:
    content = noise("wander", 1_500_000)
    with registry.client_of_each_worker() as clients:
        turns = itertools.cycle(clients)
        upload = Upload(next(turns), "uploads/wander")
        sent = 0
        for part in pieces(content, 123_457):
            upload.patch(part, client=next(turns)).expect(202)
            sent += len(part)
            assert upload.size == sent
            upload.ask(next(turns)).expect(204)
            assert upload.size == sent
        upload.finish(digest_of(content), client=next(turns)).expect(201)
        for client in clients:
            assert client.blob("uploads/wander", digest_of(content)).body == content


def test_a_second_writer_on_another_worker_is_told_where_the_session_is(
    registry: Registry,
) -> None:
    content = noise("two writers", 3 * MIB)
    with registry.client_of_each_worker() as (first, second):
        upload = Upload(second, "uploads/two-writers")
        first.connection.putrequest("PATCH", upload.location)
        first.connection.putheader("Content-Length", str(len(content)))
        first.connection.endheaders(content[: 2 * MIB])
        wait_until(lambda: upload.ask().status == 204 and upload.size >= MIB, "the first wrote")
        size = upload.size
        refused = upload.patch(noise("intruder", 5_000)).expect(416)
        assert refused.headers["range"] == f"0-{upload.size - 1}"
        assert upload.size >= size
        assert refused.headers["location"].startswith("http")
        upload.finish(digest_of(b"intruder"), b"intruder").expect(416)
        first.connection.send(content[2 * MIB :])
        assert first.connection.getresponse().read() == b""
        upload.ask().expect(204)
        assert upload.size == len(content)
        upload.finish(digest_of(content)).expect(201)
        assert second.blob("uploads/two-writers", digest_of(content)).body == content


def send_length_and_leave(sock: socket.socket, target: str, content: bytes) -> None:
    send_head(sock, "PATCH", target, f"Content-Length: {2 * len(content)}")
    sock.sendall(content)


def send_chunks_and_leave(sock: socket.socket, target: str, content: bytes) -> None:
    send_head(sock, "PATCH", target, "Transfer-Encoding: chunked")
    half = len(content) // 2
    sock.sendall(b"%x\r\n%b\r\n" % (half, content[:half]))
    sock.sendall(b"%x\r\n%b" % (len(content), content[half:]))


@pytest.mark.parametrize("send", [send_length_and_leave, send_chunks_and_leave])
def test_what_came_before_a_disconnect_is_kept_and_gone_on_from(
    registry: Registry, send: Callable[[socket.socket, str, bytes], None]
) -> None:
    content = noise("disconnect", 4 * MIB)
    came = 2 * MIB + 12_345
    upload = Upload(registry.client(), "uploads/disconnect")
    with connect(registry) as sock:
        send(sock, upload.location, content[:came])
    wait_until(lambda: upload.ask().status == 204 and upload.size == came, "what came is kept")
    # Refused for as long as the request that was broken off is still at it.
    rest = content[came : 3 * MIB]
    wait_until(lambda: upload.patch_at(came, rest).status == 202, "the session goes on")
    upload.finish(digest_of(content), content[3 * MIB :]).expect(201)
    pulled = registry.client().blob("uploads/disconnect", digest_of(content)).expect(200)
    assert pulled.body == content
