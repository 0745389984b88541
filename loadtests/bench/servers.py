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
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

from loadtests.bench.content import Published, Store, blob_key
from loadtests.bench.processes import CpuMeter, MemoryMeter, Watch
from loadtests.bench.programs import free_port, program, start, stop

FASTREG, NGINX, REFERENCE = "fastreg", "nginx", "docker-registry"
LOOPBACK = "127.0.0.1"
START_TIMEOUT_S = 30


class Storage(Protocol):
    """What a server keeps its blobs in."""

    def take_out(self, digest: str) -> int:
        """Remove a blob; return how many bytes it had."""

    def environment(self, directory: Path) -> dict[str, str]:
        """Return what makes fastreg use it, with `directory` for what it keeps beside."""

    def configuration(self) -> dict[str, object]:
        """Return what stands below `storage` in a reference registry's configuration."""


class Server:
    """A running server."""

    def __init__(
        self, name: str, process: subprocess.Popen[bytes], host: str, storage: Storage
    ) -> None:
        self.name = name
        self.storage = storage
        self.host = host
        address, _, port = host.partition(":")
        self.port = int(port)
        self.address = (address, self.port)
        self.pid = process.pid
        self._process = process

    def cpu(self) -> CpuMeter:
        return CpuMeter(self._process.pid)

    def memory(self) -> MemoryMeter:
        return MemoryMeter(self._process.pid)

    def watch(self) -> Watch:
        return Watch(self._process.pid)

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
        stop(self._process)


class Directory:
    """Files below a root."""

    def __init__(self, root: Path) -> None:
        self.root = root

    @classmethod
    def linked(cls, root: Path, original: Path) -> Directory:
        """Make one with the files of another directory, without copying them."""
        shutil.copytree(original, root, copy_function=os.link)
        return cls(root)

    def take_out(self, digest: str) -> int:
        path = self.root / blob_key(digest)
        size = path.stat().st_size
        shutil.rmtree(path.parent)
        return size

    def environment(self, directory: Path) -> dict[str, str]:
        return {"REGISTRY_STORAGE_FILESYSTEM_ROOTDIRECTORY": str(self.root)}

    def configuration(self) -> dict[str, object]:
        return {"filesystem": {"rootdirectory": str(self.root)}}


@contextlib.contextmanager
def serving(
    name: str,
    store: Store,
    workdir: Path,
    *,
    workers: int = 1,
    storage: Storage | None = None,
    reference: str = REFERENCE,
    address: str = LOOPBACK,
) -> Iterator[Server]:
    """Run a server over a copy of the store, or over what is in another storage, until the
    context ends; its files go then."""
    directory = workdir / f"{name}-{random.getrandbits(32):08x}"
    directory.mkdir()
    server = None
    try:
        kept_in = storage or Directory.linked(directory / "data", store.root)
        host = f"{address}:{free_port()}"
        if name == NGINX:
            argv, env = start_nginx(directory, host, workers, store)
        elif name == REFERENCE:
            argv, env = start_reference(reference, kept_in, directory, host)
        else:
            argv, env = start_fastreg(kept_in, directory, host, workers)
        process = start(argv, env, directory / "log")
        called = name if isinstance(kept_in, Directory) else f"{name} on Azure"
        server = Server(called, process, host, kept_in)
        server.wait_until_ready(directory / "log")
        yield server
    finally:
        if server is not None:
            server.stop()
        shutil.rmtree(directory)


Start = tuple[list[str], dict[str, str]]
"""A command, and the variables that it needs."""


def start_fastreg(storage: Storage, directory: Path, host: str, workers: int) -> Start:
    address = {
        "REGISTRY_HTTP_ADDR": host,
        "REGISTRY_HTTP_WORKERS": str(workers),
    }
    return [sys.executable, "-m", "fastreg", "serve"], address | storage.environment(directory)


def start_reference(reference: str, storage: Storage, directory: Path, host: str) -> Start:
    config = directory / "config"
    config.write_text(reference_config(storage, host))
    return [program(reference), "serve", str(config)], {}


def start_nginx(directory: Path, host: str, workers: int, store: Store) -> Start:
    config = directory / "config"
    config.write_text(nginx_config(directory / "data", directory, host, workers, store))
    return [program(NGINX), "-c", str(config), "-e", str(directory / "log")], {}


def reference_config(storage: Storage, host: str) -> str:
    """Return the settings of the configuration that its image ships (JSON is YAML)."""
    settings = {"cache": {"blobdescriptor": "inmemory"}, **storage.configuration()}
    http_section = {"addr": host, "secret": "bench"}
    return json.dumps({"version": 0.1, "storage": settings, "http": http_section})


def nginx_config(root: Path, directory: Path, host: str, workers: int, store: Store) -> str:
    """Return the configuration of a file server with one exact location a file."""
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
worker_processes {workers};
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
listen {host};
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
