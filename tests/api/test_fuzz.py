"""Requests of any kind: never a 5xx, never an exception, never a file that should not be."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fastreg.api.app import App
from fastreg.api.call import Settings
from fastreg.registry.registry import Registry
from fastreg.storage.local import LocalDriver
from tests.api.client import (
    OCI_MANIFEST,
    Answer,
    Client,
    Pieces,
    descriptor,
    digest_of,
    encode,
    image,
)

BLOB = b"{}"
DIGEST = digest_of(BLOB)
MANIFEST = encode(image(BLOB, subject=descriptor(BLOB, OCI_MANIFEST)))

FUZZ = settings(
    max_examples=300,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)

odd_text = st.text(st.characters(max_codepoint=0xFF), max_size=12)


def split(*lines: str) -> st.SearchStrategy[str]:
    """One of the blank-separated words."""
    return st.sampled_from(" ".join(lines).split())


segments = odd_text | split(
    "app a/b v2 _catalog tags list manifests blobs uploads referrers v1 . .. %2e%2e %00 %0a %2F",
    f"_layers _uploads UPLOAD ~ etc passwd blake3:../.. sha256:{'0' * 64} {DIGEST} {'a' * 300}",
)
resources = split(
    "/v2/app/blobs/ /v2/app/blobs/uploads/ /v2/app/manifests/ /v2/app/referrers/ /v2/other/blobs/"
)
targets = split(
    f"/ /v2/ /v2/_catalog /v2/app/tags/list /v2/app/manifests/v1 /v2/app/blobs/{DIGEST}",
    f"/v2/app/blobs/uploads/ /v2/app/blobs/uploads/UPLOAD /v2/app/referrers/{DIGEST}",
)
paths = st.one_of(
    targets,
    targets,
    st.tuples(resources, segments).map("".join),
    st.lists(segments, max_size=7).map(lambda s: "/" + "/".join(s)),
    odd_text,
)
values = odd_text | split(
    "0 1 -1 5-9 0-0 0-1 bytes=0-0 bytes=0-0,1-1 bytes=9- * x app ../.. sha512 %00 chunked gzip",
    f'{DIGEST} "{DIGEST}" {"9" * 40} {OCI_MANIFEST} host=a;proto=b https a.test /p',
)
names = split("digest mount from n last tag offset ns artifactType digest-algorithm")
queries = st.one_of(
    st.lists(st.tuples(names, values).map("=".join), max_size=4).map("&".join),
    odd_text,
)
headers = st.dictionaries(
    split(
        "Range If-Range If-Match If-None-Match Content-Range Content-Type Content-Length Host",
        "Accept Authorization Transfer-Encoding Forwarded X-Forwarded-Host X-Forwarded-Port",
        "X-Forwarded-Proto X-Forwarded-Prefix",
    ),
    values,
    max_size=5,
)
methods = st.one_of(split("GET HEAD POST"), split("PUT PATCH DELETE OPTIONS"), odd_text)
bodies = st.one_of(st.sampled_from([b"", BLOB, MANIFEST]), st.binary(max_size=50))


HEX = r"(sha256|sha512|blake3)/[0-9a-f]+"
OURS = re.compile(
    r"data/docker/registry/v2/("
    r"blobs/(sha256|sha512|blake3)/[0-9a-f]{2}/[0-9a-f]+/data|"
    r"repositories/[a-z0-9._/-]+/("
    rf"_layers/{HEX}/link|"
    rf"_manifests/(revisions/{HEX}/link|referrers/(scanned|{HEX}/{HEX}/link))|"
    rf"_manifests/tags/[A-Za-z0-9_][A-Za-z0-9._-]*/(current/link|index/{HEX}/link)|"
    r"_uploads/[0-9a-f-]{36}/(startedat|data|hashstates/[a-z0-9]+/[0-9]+)))"
)


class Place:
    """A registry in a directory that is watched from outside."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.app = App(Registry(LocalDriver(root / "data")), Settings(delete_enabled=True))
        self.client = Client(self.app, strict=False)
        self.client.push_blob(BLOB)
        self.client.push_manifest(MANIFEST, "v1")
        self.client.get(f"/v2/app/referrers/{DIGEST}")  # notes once what it has seen
        self.upload = self.client.start().partition("?")[0].rpartition("/")[2]

    def files(self) -> set[tuple[str, int]]:
        return {(str(p), p.stat().st_mtime_ns) for p in self.root.rglob("*") if p.is_file()}

    def strangers(self) -> list[str]:
        """The files that are none of a registry's."""
        found = (str(p.relative_to(self.root)) for p in self.root.rglob("*") if p.is_file())
        return [f for f in found if not OURS.fullmatch(f)]


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path / "watched")


