"""The programs that are measured or that measure: where they are, how one is started."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

SOURCES = Path(__file__).parents[2]
PACKAGES = {"nginx": "nginx-light", "docker-registry": "docker-registry", "wrk": "wrk"}
AZURITE = "azurite-blob"
INSTALL = {name: f"apt-get install {package}" for name, package in PACKAGES.items()} | {
    AZURITE: "make bench-requirements"
}
SEARCH_PATH = os.pathsep.join(
    (
        str(SOURCES / ".venv/azurite/node_modules/.bin"),
        os.environ.get("PATH", os.defpath),
        "/usr/sbin",
        "/sbin",
    )
)
"""Daemons are where a user's PATH may not look."""
STOP_TIMEOUT_S = 30


def find(name: str) -> str | None:
    return shutil.which(name, path=SEARCH_PATH)


def program(name: str) -> str:
    """Return a program's path; without it, end naming what installs it."""
    path = find(name)
    if path is None:
        sys.exit(f"{name} is missing: {INSTALL.get(name, 'it was given as a path')}")
    return path


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


def stop(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(STOP_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def free_port() -> int:
    """Return a port that nothing listens on, below those that outgoing connections are given."""
    for port in random.sample(range(20_000, 32_000), 100):
        with socket.socket() as listener, contextlib.suppress(OSError):
            listener.bind(("127.0.0.1", port))
            return port
    raise RuntimeError("no free port found")
