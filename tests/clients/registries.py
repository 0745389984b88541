"""A registry in a process of its own, and plain HTTP to it."""

import http.client
import json
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml

from fastreg.storage.azure_client import AzureSettings
from tests.clients.images import DOCKER_LIST, DOCKER_MANIFEST, OCI_INDEX, OCI_MANIFEST, Layout
from tests.clients.processes import Daemon, free_port, need, run

FASTREG = "fastreg"
REFERENCE = "docker-registry"
# The same tests against another registry: tells a wrong test from a wrong registry.
UNDER_TEST = os.environ.get("CLIENT_TESTS_AGAINST", FASTREG)
SECRET = "the secret that signs upload states"
HTTP_TIMEOUT_S = 30


@dataclass(frozen=True)
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)

    def expect(self, status: int) -> "Answer":
        assert self.status == status, f"{self.status}, not {status}: {self.body[:2000]!r}"
        return self


@dataclass
class Registry:
    """A registry serving `root` on a loopback port until `stop`."""

    kind: str
    root: Path
    config: Path
    daemon: Daemon
    host: str
    is_stopped: bool = field(default=False)

    def request(self, method: str, target: str, body: bytes = b"", **headers: str) -> Answer:
        """Send one request on a connection of its own; `_` in header names stands for `-`."""
        connection = http.client.HTTPConnection(self.host, timeout=HTTP_TIMEOUT_S)
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        try:
            connection.request(method, target, body or None, named)
            response = connection.getresponse()
            lowered = {name.lower(): value for name, value in response.getheaders()}
            return Answer(response.status, lowered, response.read())
        finally:
            connection.close()

    def is_serving(self) -> bool:
        return self.request("GET", "/v2/").status == 200

    def stop(self) -> None:
        """End it as an init system would; it must leave cleanly and have crashed nowhere."""
        if self.is_stopped:
            return
        self.is_stopped = True
        code = self.daemon.stop()
        output = self.daemon.output()
        print(f"{self.kind} on {self.host} said:\n{output[-4000:]}")  # shown where a test failed
        assert code == 0, f"{self.kind} ended with {code}:\n{output[-4000:]}"
        assert "Traceback" not in output, output[-8000:]
        if self.kind == FASTREG:
            assert "level=error" not in output, output[-8000:]

    def push(self, name: str, layout: Layout, digest: str, reference: str = "") -> Answer:
        """Push a manifest of a layout and all it refers to, as a minimal client does."""
        content = layout.read(digest)
        manifest = json.loads(content)
        for child in manifest.get("manifests", []):
            self.push(name, layout, child["digest"])
        for blob in [manifest["config"], *manifest["layers"]] if "config" in manifest else []:
            self.push_blob(name, layout.read(blob["digest"]), blob["digest"])
        return self.request(
            "PUT",
            f"/v2/{name}/manifests/{reference or digest}",
            content,
            Content_Type=manifest["mediaType"],
        ).expect(201)

    def push_blob(self, name: str, content: bytes, digest: str) -> None:
        started = self.request("POST", f"/v2/{name}/blobs/uploads/").expect(202)
        self.request("PUT", with_digest(upload_target(started), digest), content).expect(201)

    def blob(self, name: str, digest: str) -> Answer:
        return self.request("GET", f"/v2/{name}/blobs/{digest}")

    def tags(self, name: str) -> list[str]:
        tags: list[str] = self.request("GET", f"/v2/{name}/tags/list").expect(200).json()["tags"]
        return tags

    def repositories(self) -> list[str]:
        names: list[str] = self.request("GET", "/v2/_catalog").expect(200).json()["repositories"]
        return names

    def manifest(self, name: str, reference: str) -> Answer:
        accept = ", ".join((OCI_MANIFEST, OCI_INDEX, DOCKER_MANIFEST, DOCKER_LIST))
        return self.request("GET", f"/v2/{name}/manifests/{reference}", Accept=accept)


StartRegistry = Callable[[str], Registry]


def upload_target(answer: Answer) -> str:
    """The path and query of an upload session's Location."""
    location = urlsplit(answer.headers["location"])
    return location._replace(scheme="", netloc="").geturl()


def with_digest(target: str, digest: str) -> str:
    """Append the digest to an upload's target as clients do."""
    return f"{target}{'&' if '?' in target else '?'}digest={digest}"


def collect_garbage(root: Path, workdir: Path) -> None:
    """Let the reference registry remove what no manifest refers to."""
    need("docker-registry", "docker-registry")
    config = workdir / "collector.yml"
    config.write_text(yaml.safe_dump(configuration(REFERENCE, root, "127.0.0.1:0")))
    run("docker-registry", "garbage-collect", config)


def start_registry(
    root: Path, workdir: Path, kind: str, storage: dict[str, Any] | None = None
) -> Registry:
    """Start a registry over `root`, or what `storage` names; its configuration and output go
    to `workdir`."""
    host = f"127.0.0.1:{free_port()}"
    config = workdir / f"{host}.yml"
    config.write_text(yaml.safe_dump(configuration(kind, root, host, storage)))
    argv: list[str | Path] = [sys.executable, "-m", "fastreg", "serve", config]
    if kind == REFERENCE:
        need("docker-registry", "docker-registry")
        argv = ["docker-registry", "serve", config]
    overrides = sorted(name for name in os.environ if name.startswith("REGISTRY_"))
    assert not overrides, f"these variables change what is tested: {overrides}"
    daemon = Daemon(argv, workdir / f"{host}.log")
    registry = Registry(kind, root, config, daemon, host)
    daemon.wait_until(registry.is_serving)
    return registry


def container_section(settings: AzureSettings) -> dict[str, Any]:
    """Return `storage.azure` for a container with the account's key."""
    return {
        "accountname": settings.account_name,
        "accountkey": settings.account_key,
        "container": settings.container,
        "serviceurl": settings.service_url,
    }


def configuration(
    kind: str, root: Path, host: str, storage: dict[str, Any] | None = None
) -> dict[str, Any]:
    http_section: dict[str, Any] = {"addr": host, "draintimeout": "5s"}
    http_section |= {"secret": SECRET} | ({} if kind == REFERENCE else {"workers": 2})
    return {
        "version": 0.1,
        "storage": {
            **(storage or {"filesystem": {"rootdirectory": str(root)}}),
            "delete": {"enabled": True},
        },
        "http": http_section,
    }
