"""Every answer has its line in the access log, whoever gave it and however the process ends."""

import http.client
import itertools
import os
import re
import signal
import subprocess
import threading
from collections import Counter
from pathlib import Path

import pytest

from tests.clients.processes import free_port
from tests.live.client import Client
from tests.live.conftest import Start
from tests.live.processes import environment, serve_command, wait_until

pytestmark = pytest.mark.live

_AGENT = re.compile(
    r'^127\.0\.0\.1 - - \[[^]]+\] "GET \S+ HTTP/1\.1" 200 \d+ "-" "(client\S+)"$', re.M
)
_DROPPED = re.compile(r'lines were dropped.* of="access log" lines=(\d+)')
TARGETS = ["/v2/", "/v2/lines/image/tags/list", "/v2/", "/v2/lines/image/manifests/tag"]


class Asking(threading.Thread):
    """A client that says a name of its own with each request, until it gets no answer."""

    def __init__(self, host: str, name: str) -> None:
        super().__init__()
        self._client = Client(host, keep=True)
        self._name = name
        self.answered: list[str] = []
        self.sent: list[str] = []

    def run(self) -> None:
        for number, target in enumerate(itertools.cycle(TARGETS)):
            agent = f"{self._name}-{number}"
            self.sent.append(agent)
            try:
                answer = self._client.request("GET", target, headers={"User-Agent": agent})
            except (OSError, http.client.HTTPException):
                break
            self.answered.append(agent)
            assert answer.status == 200
            if answer.headers.get("connection") == "close":
                break
        self._client.close()


def test_no_line_is_lost_when_the_registry_is_stopped_under_load(start: Start) -> None:
    registry = start()
    registry.client().push_image("lines/image", "tag", b"layer")
    registry.wait_for_workers()
    clients = [Asking(registry.host, f"client{number}") for number in range(8)]
    for client in clients:
        client.start()
    wait_until(lambda: all(len(client.answered) > 200 for client in clients), "all were answered")
    registry.signal(signal.SIGTERM)
    for client in clients:
        client.join()
    assert registry.daemon.process.wait(20) == 0
    lines = Counter(_AGENT.findall(registry.log()))
    answered = {agent for client in clients for agent in client.answered}
    sent = {agent for client in clients for agent in client.sent}
    assert answered <= set(lines) <= sent
    assert set(lines.values()) == {1}


def test_lines_that_nobody_takes_are_counted(workdir: Path) -> None:
    host = f"127.0.0.1:{free_port()}"
    settings = {
        "http.addr": host,
        "http.workers": "1",
        "storage.filesystem.rootdirectory": str(workdir / "data"),
    }
    errors = workdir / "errors.log"
    with errors.open("wb") as stderr:
        process = subprocess.Popen(
            serve_command(),
            env={**os.environ, **environment(settings)},
            stdout=subprocess.PIPE,
            stderr=stderr,
        )
    assert process.stdout is not None
    try:
        wait_until(lambda: b"msg=ready" in errors.read_bytes(), "it is ready")
        client = Client(host, keep=True)
        for number in range(3000):  # more than a pipe holds
            client.request("GET", "/v2/", headers={"User-Agent": f"agent{number}"}).expect(200)
        taken: list[bytes] = []
        reader = threading.Thread(target=lambda: taken.extend(process.stdout or ()))
        reader.start()
        client.request("GET", "/elsewhere").expect(404)
        wait_until(lambda: "lines were dropped" in errors.read_text(), "the loss is told")
        client.close()
    finally:
        process.terminate()
        assert process.wait(20) == 0
    reader.join()
    process.stdout.close()
    dropped = sum(int(count) for count in _DROPPED.findall(errors.read_text()))
    assert dropped > 0
    assert len(taken) + dropped == 3001
    assert all(line.startswith(b"127.0.0.1 - - [") and line.endswith(b'"\n') for line in taken)
