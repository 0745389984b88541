"""Starts that cannot succeed: one line that says why, and the right exit status."""

import os
import socket
import subprocess
from pathlib import Path

import pytest

from tests.clients.processes import free_port
from tests.live.processes import environment, serve_command, tmpfs

pytestmark = pytest.mark.live

EXIT_FAILED = 1
EXIT_CONFIG = 2


def fail_to_start(settings: dict[str, str], config: Path | None = None) -> tuple[int, str]:
    """Return the exit status and the one line that was printed."""
    done = subprocess.run(
        [str(arg) for arg in serve_command(config)],
        env=os.environ | environment({"http.addr": f"127.0.0.1:{free_port()}"} | settings),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.stdout == ""
    lines = done.stderr.splitlines()
    assert len(lines) == 1, done.stderr
    assert lines[0].startswith("fastreg: ")
    return done.returncode, lines[0]


def test_a_port_that_is_taken_ends_the_start(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", free_port())) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        settings = {"http.addr": address, "storage.filesystem.rootdirectory": str(tmp_path)}
        status, line = fail_to_start(settings)
    assert status == EXIT_FAILED
    assert address in line


def test_a_root_directory_that_is_a_file_ends_the_start(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("not a directory")
    for root in (file, file / "below"):
        status, line = fail_to_start({"storage.filesystem.rootdirectory": str(root)})
        assert status == EXIT_FAILED
        assert f"storage.filesystem.rootdirectory {root}: " in line


def test_a_root_directory_that_cannot_be_written_ends_the_start(workdir: Path) -> None:
    with tmpfs(workdir / "disk", "ro") as disk:
        status, line = fail_to_start({"storage.filesystem.rootdirectory": str(disk)})
    assert status == EXIT_FAILED
    assert f"storage.filesystem.rootdirectory {disk}: " in line


def test_an_unknown_key_ends_the_start(tmp_path: Path) -> None:
    config = tmp_path / "config.yml"
    config.write_text("version: 0.1\nstorage: {delete: {enabld: true}}\n")
    status, line = fail_to_start({}, config)
    assert status == EXIT_CONFIG
    assert "storage.delete.enabld: unknown key" in line
    assert "storage.delete.enabled" in line


def test_a_value_of_the_environment_that_is_wrong_ends_the_start() -> None:
    status, line = fail_to_start({"http.workers": "many"})
    assert status == EXIT_CONFIG
    assert "REGISTRY_HTTP_WORKERS" in line
