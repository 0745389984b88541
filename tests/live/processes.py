"""The whole registry as processes: started on a directory, signalled, ended by process id."""

import contextlib
import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from tests.clients.processes import Daemon, free_port, need, run
from tests.live.client import Client

WAIT_S = 20
DEFAULTS = {"http.workers": "2", "http.draintimeout": "10s"}


def wait_until(holds: Callable[[], bool], what: str) -> None:
    """Wait for something that must come; fail naming it when it does not."""
    deadline = time.monotonic() + WAIT_S
    while time.monotonic() < deadline:
        if holds():
            return
        time.sleep(0.02)
    pytest.fail(f"waited in vain until {what}")


def environment(settings: Mapping[str, str]) -> dict[str, str]:
    """Return the variables that set dotted keys."""
    overrides = sorted(name for name in os.environ if name.startswith("REGISTRY_"))
    assert not overrides, f"these variables change what is tested: {overrides}"
    return {f"REGISTRY_{key.replace('.', '_').upper()}": value for key, value in settings.items()}


def _has_azure(settings: Mapping[str, str]) -> bool:
    return any(key.startswith("storage.azure.") for key in settings)


def serve_command(config: Path | None = None) -> list[str | Path]:
    return [sys.executable, "-m", "fastreg", "serve", *([config] if config else [])]


class Registry:
    """A registry over `data`, on a port that stays the same when it starts again."""

    def __init__(
        self, data: Path, workdir: Path, settings: Mapping[str, str], config: Path | None = None
    ) -> None:
        self.data = data
        self.port = free_port()
        self.host = f"127.0.0.1:{self.port}"
        self._config = config
        self._log = workdir / f"{self.port}.log"
        self._environ = environment(
            DEFAULTS
            | {"http.addr": self.host}
            | ({} if _has_azure(settings) else {"storage.filesystem.rootdirectory": str(data)})
            | settings
        )
        self.start()

    def start(self) -> None:
        self.daemon = Daemon(serve_command(self._config), self._log, self._environ)
        self.daemon.wait_until(lambda: self.client().get("/v2/").status == 200)

    def client(self, *, keep: bool = False) -> Client:
        return Client(self.host, keep=keep)

    @property
    def pid(self) -> int:
        """The supervisor's."""
        return self.daemon.process.pid

    def workers(self) -> list[int]:
        children = Path(f"/proc/{self.pid}/task/{self.pid}/children")
        return [int(pid) for pid in children.read_text().split()]

    def wait_for_workers(self) -> list[int]:
        """Return the workers once all of them serve."""
        count = int(self._environ["REGISTRY_HTTP_WORKERS"])
        wait_until(lambda: "msg=ready" in self.log(), "all workers serve")
        assert len(self.workers()) == count
        return self.workers()

    def log(self) -> str:
        return self.daemon.output()

    def signal(self, number: signal.Signals) -> None:
        self.daemon.process.send_signal(number)

    def kill(self) -> None:
        """Kill the supervisor and its workers at once, as the machine's end would."""
        os.killpg(self.pid, signal.SIGKILL)
        self.daemon.process.wait(WAIT_S)

    def stop(self) -> None:
        """End it as an init system would: it must leave cleanly and have crashed nowhere."""
        code = self.daemon.stop()
        output = self.log()
        assert code == 0, f"ended with {code}:\n{output[-4000:]}"
        assert "Traceback" not in output, output[-8000:]

    def is_running(self) -> bool:
        return self.daemon.process.poll() is None

    def upload_directory(self, name: str, upload_id: str) -> Path:
        return self.data / "docker/registry/v2/repositories" / name / "_uploads" / upload_id

    def worker_of(self, client_port: int) -> int:
        """Return which worker has the connection that comes from a client's port."""
        inode = _socket_inode(self.port, client_port)
        for pid in self.workers():
            for fd in Path(f"/proc/{pid}/fd").iterdir():
                with contextlib.suppress(FileNotFoundError):
                    if os.readlink(fd) == f"socket:[{inode}]":
                        return pid
        pytest.fail(f"no worker has the connection from port {client_port}")

    @contextlib.contextmanager
    def client_of_each_worker(self) -> Iterator[list[Client]]:
        """Connections that stay open, one to every worker."""
        wanted = set(self.wait_for_workers())
        tried: list[Client] = []
        found: dict[int, Client] = {}
        try:
            while set(found) != wanted:
                assert len(tried) < 200, "a worker takes no connections"
                tried.append(client := self.client(keep=True))
                client.get("/v2/").expect(200)
                found.setdefault(self.worker_of(client.port), client)
            yield list(found.values())
        finally:
            for client in tried:
                client.close()


def _socket_inode(port: int, client_port: int) -> str:
    ends = [f"0100007F:{port:04X}", f"0100007F:{client_port:04X}"]
    for line in Path("/proc/net/tcp").read_text().splitlines():
        words = line.split()
        if words[1:3] == ends:
            return words[9]
    pytest.fail(f"there is no connection from port {client_port}")


def connect(registry: Registry) -> socket.socket:
    return socket.create_connection(("127.0.0.1", registry.port), timeout=WAIT_S)


def send_head(sock: socket.socket, method: str, target: str, *headers: str) -> None:
    lines = [f"{method} {target} HTTP/1.1", "Host: registry.test", *headers, "", ""]
    sock.sendall("\r\n".join(lines).encode())


@contextlib.contextmanager
def tmpfs(directory: Path, options: str) -> Iterator[Path]:
    """Mount a file system of its own at a new directory."""
    if os.geteuid() != 0:
        message = "mounting needs root: run `sudo -E pytest tests/live`"
        if os.environ.get("CI"):
            pytest.fail(message)
        pytest.skip(message)
    need("mount", "mount")
    directory.mkdir()
    run("mount", "-t", "tmpfs", "-o", options, "fastreg-test", directory)
    try:
        yield directory
    finally:
        run("umount", "-l", directory)
