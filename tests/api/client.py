"""A client that calls the WSGI application in process, as a strict server would."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, unquote_to_bytes, urlsplit
from wsgiref.util import setup_testing_defaults
from wsgiref.validate import validator

from fastreg.oci.digest import Digest

Headers = list[tuple[str, str]]


def finish_url(location: str, digest: str) -> str:
    """Return the URL of the PUT that ends an upload, as clients make it of a Location."""
    return f"{location}{'&' if '?' in location else '?'}digest={digest}"


def digest_of(data: bytes, algorithm: str = "sha256") -> str:
    return str(Digest.of(data, algorithm))


@dataclass(frozen=True)
class Answer:
    status: int
    headers: Headers
    body: bytes

    def all(self, name: str) -> list[str]:
        return [v for n, v in self.headers if n.lower() == name.lower()]

    def __getitem__(self, name: str) -> str:
        """The value of a header that is there once; "" where it is not there."""
        values = self.all(name)
        assert len(values) <= 1, f"{name} {len(values)} times"
        return values[0] if values else ""

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def code(self) -> str:
        """The code of the first error, "" for an answer that is none."""
        is_error = self.status >= 400 and self.body
        return self.json["errors"][0]["code"] if is_error else ""

    @property
    def outcome(self) -> tuple[int, str]:
        return self.status, self.code


class Pieces:
    """A `wsgi.input` whose reads give the pieces one by one, then end or fail."""

    def __init__(self, pieces: Iterable[bytes], failure: OSError | None = None) -> None:
        self._pieces = [p for p in pieces if p]
        self._failure = failure
        self.taken = 0

    def read(self, size: int) -> bytes:
        if not self._pieces:
            if self._failure:
                raise self._failure
            return b""
        piece = self._pieces.pop(0)
        if len(piece) > size:
            self._pieces.insert(0, piece[size:])
        self.taken += len(piece[:size])
        return piece[:size]

    def readline(self) -> bytes:
        return self.read(1)

    def readlines(self, hint: int = 0) -> list[bytes]:
        return [self.read(hint)]

    def __iter__(self) -> Iterator[bytes]:
        return iter(self.readlines())


class Client:
    """`strict` puts wsgiref's validator between, which hides what only our server knows."""

    def __init__(self, app: Callable[..., Any], *, strict: bool = True) -> None:
        self._app = validator(_typed(app)) if strict else app

    def request(
        self,
        method: str,
        url: str,
        body: bytes | Pieces = b"",
        headers: Mapping[str, str] | None = None,
        *,
        chunked: bool = False,
    ) -> Answer:
        """Send the request; `url` is a path with its query, or what a Location said."""
        environ = make_environ(method, url, body, headers or {}, chunked=chunked)
        said: list[Any] = []

        def start_response(status: str, headers: Headers, exc_info: Any = None) -> None:
            said[:] = [status, headers]

        result = self._app(environ, start_response)
        try:
            content = b"".join(result)
        finally:
            if hasattr(result, "close"):
                result.close()
        return Answer(int(said[0][:3]), list(said[1]), content)

    def get(self, url: str, **headers: str) -> Answer:
        return self.request("GET", url, headers=_named(headers))

    def head(self, url: str, **headers: str) -> Answer:
        return self.request("HEAD", url, headers=_named(headers))

    def delete(self, url: str) -> Answer:
        return self.request("DELETE", url)

    def post(self, url: str, body: bytes = b"") -> Answer:
        return self.request("POST", url, body)

    def patch(self, url: str, body: bytes | Pieces, **headers: str) -> Answer:
        return self.request("PATCH", url, body, _named(headers))

    def put(self, url: str, body: bytes | Pieces = b"", **headers: str) -> Answer:
        return self.request("PUT", url, body, _named(headers))

    def start(self, name: str = "app", query: str = "") -> str:
        """Begin an upload and return where it goes on."""
        answer = self.post(f"/v2/{name}/blobs/uploads/{query}")
        assert answer.status == 202, answer
        return answer["Location"]

    def push_blob(self, data: bytes, name: str = "app", algorithm: str = "sha256") -> str:
        digest = digest_of(data, algorithm)
        answer = self.post(f"/v2/{name}/blobs/uploads/?digest={digest}", data)
        assert answer.status == 201, answer
        return digest

    def push_manifest(
        self, document: Mapping[str, Any] | bytes, reference: str = "", name: str = "app"
    ) -> str:
        """Push a manifest by tag, by digest where none is given; return its digest."""
        content = document if isinstance(document, bytes) else encode(document)
        reference = reference or digest_of(content)
        media_type = json.loads(content).get("mediaType", "")
        answer = self.put(
            f"/v2/{name}/manifests/{reference}", content, Content_Type=media_type or OCI_MANIFEST
        )
        assert answer.status == 201, answer
        return answer["Docker-Content-Digest"]

    def pages(self, url: str, field: str) -> list[list[Any]]:
        """Follow `Link` to the end; return the pages."""
        pages = []
        while url and len(pages) < 1000:
            answer = self.get(url)
            assert answer.status == 200, answer
            pages.append(answer.json[field])
            link = answer["Link"]
            assert not link or link.endswith('>; rel="next"')
            url = link[1:].partition(">")[0]
        return pages


