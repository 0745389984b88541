"""A small registry client over http.client: pushes in every way, resumes, pulls."""

import hashlib
import http.client
import json
import random
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

TIMEOUT_S = 30
MIB = 1 << 20
MANIFEST_TYPE = "application/vnd.oci.image.manifest.v1+json"
CONFIG_TYPE = "application/vnd.oci.image.config.v1+json"
LAYER_TYPE = "application/vnd.oci.image.layer.v1.tar"

Body = bytes | Iterable[bytes]


def digest_of(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def noise(seed: object, size: int) -> bytes:
    return random.Random(str(seed)).randbytes(size)


def pieces(content: bytes, size: int) -> Iterator[bytes]:
    for start in range(0, len(content), size):
        yield content[start : start + size]


@dataclass(frozen=True)
class Answer:
    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)

    def expect(self, status: int) -> "Answer":
        assert self.status == status, f"{self.status}, not {status}: {self.body[:1000]!r}"
        return self

    def error_code(self) -> str:
        """The code of an error in the OCI form."""
        assert self.headers["content-type"].startswith("application/json")
        code: str = self.json()["errors"][0]["code"]
        return code


def read_answer(response: http.client.HTTPResponse) -> Answer:
    headers = {name.lower(): value for name, value in response.getheaders()}
    return Answer(response.status, headers, response.read())


class Client:
    """Requests to one registry: each on a connection of its own, or with `keep` all on one."""

    def __init__(self, host: str, *, keep: bool = False) -> None:
        self.host = host
        self._keep = keep
        self.connection = http.client.HTTPConnection(host, timeout=TIMEOUT_S)

    @property
    def port(self) -> int:
        """The client's own end of the connection that is kept."""
        assert self.connection.sock is not None
        port: int = self.connection.sock.getsockname()[1]
        return port

    def close(self) -> None:
        self.connection.close()

    def request(
        self,
        method: str,
        target: str,
        body: Body = b"",
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """Send one request; a body that is not bytes goes in chunks."""
        connection = self.connection
        if not self._keep:
            connection = http.client.HTTPConnection(self.host, timeout=TIMEOUT_S)
        try:
            try:
                # None where there is none: b"" would announce one of 0 bytes.
                connection.request(method, target, body or None, dict(headers or {}))
            except (BrokenPipeError, ConnectionResetError):
                pass  # answered before the body was read: the answer tells why
            return read_answer(connection.getresponse())
        finally:
            if not self._keep:
                connection.close()

    def get(self, target: str) -> Answer:
        return self.request("GET", target)

    def push_whole(self, name: str, content: bytes) -> str:
        """Push a blob with its POST."""
        digest = digest_of(content)
        target = f"/v2/{name}/blobs/uploads/?digest={digest}"
        self.request("POST", target, content).expect(201)
        return digest

    def push_chunked(self, name: str, content: bytes) -> str:
        """Push a blob in one request without announcing its length."""
        upload = Upload(self, name)
        upload.patch(pieces(content, 10_000)).expect(202)
        upload.finish(digest_of(content)).expect(201)
        return digest_of(content)

    def push_image(self, name: str, reference: str, layer: bytes) -> str:
        """Push an image of one layer; return its manifest's digest."""
        config = config_of(layer)
        self.push_whole(name, config)
        self.push_whole(name, layer)
        manifest = manifest_of(config, layer)
        self.put_manifest(name, reference, manifest).expect(201)
        return digest_of(manifest)

    def put_manifest(self, name: str, reference: str, manifest: bytes) -> Answer:
        headers = {"Content-Type": MANIFEST_TYPE}
        return self.request("PUT", f"/v2/{name}/manifests/{reference}", manifest, headers)

    def manifest(self, name: str, reference: str) -> Answer:
        return self.request(
            "GET", f"/v2/{name}/manifests/{reference}", headers={"Accept": MANIFEST_TYPE}
        )

    def blob(self, name: str, digest: str) -> Answer:
        return self.get(f"/v2/{name}/blobs/{digest}")

    def has_blob(self, name: str, digest: str) -> bool:
        return self.request("HEAD", f"/v2/{name}/blobs/{digest}").status == 200

    def pull_image(self, name: str, reference: str) -> None:
        """Pull everything that the image is made of, and verify it."""
        answer = self.manifest(name, reference).expect(200)
        assert answer.headers["docker-content-digest"] == digest_of(answer.body)
        manifest = answer.json()
        for descriptor in [manifest["config"], *manifest["layers"]]:
            digest = descriptor["digest"]
            assert digest_of(self.blob(name, digest).expect(200).body) == digest

    def tags(self, name: str) -> list[str]:
        tags: list[str] = self.get(f"/v2/{name}/tags/list").expect(200).json()["tags"]
        return tags


def config_of(layer: bytes) -> bytes:
    return json.dumps({"made_of": digest_of(layer)}).encode()


def manifest_of(config: bytes, layer: bytes, **annotations: str) -> bytes:
    def descriptor(media_type: str, content: bytes) -> dict[str, object]:
        return {"mediaType": media_type, "digest": digest_of(content), "size": len(content)}

    manifest = {
        "schemaVersion": 2,
        "mediaType": MANIFEST_TYPE,
        "config": descriptor(CONFIG_TYPE, config),
        "layers": [descriptor(LAYER_TYPE, layer)],
        "annotations": annotations,
    }
    return json.dumps(manifest).encode()


class Upload:
    """One upload session, as the client that follows its answers knows it."""

    def __init__(self, client: Client, name: str, begun: Answer | None = None) -> None:
        self.client = client
        self.location = ""
        self.size = 0
        begun = begun or client.request("POST", f"/v2/{name}/blobs/uploads/")
        self._follow(begun.expect(202))

    @property
    def id(self) -> str:
        return urlsplit(self.location).path.rpartition("/")[2]

    @property
    def path(self) -> str:
        """The session's address without what the last answer said about it."""
        return urlsplit(self.location).path

    def _follow(self, answer: Answer) -> Answer:
        if "location" in answer.headers and answer.status in (202, 204, 416):
            self.location = (
                urlsplit(answer.headers["location"])._replace(scheme="", netloc="").geturl()
            )
            last = int(answer.headers["range"].partition("-")[2])
            self.size = last + 1 if last else 0
        return answer

    def patch(self, body: Body, *, client: Client | None = None) -> Answer:
        return self._follow((client or self.client).request("PATCH", self.location, body))

    def patch_at(self, start: int, body: bytes) -> Answer:
        """Send a part that says where it belongs."""
        headers = {"Content-Range": f"{start}-{start + len(body) - 1}"}
        return self._follow(self.client.request("PATCH", self.location, body, headers))

    def ask(self, client: Client | None = None) -> Answer:
        """Learn from the registry how far the session is."""
        return self._follow((client or self.client).get(self.path))

    def target(self, digest: str) -> str:
        """Where to PUT what is left of the blob."""
        return f"{self.location}{'&' if '?' in self.location else '?'}digest={digest}"

    def finish(self, digest: str, body: Body = b"", *, client: Client | None = None) -> Answer:
        return (client or self.client).request("PUT", self.target(digest), body)
