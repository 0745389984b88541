"""Registries that let nobody in, or give what is not theirs."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from loadtests.images import Image


class Locked(BaseHTTPRequestHandler):
    """A registry that lets nobody in."""

    def do_GET(self) -> None:
        self.send_response(401)
        self.send_header("WWW-Authenticate", 'Basic realm="here"')
        self.send_header("Content-Length", "0")
        self.end_headers()

    do_HEAD = do_GET

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Keep quiet."""


class Corrupting(BaseHTTPRequestHandler):
    """A registry that gives one layer with a bit that is wrong."""

    protocol_version = "HTTP/1.1"
    answers: dict[str, tuple[str, str, bytes]]

    def do_GET(self) -> None:
        kind, digest, content = self.answers[self.path.rpartition("/")[2]]
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.send_header("Docker-Content-Digest", digest)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(content)

    do_HEAD = do_GET

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Keep quiet."""


@contextmanager
def serving(handler: type[BaseHTTPRequestHandler]) -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@dataclass(frozen=True)
class Corrupted:
    host: str
    digest: str
    """Of the layer that is wrong."""


@contextmanager
def corrupting(image: Image) -> Iterator[Corrupted]:
    manifest = image.platforms["linux/amd64"]
    blobs = {
        blob.digest: (blob.media_type, blob.digest, b"".join(blob.chunks()))
        for blob in manifest.blobs
    }
    wrong = manifest.blobs[2].digest
    kind, digest, content = blobs[wrong]
    blobs[wrong] = (kind, digest, content[:-1] + bytes([content[-1] ^ 1]))
    index_type = "application/vnd.oci.image.index.v1+json"
    answers = {
        "": ("application/json", "", b"{}"),
        "latest": (index_type, image.index_digest, image.index),
        manifest.digest: (manifest.media_type, manifest.digest, manifest.content),
        **blobs,
    }
    handler = type("Handler", (Corrupting,), {"answers": answers})
    with serving(handler) as host:
        yield Corrupted(host, wrong)