def make_environ(
    method: str,
    url: str,
    body: bytes | Pieces = b"",
    headers: Mapping[str, str] | None = None,
    *,
    chunked: bool = False,
) -> dict[str, Any]:
    """Return the environ that a server makes of such a request."""
    parts = urlsplit(quote(url, safe="/:?&=%@!$'()*+,;~-._"))
    environ: dict[str, Any] = {
        "REQUEST_METHOD": method,
        "SCRIPT_NAME": "",
        "PATH_INFO": unquote_to_bytes(parts.path).decode("latin-1"),
        "QUERY_STRING": parts.query,
        "HTTP_HOST": "registry.test:5000",
        "wsgi.input": Pieces([body]) if isinstance(body, bytes) else body,
        "wsgi.input_terminated": True,
    }
    if chunked:
        environ["HTTP_TRANSFER_ENCODING"] = "chunked"
    elif isinstance(body, bytes) and (body or method in ("POST", "PUT", "PATCH")):
        environ["CONTENT_LENGTH"] = str(len(body))
    for name, value in (headers or {}).items():
        key = name.upper().replace("-", "_")
        environ[key if key in ("CONTENT_TYPE", "CONTENT_LENGTH") else f"HTTP_{key}"] = value
    setup_testing_defaults(environ)
    return environ


def _named(headers: Mapping[str, str]) -> dict[str, str]:
    return {name.replace("_", "-"): value for name, value in headers.items()}


def _typed(app: Callable[..., Any]) -> Callable[..., Any]:
    """The validator wants a Content-Type on every answer; HTTP wants one on a body alone."""

    def typed(environ: dict[str, Any], start_response: Callable[..., Any]) -> Any:
        def start(status: str, headers: Headers, exc_info: Any = None) -> Any:
            names = {n.lower(): v for n, v in headers}
            if "content-type" not in names and names.get("content-length") == "0":
                return start_response(status, [*headers, ("Content-Type", "x/none")])
            return start_response(status, headers)

        return app(environ, start)

    return typed


OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_INDEX = "application/vnd.oci.image.index.v1+json"
OCI_CONFIG = "application/vnd.oci.image.config.v1+json"
OCI_LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_LIST = "application/vnd.docker.distribution.manifest.list.v2+json"


def encode(document: Mapping[str, Any]) -> bytes:
    return json.dumps(document, indent=1).encode()


def descriptor(data: bytes, media_type: str, algorithm: str = "sha256") -> dict[str, Any]:
    return {
        "mediaType": media_type,
        "digest": digest_of(data, algorithm),
        "size": len(data),
    }


def image(
    config: bytes, *layers: bytes, media_type: str = OCI_MANIFEST, **more: Any
) -> dict[str, Any]:
    """Return an image manifest; its blobs are not pushed."""
    return {
        "schemaVersion": 2,
        "mediaType": media_type,
        "config": descriptor(config, OCI_CONFIG),
        "layers": [descriptor(layer, OCI_LAYER) for layer in layers],
        **more,
    }


def index(*manifests: dict[str, Any], media_type: str = OCI_INDEX, **more: Any) -> dict[str, Any]:
    """Return an index of image manifests."""
    return {
        "schemaVersion": 2,
        "mediaType": media_type,
        "manifests": [descriptor(encode(m), m["mediaType"]) for m in manifests],
        **more,
    }
