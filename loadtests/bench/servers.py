"""The servers that are compared, each a process tree on a free loopback port.

Every server has a directory of its own with the same files in it (hard links), is configured
as a user would run it, and writes its access log to a file.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import pwd
import random
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from loadtests.bench.content import Published, Store
from loadtests.bench.processes import CpuMeter, MemoryMeter

FASTREG, NGINX, REFERENCE = "fastreg", "nginx", "docker-registry"
PACKAGES = {"nginx": "nginx-light", "docker-registry": "docker-registry", "wrk": "wrk"}
SOURCES = Path(__file__).parents[2]
SEARCH_PATH = f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin"
"""Daemons are where a user's PATH may not look."""
START_TIMEOUT_S = 30
STOP_TIMEOUT_S = 30


class Server:
    """A running server over `root`."""

    def __init__(self, name: str, process: subprocess.Popen[bytes], port: int, root: Path) -> None:
        self.name = name
        self.root = root
        self.port = port
        self.address = ("127.0.0.1", port)
        self.host = f"127.0.0.1:{port}"
        self._process = process

    def cpu(self) -> CpuMeter:
        return CpuMeter(self._process.pid)

    def memory(self) -> MemoryMeter:
        return MemoryMeter(self._process.pid)

    def get(self, target: str, **headers: str) -> tuple[int, int]:
        """Return an answer's status and the length of its body."""
        connection = http.client.HTTPConnection(self.host, timeout=START_TIMEOUT_S)
        with contextlib.closing(connection):
            connection.request("GET", target, headers=headers)
            response = connection.getresponse()
            return response.status, sum(map(len, iter(lambda: response.read(1 << 20), b"")))

    def wait_until_ready(self, log: Path) -> None:
        deadline = time.monotonic() + START_TIMEOUT_S
        while self._process.poll() is None and time.monotonic() < deadline:
            with contextlib.suppress(OSError, http.client.HTTPException):
                if self.get("/v2/")[0] == 200:
                    return
            time.sleep(0.02)
        raise RuntimeError(f"{self.name} does not serve:\n{log.read_text()[-2000:]}")

    def stop(self) -> None:
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()


@contextlib.contextmanager
def serving(name: str, store: Store, workdir: Path, *, workers: int = 1) -> Iterator[Server]:
    """Run a server over a copy of the store until the context ends; its files go then."""
    directory = workdir / f"{name}-{random.getrandbits(32):08x}"
    root = directory / "data"
    directory.mkdir()
    server = None
    try:
        shutil.copytree(store.root, root, copy_function=os.link)
        port = free_port()
        argv, env = command(name, root, directory, port, store, workers)
        process = start(argv, env, directory / "log")
        server = Server(name, process, port, root)
        server.wait_until_ready(directory / "log")
        yield server
    finally:
        if server is not None:
            server.stop()
        shutil.rmtree(directory)


def command(
    name: str, root: Path, directory: Path, port: int, store: Store, workers: int
) -> tuple[list[str], dict[str, str]]:
    """Write a server's configuration; return what starts it, and with which variables."""
    if name == FASTREG:
        return [sys.executable, "-m", "fastreg", "serve"], {
            "REGISTRY_HTTP_ADDR": f"127.0.0.1:{port}",
            "REGISTRY_HTTP_WORKERS": str(workers),
            "REGISTRY_STORAGE_FILESYSTEM_ROOTDIRECTORY": str(root),
        }
    config = directory / "config"
    if name == REFERENCE:
        config.write_text(reference_config(root, port))
        return [program(REFERENCE), "serve", str(config)], {}
    config.write_text(nginx_config(root, directory, port, store))
    return [program(NGINX), "-c", str(config), "-e", str(directory / "log")], {}


def start(argv: Sequence[str], env: Mapping[str, str], log: Path) -> subprocess.Popen[bytes]:
    inherited = {k: v for k, v in os.environ.items() if not k.startswith("REGISTRY_")}
    with log.open("wb") as output:
        return subprocess.Popen(
            argv,
            cwd=SOURCES,
            env={**inherited, **env},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def program(name: str) -> str:
    """Return a program's path; without it, end naming what installs it."""
    path = shutil.which(name, path=SEARCH_PATH)
    if path is None:
        sys.exit(f"{name} is missing: apt-get install {PACKAGES[name]}")
    return path


def free_port() -> int:
    """Return a port that nothing listens on, below those that outgoing connections are given."""
    for port in random.sample(range(20_000, 32_000), 100):
        with socket.socket() as listener, contextlib.suppress(OSError):
            listener.bind(("127.0.0.1", port))
            return port
    raise RuntimeError("no free port found")


def reference_config(root: Path, port: int) -> str:
    """Return the settings of the configuration that its image ships (JSON is YAML)."""
    storage = {
        "cache": {"blobdescriptor": "inmemory"},
        "filesystem": {"rootdirectory": str(root)},
    }
    http_section = {"addr": f"127.0.0.1:{port}", "secret": "bench"}
    return json.dumps({"version": 0.1, "storage": storage, "http": http_section})


def nginx_config(root: Path, directory: Path, port: int, store: Store) -> str:
    """Return the configuration of a file server: one worker, one exact location a file."""
    temporary = "\n".join(
        f"{module}_temp_path {directory}/{module};"
        for module in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    locations = "\n".join(
        location(target, published, root / published.path.relative_to(store.root))
        for published in store.published.values()
        for target in published.targets
    )
    return f"""\
user {pwd.getpwuid(os.geteuid()).pw_name};
daemon off;
worker_processes 1;
pid {directory}/pid;
events {{ worker_connections 16384; }}
http {{
{temporary}
access_log {directory}/access.log;
sendfile on;
tcp_nopush on;
tcp_nodelay on;
keepalive_timeout 75s;
keepalive_requests 1000000000;
server {{
listen 127.0.0.1:{port};
add_header Docker-Distribution-Api-Version registry/2.0;
location = /v2/ {{ default_type application/json; return 200 "{{}}"; }}
{locations}
}}
}}
"""


def location(target: str, published: Published, path: Path) -> str:
    """Return the location that answers a target with a file, and headers like a registry's."""
    return f"""\
location = {target} {{
alias {path};
types {{ }}
default_type {published.media_type};
add_header Docker-Distribution-Api-Version registry/2.0;
add_header Docker-Content-Digest {published.digest};
}}"""