def assert_is_sound(answer: Answer, method: str) -> None:
    assert answer.status < 500
    for name, value in answer.headers:
        assert re.fullmatch(r"[A-Za-z0-9-]+", name)
        assert not re.search(r"[\x00-\x1f\x7f]", value), (name, value)
        value.encode("latin-1")
    if answer.status in (204, 304) or method == "HEAD":
        assert answer.body == b""
    else:
        assert answer["Content-Length"] == str(len(answer.body))
    if answer.status >= 400 and method != "HEAD":
        assert re.fullmatch("[A-Z_]+", answer.code)


@FUZZ
@given(methods, paths, queries, headers, bodies, st.booleans())
def test_no_request_fails_the_server_or_leaves_its_root(
    place: Place,
    method: str,
    path: str,
    query: str,
    headers: dict[str, str],
    body: bytes,
    chunked: bool,
) -> None:
    url = path.replace("UPLOAD", place.upload) + ("?" + query if query else "")
    source = Pieces([body]) if chunked else body
    answer = place.client.request(method, url, source, headers, chunked=chunked)
    assert_is_sound(answer, method)
    assert place.strangers() == []


@FUZZ
@given(st.sampled_from(["GET", "HEAD", "OPTIONS"]), paths, queries, headers)
def test_reading_changes_nothing(
    place: Place, method: str, path: str, query: str, headers: dict[str, str]
) -> None:
    before = place.files()
    url = path.replace("UPLOAD", place.upload) + ("?" + query if query else "")
    assert_is_sound(place.client.request(method, url, b"", headers), method)
    assert place.files() == before


@FUZZ
@given(st.binary(max_size=300), headers)
def test_no_bytes_sent_as_a_manifest_fail_the_server(
    place: Place, noise: bytes, headers: dict[str, str]
) -> None:
    middle = len(MANIFEST) // 2
    for content in (noise, MANIFEST[:middle] + noise + MANIFEST[middle:]):
        sent = {k: v for k, v in headers.items() if k != "Content-Length"}
        answer = place.client.request("PUT", "/v2/app/manifests/fuzzed", content, sent)
        assert_is_sound(answer, "PUT")


steps = st.lists(
    st.tuples(
        st.sampled_from(["patch", "stream", "cut", "repeat", "skip", "ask", "refused"]),
        st.binary(min_size=1, max_size=40),
    ),
    max_size=12,
)


@settings(FUZZ, max_examples=100)  # a dozen requests each
@given(steps, st.sampled_from(["sha256", "sha512", "blake3"]), st.booleans())
def test_a_session_holds_what_came_in_order_and_nothing_else(
    place: Place, steps: list[tuple[str, bytes]], algorithm: str, announced: bool
) -> None:
    client = place.client
    query = f"?digest-algorithm={algorithm}" if announced else ""
    location = client.start("model", query)
    held = b""
    for step, data in steps:
        answer, kept = take_step(client, location, step, data, len(held))
        held += data if kept else b""
        status = client.get(location)
        assert status.status == 204
        assert status["Range"] == f"0-{max(len(held) - 1, 0)}"
        location = answer["Location"] or status["Location"]
    digest = digest_of(held, algorithm)
    done = client.put(f"{location}&digest={digest}")
    assert done.status == 201
    assert client.get(done["Location"]).body == held


def take_step(
    client: Client, location: str, step: str, data: bytes, held: int
) -> tuple[Answer, bool]:
    """Send what the step says; return the answer, and whether the bytes must be kept."""
    end = len(data) - 1
    if step == "patch":
        answer = client.patch(location, data, Content_Range=f"{held}-{held + end}")
        assert answer.status == 202
    elif step == "stream":
        answer = client.request("PATCH", location, Pieces([data]), chunked=True)
        assert answer.status == 202
    elif step == "cut":
        broken = Pieces([data], ConnectionResetError(104, "reset"))
        answer = client.request("PATCH", location, broken, chunked=True)
        assert answer.status == 400
    elif step in ("repeat", "skip"):
        start = held + 1 if step == "skip" else held - 1
        if start < 0:
            start = 7
        answer = client.patch(location, data, Content_Range=f"{start}-{start + end}")
        assert answer.status == 416
    elif step == "refused":
        answer = client.put(f"{location}&digest=sha256:nonsense", data)
        assert answer.status == 400
    else:
        answer = client.get(location)
    return answer, step in ("patch", "stream", "cut")
