"""The Docker Engine API of one daemon, over its socket.

The command line is not used: it comes in a package of its own, and each version of it refuses
some versions of the daemon.
"""

from __future__ import annotations

import http.client
import json
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

ANSWER_TIMEOUT_S = 300
"""A pull is one request; between two lines of its progress a busy daemon takes its time."""


class EngineError(Exception):
    """A daemon refused, or broke off."""


class Engine:
    """A daemon. Every request has a connection of its own."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def get(self, target: str, **query: object) -> Any:
        return json.loads(self._ask("GET", target, query, None) or b"null")

    def post(self, target: str, body: object = None, **query: object) -> Any:
        return json.loads(self._ask("POST", target, query, body) or b"null")

    def delete(self, target: str, **query: object) -> None:
        self._ask("DELETE", target, query, None)

    def pull(self, image: str) -> None:
        """Pull `repository:tag`; return when it is unpacked."""
        for line in self._ask("POST", "/images/create", {"fromImage": image}, None).splitlines():
            if error := json.loads(line).get("error"):
                raise EngineError(error)

    def run(self, image: str) -> None:
        """Start a container on the daemon's own network."""
        host = {"NetworkMode": "host"}
        container = self.post("/containers/create", {"Image": image, "HostConfig": host})["Id"]
        self.post(f"/containers/{container}/start")

    def events(self, since_ns: int, until_ns: int, *names: str) -> list[dict[str, Any]]:
        """Return what happened in a span of the machine's clock, oldest first."""
        span = {"since": seconds(since_ns), "until": seconds(until_ns)}
        query = {**span, "filters": json.dumps({"event": names})}
        return [json.loads(line) for line in self._ask("GET", "/events", query, None).splitlines()]

    def _ask(self, method: str, target: str, query: Mapping[str, object], body: object) -> bytes:
        connection = _Connection(self._path)
        try:
            connection.request(
                method,
                f"{target}?{urlencode(query)}",
                None if body is None else json.dumps(body),
                {"Content-Type": "application/json"},
            )
            response = connection.getresponse()
            answer = response.read()
        except http.client.HTTPException as error:
            raise EngineError(f"{method} {target}: {error!r}") from error
        finally:
            connection.close()
        if response.status >= 400:
            raise EngineError(f"{method} {target}: {message(answer)}")
        return answer


class _Connection(http.client.HTTPConnection):
    def __init__(self, path: Path) -> None:
        super().__init__("docker", timeout=ANSWER_TIMEOUT_S)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


def seconds(time_ns: int) -> str:
    return f"{time_ns // 10**9}.{time_ns % 10**9:09d}"


def message(answer: bytes) -> str:
    try:
        return str(json.loads(answer)["message"])
    except (ValueError, LookupError, TypeError):
        return answer.decode(errors="replace").strip()
