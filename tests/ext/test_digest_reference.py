"""The state files that the reference registry writes are ours, byte for byte, both ways."""

import hashlib
import http.client
import json
import re
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from fastreg.fastlane import Sha256

START_TIMEOUT_S = 30


@dataclass(frozen=True)
class Reference:
    address: str
    uploads: Path

    def send(self, method: str, url: str, body: bytes = b"") -> http.client.HTTPResponse:
        parts = urlsplit(url)
        connection = http.client.HTTPConnection(self.address, timeout=30)
        try:
            target = parts.path + (f"?{parts.query}" if parts.query else "")
            connection.request(method, target, body)
            answer = connection.getresponse()
            answer.read()
            return answer
        finally:
            connection.close()

    def state_path(self, length: int) -> Path:
        (session,) = self.uploads.iterdir()
        return session / "hashstates" / "sha256" / str(length)


def wait_for_address(log: Path, process: subprocess.Popen[bytes]) -> str:
    deadline = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < deadline and process.poll() is None:
        if found := re.search(r"listening on (127\.0\.0\.1:\d+)", log.read_text()):
            return found[1]
        time.sleep(0.05)
    raise AssertionError(f"the reference registry did not start:\n{log.read_text()}")


@pytest.fixture
def reference(tmp_path: Path, need: Callable[[str, str], str]) -> Iterator[Reference]:
    """Debian's docker-registry over a directory of its own, on a port of its own."""
    command = need("docker-registry", "docker-registry")
    root, log, config = tmp_path / "data", tmp_path / "log", tmp_path / "config.yml"
    settings = {
        "version": "0.1",
        "storage": {"filesystem": {"rootdirectory": str(root)}},
        "http": {"addr": "127.0.0.1:0", "secret": "of this test"},
    }
    config.write_text(json.dumps(settings))  # JSON is YAML
    with log.open("wb") as output:
        process = subprocess.Popen([command, "serve", config], stdout=output, stderr=output)
    try:
        address = wait_for_address(log, process)
        yield Reference(address, root / "docker/registry/v2/repositories/a/b/_uploads")
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@pytest.mark.live
def test_reference_registry_and_extension_write_the_same_state_and_read_each_others(
    reference: Reference,
) -> None:
    data = bytes(i * i % 251 for i in range(150_001))
    first, second = data[:100_003], data[100_003:]

    started = reference.send("POST", "/v2/a/b/blobs/uploads/")
    patched = reference.send("PATCH", started.headers["Location"], first)
    assert (started.status, patched.status) == (202, 202)

    digest = Sha256()
    digest.update(first)
    theirs = reference.state_path(len(first))
    assert digest.export_state() == theirs.read_bytes()
    assert Sha256.restore(theirs.read_bytes()).digest() == hashlib.sha256(first).digest()

    # The end of the upload is verified by them from a state file that we wrote.
    theirs.write_bytes(digest.export_state())
    name = f"sha256:{hashlib.sha256(data).hexdigest()}"
    url = f"{patched.headers['Location']}&digest={name}"
    done = reference.send("PUT", url, second)
    assert (done.status, done.headers["Docker-Content-Digest"]) == (201, name)
