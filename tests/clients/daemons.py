"""A Docker daemon and a containerd of the tests' own, and their command lines."""

import http.client
import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.clients.images import blobs_in
from tests.clients.processes import Daemon, need, run, try_run, unmount_below


@dataclass(frozen=True)
class Docker:
    """The docker command line against one daemon."""

    env: dict[str, str]

    def __call__(self, *argv: str | Path) -> str:
        return run("docker", *argv, env=self.env)

    def try_run(self, *argv: str) -> subprocess.CompletedProcess[str]:
        return try_run("docker", *argv, env=self.env)


@dataclass(frozen=True)
class Containerd:
    """The ctr command line against one containerd."""

    root: Path
    address: Path

    def __call__(self, *argv: str | Path) -> str:
        return run("ctr", "--address", self.address, "--namespace", "tests", *argv)

    def forget_all(self) -> None:
        """Remove every image, and with them all content."""
        if images := self("images", "ls", "--quiet").split():
            self("images", "rm", "--sync", *images)

    def blobs(self) -> set[str]:
        """The digests of all content, every file of it read through."""
        store = self.root / "io.containerd.content.v1.content/blobs/sha256"
        return blobs_in(store) if store.exists() else set()


@contextmanager
def running_docker() -> Iterator[Docker]:
    need("dockerd", "docker.io")
    need("docker", "docker.io")
    need_root("dockerd")
    with daemon_directory() as directory:
        daemon_socket = directory / "docker.sock"
        (directory / "daemon.json").write_text("{}")
        daemon = Daemon(
            [
                "dockerd",
                *("--config-file", directory / "daemon.json"),
                *("--data-root", directory / "data"),
                *("--exec-root", directory / "exec"),
                *("--pidfile", directory / "pid"),
                *("--host", f"unix://{daemon_socket}"),
                *("--bridge", "none"),
                "--iptables=false",
            ],
            directory / "log",
        )
        try:
            daemon.wait_until(lambda: bool(docker_api_version(daemon_socket)))
            yield Docker(
                {
                    "DOCKER_HOST": f"unix://{daemon_socket}",
                    "DOCKER_CONFIG": str(directory / "client"),
                    # A newer client refuses by default to ask for what an older daemon speaks.
                    "DOCKER_API_VERSION": docker_api_version(daemon_socket),
                }
            )
        finally:
            daemon.stop()


@contextmanager
def running_containerd() -> Iterator[Containerd]:
    need("containerd", "containerd")
    need("ctr", "containerd")
    need_root("containerd")
    with daemon_directory() as directory:
        config = directory / "config.toml"
        # The CRI plugin wants networks and cgroups, which pushing and pulling do not.
        config.write_text('version = 2\ndisabled_plugins = ["io.containerd.grpc.v1.cri"]\n')
        address = directory / "sock"
        daemon = Daemon(
            [
                "containerd",
                *("--config", config),
                *("--root", directory / "root"),
                *("--state", directory / "state"),
                *("--address", address),
            ],
            directory / "log",
        )
        try:
            daemon.wait_until(lambda: can_connect(address))
            yield Containerd(directory / "root", address)
        finally:
            daemon.stop()


@contextmanager
def daemon_directory() -> Iterator[Path]:
    """A directory short enough for socket names, removed with all that is mounted in it."""
    directory = Path(tempfile.mkdtemp(prefix="fastreg-"))
    try:
        yield directory
    finally:
        unmount_below(directory)
        shutil.rmtree(directory)


def docker_api_version(path: Path) -> str:
    """The API version of the daemon behind a socket; OSError while it does not serve."""
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(5)
        client.connect(str(path))
        client.sendall(b"GET /_ping HTTP/1.0\r\nHost: docker\r\n\r\n")
        response = http.client.HTTPResponse(client)
        response.begin()
        return response.getheader("Api-Version") or ""


def can_connect(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))
    return True


def need_root(program: str) -> None:
    """Skip, or under CI fail, where the tests do not run as root."""
    if os.geteuid() == 0:
        return
    message = f"{program} runs as root only: run the tests as root"
    if os.environ.get("CI"):
        pytest.fail(message)
    pytest.skip(message)
