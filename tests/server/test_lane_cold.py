"""Blobs of the lane that are not in memory: read off the loop, sent whole or cut."""

from __future__ import annotations

import ctypes
import mmap
import os
import random
import threading
from collections.abc import Iterator
from pathlib import Path

import gevent
import pytest

from fastreg.fastlane import is_resident
from fastreg.oci.digest import Digest
from fastreg.registry import paths
from fastreg.server import sending
from fastreg.server import server as server_module
from tests.api.client import Client, digest_of
from tests.server.lanes import app_over, exchange, publish, request, settle, start_app, take_lines
from tests.server.wire import Running, StartServer, wait_until

BLOB = random.Random(2).randbytes(5_000_123)
OTHER = b"another blob"
TARGET = f"/v2/app/blobs/{digest_of(BLOB)}"
GET, OTHER_GET = request(TARGET), request(f"/v2/app/blobs/{digest_of(OTHER)}")
TAGS = request("/v2/app/tags/list")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    client = Client(app_over(tmp_path / "data"))
    for blob in (BLOB, OTHER):
        client.push_blob(blob)
    settle()
    return tmp_path / "data"


@pytest.fixture
def data(root: Path) -> Path:
    """The file of the blob."""
    return root / paths.blob_data(Digest.parse(digest_of(BLOB)))


@pytest.fixture
def running(root: Path, start_server: StartServer) -> Running:
    return publish(
        start_app(start_server, root), GET, OTHER_GET, request(TARGET, "Range: bytes=0-0")
    )


def make_cold(data: Path) -> None:
    with data.open("rb") as file:
        os.fsync(file.fileno())
        for _ in range(200):  # what is on its way to a client stays until that has it
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
            if not pages_in_memory(file.fileno()):
                return
            gevent.sleep(0.005)
    pytest.skip("this file system keeps its files in memory")


