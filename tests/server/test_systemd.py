"""What systemd is told, and the sockets that it passes."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from fastreg.server.systemd import Notifier, listen_sockets


@pytest.fixture
def inbox(tmp_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(str(tmp_path / "notify"))
        sock.settimeout(5)
        yield sock


def test_systemd_is_told_how_the_service_is(inbox: socket.socket) -> None:
    notifier = Notifier({"NOTIFY_SOCKET": inbox.getsockname(), "WATCHDOG_USEC": "2000000"})
    notifier.ready()
    notifier.reloading()
    notifier.alive()
    notifier.stopping()
    told = [inbox.recv(200).decode() for _ in range(4)]
    assert told[0] == "READY=1"
    assert told[1].startswith("RELOADING=1\nMONOTONIC_USEC=")
    assert told[2:] == ["WATCHDOG=1", "STOPPING=1"]


def test_the_watchdog_is_told_only_where_it_is_ours(inbox: socket.socket) -> None:
    address = {"NOTIFY_SOCKET": inbox.getsockname()}
    Notifier(address).alive()
    Notifier({**address, "WATCHDOG_USEC": "2000000", "WATCHDOG_PID": "1"}).alive()
    inbox.setblocking(False)
    with pytest.raises(BlockingIOError):
        inbox.recv(200)


def test_an_abstract_address_is_understood() -> None:
    name = f"fastreg-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind("\0" + name)
        sock.settimeout(5)
        Notifier({"NOTIFY_SOCKET": "@" + name}).ready()
        assert sock.recv(200) == b"READY=1"


def test_nobody_listening_is_no_failure(tmp_path: Path) -> None:
    notifier = Notifier({"NOTIFY_SOCKET": str(tmp_path / "gone")})
    assert notifier.ready() is None


def test_sockets_for_another_process_are_not_taken() -> None:
    assert listen_sockets({"LISTEN_PID": "1", "LISTEN_FDS": "2"}) == []


@pytest.mark.live
def test_a_socket_of_systemd_is_served(tmp_path: Path) -> None:
    activate = shutil.which("systemd-socket-activate")
    if activate is None:
        missing = "systemd-socket-activate is missing: apt-get install systemd"
        if os.environ.get("CI"):
            pytest.fail(missing)
        pytest.skip(missing)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = "127.0.0.1:{}".format(*probe.getsockname()[1:])
    environ = {
        "REGISTRY_STORAGE_FILESYSTEM_ROOTDIRECTORY": str(tmp_path / "data"),
        "REGISTRY_HTTP_ADDR": "127.0.0.1:1",  # would be refused: systemd's socket counts
    }
    keep = [f"--setenv={n}={v}" for n, v in {**environ, "PATH": os.environ["PATH"]}.items()]
    command = [sys.executable, "-m", "fastreg", "serve"]
    with subprocess.Popen(
        [activate, f"--listen={address}", *keep, *command],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    ) as process:
        try:
            answer = _first_answer(address)
        finally:
            process.terminate()
            assert process.stderr is not None
            told = process.stderr.read().decode()
    assert answer.startswith(b"HTTP/1.1 200 OK"), told
    assert process.returncode == 0, told


def _first_answer(address: str) -> bytes:
    host, port = address.split(":")
    for _ in range(200):
        try:
            with socket.create_connection((host, int(port)), timeout=20) as sock:
                sock.sendall(b"GET /v2/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
                return sock.recv(1000)
        except ConnectionRefusedError:
            time.sleep(0.05)
    return b""
