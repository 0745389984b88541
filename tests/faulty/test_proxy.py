"""The proxy that the tests of the Azure store stand on: it does what its rules say, no more."""

import http.client
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from tests.faulty import faults
from tests.faulty.faults import Fault
from tests.faulty.proxy import FaultProxy
from tests.live.processes import wait_until

BLOB = "/account/container/docker/registry/data"
CONTENT = bytes(range(256)) * 1024


class Account(BaseHTTPRequestHandler):
    """Answers every GET with CONTENT, in chunks, and counts what it is told to change."""

    protocol_version = "HTTP/1.1"
    changes: list[bytes]

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        self.wfile.write(b"%x\r\n%s\r\n0\r\n\r\n" % (len(CONTENT), CONTENT))

    def do_PUT(self) -> None:
        self.changes.append(self.rfile.read(int(self.headers["Content-Length"])))
        self.send_response(201)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        pass


class Server(ThreadingHTTPServer):
    def handle_error(self, request: object, client_address: object) -> None:
        pass  # the proxy cut the connection, as it was told


@contextmanager
def account(changes: list[bytes]) -> Iterator[str]:
    handler = type("Handler", (Account,), {"changes": changes})
    server = Server(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/account"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.fixture
def changes() -> list[bytes]:
    return []


@pytest.fixture
def proxy(changes: list[bytes]) -> Iterator[FaultProxy]:
    with account(changes) as url, FaultProxy(url) as proxy:
        yield proxy


def ask(proxy: FaultProxy, method: str, target: str = BLOB, body: bytes = b"") -> tuple[int, bytes]:
    connection = http.client.HTTPConnection(proxy.url.split("/")[2], timeout=20)
    try:
        connection.request(method, target, body or None)
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


def test_a_request_without_a_rule_passes_and_is_counted(proxy: FaultProxy) -> None:
    assert ask(proxy, "GET") == (200, CONTENT)
    [seen] = proxy.requests("get", "registry/data")
    assert (seen.key, seen.status, seen.sent_bytes) == ("docker/registry/data", 200, len(CONTENT))
    assert proxy.fetched_bytes("data") == len(CONTENT)


def test_a_rule_takes_the_nth_of_its_kind_and_key(proxy: FaultProxy) -> None:
    proxy.inject("put block", faults.refuse(503), nth=2, times=2, key="/data")
    targets = [f"{BLOB}?comp=block&blockid={i}" for i in range(4)]
    others = [f"{BLOB}/link?comp=block", f"{BLOB}?comp=blocklist"]
    assert [ask(proxy, "PUT", t, b"x")[0] for t in [*others, *targets]] == [
        *(201, 201),
        *(201, 503, 503, 201),
    ]


@pytest.mark.parametrize(
    ("fault", "applied"),
    [
        (faults.refuse(500), 0),
        (faults.lose(500), 1),
        (faults.twice, 2),
    ],
)
def test_a_change_is_applied_as_often_as_the_fault_says(
    proxy: FaultProxy, changes: list[bytes], fault: Fault, applied: int
) -> None:
    proxy.inject("put", fault)
    assert ask(proxy, "PUT", BLOB, b"change")[0] == (201 if applied == 2 else 500)
    assert changes == [b"change"] * applied


@pytest.mark.parametrize("fault", [faults.lose(None), faults.reset])
def test_a_reset_is_no_answer(proxy: FaultProxy, fault: Fault) -> None:
    proxy.inject("put", fault)
    with pytest.raises((ConnectionError, http.client.HTTPException)):
        ask(proxy, "PUT", BLOB, b"change")
    assert proxy.requests("put")[0].status == 0


def test_an_answer_is_cut_where_the_fault_says(proxy: FaultProxy) -> None:
    proxy.inject("get", faults.cut_at(100_000))
    with pytest.raises((ConnectionError, http.client.HTTPException)):
        ask(proxy, "GET")
    assert proxy.requests("get")[0].sent_bytes == 100_000


def test_a_late_request_arrives_when_its_gate_opens(
    proxy: FaultProxy, changes: list[bytes]
) -> None:
    gate = threading.Event()
    proxy.inject("put", faults.late(gate))
    assert ask(proxy, "PUT", BLOB, b"first")[0] == 500
    assert ask(proxy, "PUT", BLOB, b"second")[0] == 201
    gate.set()
    wait_until(lambda: len(changes) == 2, "the first arrives")
    assert changes == [b"second", b"first"]


def test_a_cut_network_answers_nothing_until_it_heals(proxy: FaultProxy) -> None:
    proxy.cut()
    with pytest.raises((ConnectionError, http.client.HTTPException)):
        ask(proxy, "GET")
    proxy.heal()
    assert ask(proxy, "GET") == (200, CONTENT)


def test_the_same_seed_hits_the_same_requests(proxy: FaultProxy) -> None:
    def statuses() -> list[int]:
        proxy.heal()
        proxy.choose(faults.at_random(7, [faults.refuse(503)], 0.5))
        return [ask(proxy, "PUT", BLOB, b"x")[0] for _ in range(20)]

    first = statuses()
    assert first == statuses()
    assert set(first) == {201, 503}
