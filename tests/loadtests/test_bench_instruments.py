"""The benchmark's instruments: costs of a process tree, latencies, loads in the background."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from loadtests.bench.background import Background
from loadtests.bench.content import Body, Store, blob_key
from loadtests.bench.crowd import affordable
from loadtests.bench.pace import CREDIT_S, LEAST_WAIT_S, Pace
from loadtests.bench.probe import Prober
from loadtests.bench.processes import CpuMeter, MemoryMeter, cpu_s, fields, tree
from loadtests.bench.reads import catches_interrupts, interrupt
from loadtests.bench.servers import nginx_config

REQUEST = b"GET / HTTP/1.1\r\n\r\n"
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
STALL_S = 0.2
WORKS = """
import os, sys
if os.fork() == 0:
    def work(size):
        kept = bytearray(size)
        for _ in range(3_000_000):
            pass
        return kept
    for line in sys.stdin:
        work(int(line))
        print("done", flush=True)
    os._exit(0)
os.wait()
"""


class Worker:
    """A process whose child works when told to."""

    def __init__(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", WORKS],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.work(1)

    def work(self, size: int) -> None:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        print(size, file=self.process.stdin, flush=True)
        assert self.process.stdout.readline() == "done\n"


@pytest.fixture
def worker() -> Iterator[Worker]:
    worker = Worker()
    with worker.process:
        yield worker


def stat_s(pid: int) -> float:
    """Return utime and stime of /proc."""
    words = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")


def test_the_cpu_time_of_children_counts(worker: Worker) -> None:
    parent, child = tree(worker.process.pid)
    assert parent == worker.process.pid
    before, meter = cpu_s(child), CpuMeter(parent)
    worker.work(1)
    spent_s = cpu_s(child) - before
    assert spent_s > 0
    assert meter.spent_s() >= 0.99 * spent_s  # which is not exact


def test_the_cpu_time_is_that_of_proc(worker: Worker) -> None:
    _, child = tree(worker.process.pid)
    for _ in range(5):
        worker.work(1)
    assert cpu_s(child) == pytest.approx(stat_s(child), abs=0.03)


def test_a_process_that_ended_meanwhile_is_no_measurement(worker: Worker) -> None:
    meter = CpuMeter(worker.process.pid)
    meter._before[0] = 0.0
    with pytest.raises(RuntimeError, match="ended"):
        meter.spent_s()


def test_a_peak_is_seen_after_it_is_over(worker: Worker) -> None:
    size = 64 << 20
    meter = MemoryMeter(worker.process.pid)
    meter.forget_peaks()
    worker.work(size)
    assert meter.peak_growth_bytes() > 0.9 * size
    assert meter.growth_bytes() < 0.5 * size
    meter.forget_peaks()
    assert meter.peak_growth_bytes() < 0.5 * size


def test_the_fields_of_proc_are_found() -> None:
    text = "Name:\tx\nmodel name\t: a: b\nVmRSS:\t     12 kB\nempty:\t\n"
    expected = {"Name": "x", "model name": "a: b", "VmRSS": "12 kB", "empty": ""}
    assert dict(fields(text)) == expected


def answer_all(socks: list[socket.socket], count: int) -> None:
    """Answer so many requests one by one, the tenth only after a stall."""
    for number in range(count):
        sock = socks[number % len(socks)]
        assert sock.recv(len(REQUEST)) == REQUEST
        if number == 10:
            time.sleep(STALL_S)
        sock.sendall(ANSWER)


def test_a_stall_is_charged_to_all_that_was_due_meanwhile() -> None:
    ours, theirs = map(list, zip(socket.socketpair(), socket.socketpair(), strict=True))
    server = threading.Thread(target=answer_all, args=(theirs, 100))
    server.start()
    prober = Prober(ours, REQUEST, len(ANSWER))
    prober.run(100)
    server.join()
    for sock in (*ours, *theirs):
        sock.close()
    latencies = prober.latencies.seconds
    assert len(latencies) == 100
    assert max(latencies) >= STALL_S
    # At 200 a second, some 20 were due in the second half of the stall.
    assert sum(latency > STALL_S / 2 for latency in latencies) >= 10


def test_the_prober_refuses_a_wrong_answer() -> None:
    ours, theirs = socket.socketpair()
    theirs.sendall(b"x" * len(ANSWER))
    with ours, theirs, pytest.raises(RuntimeError, match="wrong answer"):
        Prober([ours], REQUEST, len(ANSWER)).run(2)


def test_a_load_in_the_background_hands_back_its_result_or_its_failure() -> None:
    assert Background[int](sum, [1, 2]).result() == 3
    failed = Background[int](int, "no number")
    with pytest.raises(RuntimeError, match="invalid literal"):
        failed.result()


def test_a_pace_is_kept_and_hardly_any_lost_time_made_up() -> None:
    begun, pace = time.monotonic(), Pace(1e6)
    for _ in range(50):
        pace.keep(1000)
    assert time.monotonic() - begun >= 0.05 - LEAST_WAIT_S
    time.sleep(0.05)
    later = time.monotonic()
    pace.keep(50_000)
    assert time.monotonic() - later >= 0.05 - CREDIT_S - LEAST_WAIT_S


def test_only_what_is_paced_is_sent_in_pieces() -> None:
    assert Pace().piece(1 << 30) == 1 << 30
    assert Pace(1e6).piece(1 << 30) < 1 << 20


def test_every_upload_is_new() -> None:
    body = Body(1)
    uploads = [body.new_upload() for _ in range(3)]
    body.close()
    assert len({upload.digest for upload in uploads}) == 3


def test_the_store_is_laid_out_as_the_reference_registrys(tmp_path: Path) -> None:
    store = Store(tmp_path)
    manifest = store.manifest()
    assert (tmp_path / blob_key(manifest.digest)).stat().st_size == manifest.size
    repository = tmp_path / "docker/registry/v2/repositories/bench/image"
    link = repository / "_manifests/tags/latest/current/link"
    assert link.read_text() == manifest.digest
    assert store.manifest() is manifest


def test_nginx_has_a_location_for_all_that_is_published(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    manifest, blob = store.manifest(), store.blob(100)
    config = nginx_config(tmp_path / "data", tmp_path, 1234, 1, store)
    for target in (*manifest.targets, *blob.targets):
        assert f"location = {target} {{" in config


def test_no_more_connections_are_tried_than_files_may_be_open() -> None:
    assert affordable(10) == 10
    assert affordable(1 << 40) < 1 << 40


INTERRUPTIBLE = """
import signal, sys, time
seen = []
signal.signal(signal.SIGINT, lambda *_: seen.append(1))
while len(seen) < 2:
    time.sleep(0.01)
print("totals")
"""


def test_a_load_that_misses_its_interrupt_is_interrupted_again() -> None:
    argv = [sys.executable, "-c", INTERRUPTIBLE]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as process:
        while not catches_interrupts(process.pid):
            time.sleep(0.001)
        time.sleep(0.5)  # Python itself catches it from the start
        assert interrupt(process) == "totals\n"
