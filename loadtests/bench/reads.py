"""Load of one kind of GET or HEAD, and what a request of it costs a server.

GETs are sent by `wrk`, from one thread. HEADs are not: `wrk` waits for the body that
Content-Length announces. They come from this process, in volleys over all connections.
"""

from __future__ import annotations

import contextlib
import re
import signal
import socket
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from loadtests.bench.content import ACCEPT
from loadtests.bench.processes import fields
from loadtests.bench.programs import program
from loadtests.bench.pulls import pull
from loadtests.bench.servers import Server
from loadtests.bench.wire import exchange

SCRIPT = Path(__file__).with_name("load.lua")
TIMEOUT_S = 30
WARM_UP_S = 0.2


@dataclass(frozen=True)
class Request:
    """What every connection asks, and how long the content must be."""

    method: str
    target: str
    content_bytes: int
    connections: int

    def head(self, host: str) -> bytes:
        lines = (f"{self.method} {self.target} HTTP/1.1", f"Host: {host}", f"Accept: {ACCEPT}")
        return "\r\n".join((*lines, "", "")).encode()


@dataclass(frozen=True)
class Totals:
    requests: int
    """Answers that came whole."""
    received_bytes: int
    duration_s: float
    errors: int
    """Connections that broke, and answers other than 2xx."""


@dataclass(frozen=True)
class Cost:
    """What a request cost the server, and how many there were a second."""

    cpu_s: float
    rate: float


def cost_of(server: Server, request: Request, seconds: float) -> Cost:
    answer_bytes = measure_answer(server, request)
    cpu = server.cpu()
    send = send_heads if request.method == "HEAD" else run_wrk
    totals = send(server, request, seconds)
    spent_s = cpu.spent_s()
    answers = count_answers(totals, answer_bytes, request.connections)
    return Cost(spent_s / answers, answers / totals.duration_s)


def measure_answer(server: Server, request: Request) -> int:
    """Ask once and check the answer; return its length, head and body."""
    is_head = request.method == "HEAD"
    with socket.create_connection(server.address, TIMEOUT_S) as sock:
        answer = exchange(sock, request.head(server.host), has_body=not is_head)
    if (answer.status, answer.content_bytes) != (200, request.content_bytes):
        raise RuntimeError(f"{server.name} gave {answer} to {request}")
    return answer.head_bytes + (0 if is_head else answer.content_bytes)


def count_answers(totals: Totals, answer_bytes: int, connections: int) -> float:
    """Return how many answers were sent, those under way at the end by their share.

    Raises RuntimeError on errors, and when the answers were not all as long as the first:
    then the bytes do not fit the number of requests.
    """
    answers = totals.received_bytes / answer_bytes
    is_right = totals.requests > 0 and 0 <= answers - totals.requests <= connections
    if totals.errors or not is_right:
        raise RuntimeError(f"wrong answers: {totals}, where each has {answer_bytes} bytes")
    return answers


def warm_up(server: Server, request: Request) -> None:
    """Let the server load what it needs for a request, and learn to be quick at it."""
    if request.method == "HEAD":
        send_heads(server, request, WARM_UP_S)
    else:
        head = request.head(server.host)
        pull(server.address, head, request.connections, time.monotonic() + WARM_UP_S)


def run_wrk(server: Server, request: Request, seconds: float) -> Totals:
    argv = [program("wrk"), "-t1", f"-c{request.connections}", "-d1h"]
    argv += [f"--timeout={TIMEOUT_S}s", "-H", f"Accept: {ACCEPT}", "-s", str(SCRIPT)]
    argv += [f"http://{server.host}{request.target}"]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as process:
        while not catches_interrupts(process.pid):
            time.sleep(0.001)
        time.sleep(seconds)
        return parse_totals(interrupt(process))


def catches_interrupts(pid: int) -> bool:
    """Whether a process has come so far that SIGINT no longer kills it, or has ended."""
    status = dict(fields(Path(f"/proc/{pid}/status").read_text()))
    return bool(int(status["SigCgt"], 16) >> signal.SIGINT - 1 & 1) or status["State"][0] == "Z"


def interrupt(process: subprocess.Popen[str]) -> str:
    """End wrk, which no other signal lets print its totals; return what it printed.

    It goes to sleep after it began to catch the signal, and would sleep an hour on.
    """
    deadline = time.monotonic() + TIMEOUT_S
    while time.monotonic() < deadline:
        process.send_signal(signal.SIGINT)
        with contextlib.suppress(subprocess.TimeoutExpired):
            return process.communicate(timeout=0.5)[0]
    process.kill()
    raise RuntimeError("wrk does not end")


def parse_totals(output: str) -> Totals:
    found = re.search(r"^totals (\d+) (\d+) (\d+) (\d+)$", output, re.MULTILINE)
    if found is None:
        raise RuntimeError(f"wrk printed no totals:\n{output}")
    requests, received, duration_us, errors = map(int, found.groups())
    return Totals(requests, received, duration_us / 1e6, errors)


def send_heads(server: Server, request: Request, seconds: float) -> Totals:
    """Send a request on every connection, take all answers, and again."""
    head, received, volleys = request.head(server.host), 0, 0
    with contextlib.ExitStack() as stack:
        socks = [
            stack.enter_context(socket.create_connection(server.address, TIMEOUT_S))
            for _ in range(request.connections)
        ]
        begun = time.monotonic()
        while time.monotonic() < begun + seconds:
            for sock in socks:
                sock.send(head)
            received += sum(map(take_head, socks))
            volleys += 1
    return Totals(volleys * len(socks), received, time.monotonic() - begun, 0)


def take_head(sock: socket.socket) -> int:
    """Return the length of an answer without a body."""
    answer = sock.recv(4096)
    while not answer.endswith(b"\r\n\r\n"):
        piece = sock.recv(4096)
        if not piece:
            raise ConnectionError(f"closed after {answer!r}")
        answer += piece
    if not answer.startswith(b"HTTP/1.1 200 "):
        raise RuntimeError(f"not 200: {answer!r}")
    return len(answer)