def pages_in_memory(fd: int) -> int:
    """Count them by mincore(2): to try to read them would fetch them."""
    pages = (ctypes.c_ubyte * (-(-len(BLOB) // mmap.PAGESIZE)))()
    with mmap.mmap(fd, len(BLOB), access=mmap.ACCESS_COPY) as mapped:
        begin = ctypes.c_char.from_buffer(mapped)
        size = ctypes.c_size_t(len(BLOB))
        assert ctypes.CDLL(None).mincore(ctypes.byref(begin), size, pages) == 0
        del begin
    return sum(each & 1 for each in pages)


class Disk:
    """Reads what a cold file needs when it is told to."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.may_read = threading.Event()
        self.asked: list[tuple[int, int]] = []
        monkeypatch.setattr(server_module, "load", self._load)

    def _load(self, fd: int, offset: int, length: int, ahead: int) -> None:
        self.asked.append((offset, length))
        self.may_read.wait(20)
        sending.load(fd, offset, length, ahead)


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Iterator[Disk]:
    disk = Disk(monkeypatch)
    yield disk
    disk.may_read.set()


def test_to_ask_whether_a_file_is_in_memory_fetches_nothing_of_it(data: Path) -> None:
    with data.open("rb") as file:
        assert is_resident(file.fileno(), 0, len(BLOB))
        make_cold(data)
        for offset, length in ((0, len(BLOB)), (0, 1), (4095, 2), (len(BLOB) - 1, 1)):
            assert not is_resident(file.fileno(), offset, length)
        gevent.sleep(0.02)
        assert pages_in_memory(file.fileno()) == 0
        file.seek(-1, os.SEEK_END)
        file.read()
        assert not is_resident(file.fileno(), 0, len(BLOB))
        assert is_resident(file.fileno(), len(BLOB) - 1, 1)


@pytest.mark.parametrize("first", [0, 1, 1 << 20, 4_999_999])
def test_a_cold_blob_is_read_and_sent_whole(
    running: Running, data: Path, disk: Disk, first: int
) -> None:
    disk.may_read.set()
    for _ in range(2):
        make_cold(data)
        client = running.connect()
        client.send(request(TARGET, f"Range: bytes={first}-") + OTHER_GET)
        assert client.answer().body == BLOB[first:]
        assert client.answer().body == OTHER
        assert disk.asked.pop(0) == (first, min(1 << 20, len(BLOB) - first))
        disk.asked.clear()
    assert not running.records  # all of it was the lane's
    assert [line.split()[-3] for line in take_lines(running)] == [
        *[b"%d" % len(OTHER)] * 2,
        *[b"%d" % (len(BLOB) - first)] * 2,
    ]


def test_others_are_answered_while_the_disk_is_slow(
    running: Running, data: Path, disk: Disk
) -> None:
    make_cold(data)
    slow = [running.connect() for _ in range(20)]  # more than threads that read
    for client in slow:
        client.send(GET)
    wait_until(lambda: disk.asked)
    for _ in range(50):
        assert exchange(running, OTHER_GET + TAGS).by_lane == 1
    assert running.server.lane.connections == len(slow)
    disk.may_read.set()
    assert all(client.answer().body == BLOB for client in slow)


def test_a_client_that_leaves_meanwhile_is_forgotten(
    running: Running, data: Path, disk: Disk
) -> None:
    make_cold(data)
    leaving, staying = running.connect(), running.connect()
    for client in (leaving, staying):
        client.send(GET)
    wait_until(lambda: len(disk.asked) == 2)
    leaving.close()
    disk.may_read.set()
    assert staying.answer().body == BLOB
    wait_until(lambda: running.server.connections == 1)
    assert running.errors == []


def test_a_drain_meanwhile_waits_for_the_disk(running: Running, data: Path, disk: Disk) -> None:
    make_cold(data)
    client = running.connect()
    client.send(GET)
    wait_until(lambda: disk.asked)
    draining = gevent.spawn(running.server.drain, 20)
    gevent.sleep(0.1)
    disk.may_read.set()
    assert client.answer().body == BLOB
    assert draining.get() is True
    assert running.records.lines.count(b'" 200 5000123 ') == 1


def test_a_drain_does_not_wait_for_ever_for_the_disk(
    running: Running, data: Path, disk: Disk
) -> None:
    make_cold(data)
    client = running.connect()
    client.send(GET)
    wait_until(lambda: disk.asked)
    assert running.server.drain(0.2) is False
    assert client.rest() == b""
    assert running.records.lines.count(b'" 200 0 ') == 1
    disk.may_read.set()
    gevent.sleep(0.05)  # the read ends, and finds nobody
    assert running.errors == []


@pytest.mark.parametrize("left", [0, 1 << 20, 3_000_000])
def test_a_file_truncated_meanwhile_cuts_the_connection(
    running: Running, data: Path, disk: Disk, left: int
) -> None:
    make_cold(data)
    client = running.connect()
    client.send(GET + OTHER_GET)
    wait_until(lambda: disk.asked)
    os.truncate(data, left)
    disk.may_read.set()
    with pytest.raises(ConnectionResetError):
        client.answer()
    wait_until(lambda: not running.server.connections)
    assert b'" 200 ' in take_lines(running)[0]


def test_a_disk_that_cannot_be_read_cuts_the_connection(
    running: Running, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(fd: int, offset: int, length: int, ahead: int) -> None:
        os.truncate(data, 0)  # what is sent then fails as well
        raise OSError("cannot be read")

    monkeypatch.setattr(server_module, "load", fail)
    make_cold(data)
    client = running.connect()
    client.send(GET)
    with pytest.raises(ConnectionResetError):
        client.rest()
    assert running.errors == []


def test_without_a_thread_to_read_it_a_cold_blob_is_sent_all_the_same(
    running: Running, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(server_module, "read_in_thread", fail)
    make_cold(data)
    client = running.connect()
    client.send(GET)
    assert client.answer().body == BLOB
    assert not running.records  # it was the lane's
