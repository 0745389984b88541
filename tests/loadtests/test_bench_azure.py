"""The benchmark's storage account and swarm: what is counted, and when it is said to be."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from loadtests.bench.accounts import PRELOADED, Distance, read_trace, traits
from loadtests.bench.processes import Watch, memfd_bytes
from loadtests.bench.programs import find
from loadtests.bench.swarm import pull_once

BODY_BYTES = 300_000
SERVES = f"""
const server = require("http").createServer((request, response) => {{
  response.setHeader("Content-Length", {BODY_BYTES});
  require("stream").Readable.from(Array(3).fill(Buffer.alloc({BODY_BYTES} / 3))).pipe(response);
}});
server.listen(0, "127.0.0.1", () => console.log(server.address().port));
"""


def ask(distance: Distance, trace: Path) -> float:
    """Get a body from a server of node's at that distance; return how long it took."""
    node = find("node")
    if node is None:
        pytest.fail("node is missing") if os.environ.get("CI") else pytest.skip("no node")
    argv, env = [node, "--require", str(PRELOADED), "-e", SERVES], traits(distance, trace)
    with subprocess.Popen(argv, stdout=subprocess.PIPE, env=os.environ | env, text=True) as server:
        assert server.stdout is not None
        port = int(server.stdout.readline())
        begun = time.monotonic()
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/blob", timeout=30) as answer:
            assert len(answer.read()) == BODY_BYTES
        duration = time.monotonic() - begun
        while not trace.read_text():
            time.sleep(0.01)
        server.kill()
    return duration


def test_an_account_tells_what_it_sent_and_when_it_began(tmp_path: Path) -> None:
    begun = time.monotonic()
    ask(Distance(), tmp_path / "trace")
    [sent] = read_trace(tmp_path / "trace")
    assert (sent.method, sent.target, sent.status) == ("GET", "/blob", 200)
    assert BODY_BYTES < sent.sent_bytes < BODY_BYTES + 1000
    assert sent.first_s is not None
    assert begun < sent.first_s < time.monotonic()


def test_an_account_is_no_nearer_and_no_faster_than_it_is_said_to_be(tmp_path: Path) -> None:
    far = Distance(delay_s=0.1, bytes_s=1e6)
    assert ask(far, tmp_path / "trace") >= 0.1 + 0.9 * BODY_BYTES * 2 / 3 / 1e6
    assert traits(Distance(), tmp_path)["BENCH_BYTES_S"] == "Infinity"


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener


def answer_each(listener: socket.socket, nodes: int, answer: bytes) -> threading.Thread:
    """Answer so many connections, head and body apart."""

    def answer_one(sock: socket.socket) -> None:
        with sock:
            sock.recv(1000)
            sock.sendall(answer[:40])
            time.sleep(0.05)
            sock.sendall(answer[40:])

    def accept() -> None:
        socks = [listener.accept()[0] for _ in range(nodes)]
        for sock in socks:
            answer_one(sock)

    thread = threading.Thread(target=accept)
    thread.start()
    return thread


def test_a_swarm_is_timed_from_the_first_byte_to_the_last_node(listener: socket.socket) -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n"
    assert len(head) == 41
    server = answer_each(listener, 3, head + bytes(5000))
    arrivals = pull_once(listener.getsockname(), b"GET / HTTP/1.1\r\n\r\n", 5000, 3)
    server.join()
    assert arrivals.begun_s + 0.05 <= arrivals.first_s
    assert arrivals.first_s + 0.1 <= arrivals.last_s
    assert arrivals.duration_s == arrivals.last_s - arrivals.begun_s


def test_a_swarm_refuses_an_answer_that_is_not_the_blob(listener: socket.socket) -> None:
    server = answer_each(listener, 1, b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n1234")
    with pytest.raises(RuntimeError, match="was answered"):
        pull_once(listener.getsockname(), b"GET / HTTP/1.1\r\n\r\n", 5000, 1)
    server.join()


def test_memory_that_is_a_file_counts_as_long_as_it_is_open() -> None:
    fills = "import os, sys\nfd = os.memfd_create('x')\nsys.stdin.readline()\n"
    fills += f"os.write(fd, bytes({BODY_BYTES}))\nprint(flush=True)\nsys.stdin.readline()\n"
    argv = [sys.executable, "-c", fills]
    with subprocess.Popen(
        argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        while not Path(f"/proc/{process.pid}/fd/3").exists():
            time.sleep(0.01)
        with Watch(process.pid) as watch:
            process.stdin.write(b"\n")
            process.stdout.readline()
            assert memfd_bytes([process.pid]) >= BODY_BYTES
            time.sleep(0.1)
        process.stdin.write(b"\n")
    assert watch.memfd_bytes >= BODY_BYTES
    assert watch.growth_bytes >= BODY_BYTES
