"""One node's view of a registry: its connections, its token, what it asks for."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from urllib.parse import urljoin

from loadtests.bench.content import ACCEPT
from loadtests.client.answers import Answer
from loadtests.client.auth import Credentials, pull_scope, push_scope
from loadtests.client.calls import Calls, Observe, ignore
from loadtests.client.failures import (
    DigestMismatch,
    Failure,
    Truncated,
    WrongHeader,
    WrongLength,
)
from loadtests.client.pushes import Breaks, Content, Push, Pushed
from loadtests.client.verify import Verifier, Verify, digest_of
from loadtests.client.wire import Body, Connections, split

MANIFEST_HEADERS = {"Accept": ACCEPT}
CATALOG_SCOPE = "registry:catalog:*"


@dataclass(frozen=True)
class Fetched:
    media_type: str
    digest: str
    content: bytes


class Registry:
    """A registry as one Docker host knows it. Its methods raise Failure, and may be called
    from several threads at once, each of which then has a connection of its own."""

    def __init__(
        self,
        host: str,
        credentials: Credentials | None = None,
        observe: Observe = ignore,
        verify: Verify = "sha256",
        timeout_s: float = 60,
        verify_tls: bool = True,
    ) -> None:
        """`host` is an address, `http://` where it has no scheme. `observe` is called once a
        request; `timeout_s` bounds each wait for the other side."""
        base = host if "://" in host else f"http://{host}"
        if split(base)[1] != "/":
            raise Failure(f"a registry is at the root of its address, not at {base!r}")
        self._verify = verify
        self._connections = Connections(timeout_s, verify_tls)
        self._calls = Calls(base, credentials, observe, self._connections)

    def close(self) -> None:
        """Close all connections; what is under way fails."""
        self._connections.close()

    def ping(self) -> None:
        """Learn whether it is a registry, and what it wants to be shown."""
        with self._calls.call("GET ping", "/v2/", ok=(200, 401)) as answer:
            answer.content()
            if answer.status == 401:
                self._calls.learn(answer)

    def manifest(self, name: str, reference: str) -> Fetched:
        """Return a manifest or an index. Its bytes are those of the digest that was asked for,
        or of the one that the registry names for a tag."""
        with self._calls.call(
            "GET manifest",
            f"/v2/{name}/manifests/{reference}",
            pull_scope(name),
            headers=MANIFEST_HEADERS,
        ) as answer:
            content = answer.content()
            digest = reference if ":" in reference else answer.header("Docker-Content-Digest")
            check_header(answer, digest)
            found = digest_of(content, digest.partition(":")[0] or "sha256")
            if digest not in ("", found):
                raise DigestMismatch(f"the manifest {digest} has the bytes of {found}")
            return Fetched(answer.header("Content-Type").partition(";")[0], found, content)

    def head_manifest(self, name: str, reference: str) -> bool:
        target = f"/v2/{name}/manifests/{reference}"
        with self._calls.call(
            "HEAD manifest", target, pull_scope(name), ok=(200, 404), headers=MANIFEST_HEADERS
        ) as answer:
            if ":" in reference and answer.status == 200:
                check_header(answer, reference)
            return answer.status == 200

    def pull_blob(self, name: str, digest: str, size: int) -> int:
        """Receive a blob and keep nothing of it; return how many bytes came. Raises
        DigestMismatch, Truncated, WrongLength, WrongHeader."""
        with (
            self._calls.call("GET blob", f"/v2/{name}/blobs/{digest}", pull_scope(name)) as answer,
            Verifier(digest, self._verify) as verifier,
        ):
            check_header(answer, digest)
            try:
                answer.receive(verifier.update, size)
            except (Truncated, WrongLength) as failure:
                raise type(failure)(f"{digest}: {failure}") from None
            verifier.finish()
            return answer.received_bytes

    def head_blob(self, name: str, digest: str) -> bool:
        with self._calls.call(
            "HEAD blob", f"/v2/{name}/blobs/{digest}", pull_scope(name), ok=(200, 404)
        ) as answer:
            if answer.status == 200:
                check_header(answer, digest)
            return answer.status == 200

    def tags(self, name: str, page_size: int | None = None) -> list[str]:
        return self._list("GET tags", f"/v2/{name}/tags/list", pull_scope(name), "tags", page_size)

    def catalog(self, page_size: int | None = None) -> list[str]:
        return self._list("GET catalog", "/v2/_catalog", CATALOG_SCOPE, "repositories", page_size)

    def push_blob_whole(self, name: str, blob: Content) -> Pushed:
        """POST, and one PUT."""
        return Push(self._calls, name, blob).whole()

    def push_blob_at_once(self, name: str, blob: Content) -> Pushed:
        """One POST, and a PUT where the registry asks for it."""
        return Push(self._calls, name, blob).at_once()

    def push_blob_chunked(
        self, name: str, blob: Content, chunk_bytes: int, breaks: Breaks | None = None
    ) -> Pushed:
        """POST, PATCHes of `chunk_bytes`, PUT; resumed after each break."""
        return Push(self._calls, name, blob, breaks).in_parts(chunk_bytes)

    def push_blob_streamed(self, name: str, blob: Content, breaks: Breaks | None = None) -> Pushed:
        """POST, one PATCH in chunked transfer encoding as docker does it, PUT; resumed after
        each break."""
        return Push(self._calls, name, blob, breaks).in_parts(None)

    def push_manifest(self, name: str, reference: str, media_type: str, content: bytes) -> str:
        """Return the digest, which is the registry's too."""
        body = Body(lambda: iter((content,)), len(content))
        with self._calls.call(
            "PUT manifest",
            f"/v2/{name}/manifests/{reference}",
            push_scope(name),
            ok=(201,),
            headers={"Content-Type": media_type},
            body=body,
        ) as answer:
            answer.content()
            digest = digest_of(content)
            check_header(answer, digest)
            return digest

    def _list(
        self, call: str, target: str, scope: str, key: str, page_size: int | None
    ) -> list[str]:
        """Return what all pages of a list have."""
        target += f"?n={page_size}" if page_size else ""
        found: list[str] = []
        asked: set[str] = set()
        while target and target not in asked:
            asked.add(target)
            with self._calls.call(call, target, scope) as answer:
                found += entries(answer.content(), key)
                target = urljoin(target, next_page(answer.header("Link")))
        return found


def check_header(answer: Answer, digest: str) -> None:
    """Raise WrongHeader where the answer names another digest; a signed URL's names none."""
    named = answer.header("Docker-Content-Digest")
    if named not in ("", digest):
        raise WrongHeader(f"{digest} was asked for, and {named} announced")


def entries(content: bytes, key: str) -> list[str]:
    try:
        return [str(entry) for entry in json.loads(content)[key] or []]
    except (ValueError, LookupError, TypeError) as error:
        raise Failure(f"not a list of {key}: {content[:100]!r}") from error


def next_page(link: str) -> str:
    """Return the target of a Link header to the next page (RFC 8288), or nothing."""
    found = re.match(r'<([^>]*)>\s*;\s*rel="?next"?', link)
    return found[1] if found else ""
