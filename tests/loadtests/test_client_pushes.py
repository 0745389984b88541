"""The load tests' client pushes in every way, breaks off, and goes on where it must."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Iterator

import pytest

from loadtests.client.failures import DigestMismatch, Failure, Refused
from loadtests.client.pushes import MAX_STANDS, STREAM_BYTES, Breaks, Content, Pushed, Source
from loadtests.client.registry import Registry
from tests.clients.processes import need
from tests.clients.registries import FASTREG, REFERENCE, start_registry
from tests.loadtests.client_toy import Log, Piece, Reply, Seen, Toy, node

NAME, CHUNK_BYTES = "a/b", 300_000
SESSION = "/v2/a/b/blobs/uploads/1?state=so"
BREAKS = Breaks((500_000, 1_100_001))


def piece(seed: str, size: int = 1_500_000) -> Piece:
    return Piece(random.Random(seed).randbytes(size))


@pytest.fixture(scope="module", params=[FASTREG, REFERENCE])
def kind(request: pytest.FixtureRequest) -> str:
    if request.param == REFERENCE:
        need("docker-registry", "docker-registry")
    return str(request.param)


@pytest.fixture(scope="module")
def host(kind: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    workdir = tmp_path_factory.mktemp(kind)
    registry = start_registry(workdir / "data", workdir, kind)
    yield registry.host
    registry.stop()


def push(registry: Registry, way: str, blob: Content, breaks: Breaks | None = None) -> Pushed:
    if way == "whole":
        return registry.push_blob_whole(NAME, blob)
    if way == "at once":
        return registry.push_blob_at_once(NAME, blob)
    if way == "chunked":
        return registry.push_blob_chunked(NAME, blob, CHUNK_BYTES, breaks)
    return registry.push_blob_streamed(NAME, blob, breaks)


WAYS = {
    "whole": ["POST upload", "PUT upload"],
    "chunked": ["POST upload", *["PATCH upload"] * 5, "PUT upload"],
    "streamed": ["POST upload", "PATCH upload", "PUT upload"],
}


@pytest.mark.live
@pytest.mark.parametrize("way", WAYS)
def test_a_blob_that_was_pushed_can_be_pulled(host: str, way: str) -> None:
    blob, log = piece(way), Log()
    with node(host, observe=log) as registry:
        pushed = push(registry, way, blob)
        assert log.names == WAYS[way]
        assert registry.pull_blob(NAME, blob.digest, blob.size) == blob.size
    assert pushed == Pushed(blob.size, sent_bytes=blob.size)
    assert sum(size for name, size, _ in log.entries if name != "GET blob") == blob.size
    assert {error for _, _, error in log.entries} == {None}


@pytest.mark.live
@pytest.mark.parametrize("size", [0, 1, 2])
@pytest.mark.parametrize("way", [*WAYS, "at once"])
def test_the_smallest_blobs_are_pushed_too(host: str, way: str, size: int) -> None:
    blob = piece(f"{way} {size}", size)
    with node(host) as registry:
        push(registry, way, blob)
        assert registry.pull_blob(NAME, blob.digest, size) == size


@pytest.mark.live
def test_a_blob_in_one_request_is_sent_again_where_the_registry_wants_that(
    host: str, kind: str
) -> None:
    blob, log = piece("at once"), Log()
    with node(host, observe=log) as registry:
        pushed = push(registry, "at once", blob)
        assert registry.pull_blob(NAME, blob.digest, blob.size) == blob.size
    if kind == FASTREG:
        assert log.names == ["POST upload", "GET blob"]
        assert pushed == Pushed(blob.size, sent_bytes=blob.size)
    else:
        assert log.names == ["POST upload", "PUT upload", "GET blob"]


@pytest.mark.live
@pytest.mark.parametrize("way", ["chunked", "streamed"])
def test_a_push_that_is_cut_sends_again_only_what_was_lost(host: str, kind: str, way: str) -> None:
    blob, log = piece(f"{way} and cut"), Log()
    with node(host, observe=log) as registry:
        pushed = push(registry, way, blob, BREAKS)
        assert registry.pull_blob(NAME, blob.digest, blob.size) == blob.size
    assert pushed.sent_bytes == blob.size + pushed.lost_bytes
    assert {error for _, _, error in log.entries} == {None}
    if kind == FASTREG:
        assert (pushed.resumed >= 2, pushed.restarted) == (True, 0)
    else:
        assert pushed.resumed + pushed.restarted >= 2


def test_bytes_are_made_again_from_where_they_are_wanted() -> None:
    blob = piece("source", 400_000)
    source = Source(blob)
    for start, end in [(0, 400_000), (399_999, 400_000), (100_003, 100_004), (150_000, 350_000)]:
        pieces = list(source.pieces(start, end, most=STREAM_BYTES))
        assert b"".join(pieces) == blob.content[start:end]
        assert max(map(len, pieces)) <= STREAM_BYTES
    assert list(source.pieces(7, 7)) == []


class Session:
    """A registry with one upload session, which does as it is told with each PATCH."""

    def __init__(self, *replies: int) -> None:
        self.content = b""
        self._replies = iter(replies)

    def __call__(self, seen: Seen) -> Reply:
        if seen.method == "POST":
            return self._reply(202)
        if seen.method == "PUT":
            return Reply(201, headers={"Docker-Content-Digest": Piece(self.content).digest})
        if seen.method == "GET":
            return self._reply(204)
        status = next(self._replies, 202)
        if status == 202:
            self.content += seen.body
        elif status == 416:
            self.content += seen.body[:1000]
        return self._reply(status)

    def _reply(self, status: int) -> Reply:
        last = max(len(self.content) - 1, 0)
        headers = {"Location": SESSION, "Range": f"0-{last}", "Retry-After": "0"}
        return Reply(status, headers=headers)


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    waited: list[float] = []
    monkeypatch.setattr(time, "sleep", lambda seconds: waited.append(seconds) if seconds else None)
    return waited


def test_an_upload_goes_on_from_where_the_registry_says_it_is(waits: list[float]) -> None:
    session, blob, log = Session(202, 416, 202, 503), piece("416", 1_000_000), Log()
    with Toy(session) as toy, node(toy.host, observe=log) as registry:
        pushed = registry.push_blob_chunked(NAME, blob, CHUNK_BYTES)
    assert session.content == blob.content
    assert (pushed.resumed, len(waits)) == (1, 1)
    assert pushed.sent_bytes == blob.size + pushed.lost_bytes + CHUNK_BYTES
    patches = [seen for seen in toy.seen if seen.method == "PATCH"]
    ranges = [seen.headers["content-range"] for seen in patches]
    assert ranges[:3] == ["0-299999", "300000-599999", "301000-600999"]
    assert {seen.target for seen in patches} == {SESSION}
    assert toy.asked()[-1] == f"PUT {SESSION}&digest={blob.digest}"
    assert {error for _, _, error in log.entries} == {None}


def test_an_upload_that_comes_no_further_is_given_up(waits: list[float]) -> None:
    class Standing(Session):
        def __call__(self, seen: Seen) -> Reply:
            if seen.method == "PATCH":
                return self._reply(416)
            return super().__call__(seen)

    with (
        Toy(Standing()) as toy,
        node(toy.host) as registry,
        pytest.raises(Failure, match="no further than 0 bytes"),
    ):
        registry.push_blob_chunked(NAME, piece("never", 1000), CHUNK_BYTES)
    assert len(waits) == MAX_STANDS
    assert toy.asked()[-1].startswith("PATCH")


def test_a_stream_goes_out_in_the_pieces_of_docker() -> None:
    session, blob = Session(), piece("stream", 100_000)
    with Toy(session) as toy, node(toy.host) as registry:
        registry.push_blob_streamed(NAME, blob)
    (patch,) = [seen for seen in toy.seen if seen.method == "PATCH"]
    assert patch.headers["transfer-encoding"] == "chunked"
    assert "content-length" not in patch.headers
    assert "content-range" not in patch.headers
    assert session.content == blob.content


def test_a_registry_that_stored_something_else_is_told() -> None:
    class Wrong(Session):
        def __call__(self, seen: Seen) -> Reply:
            self.content += b"x" if seen.method == "PUT" else b""
            return super().__call__(seen)

    with Toy(Wrong()) as toy, node(toy.host) as registry, pytest.raises(DigestMismatch):
        registry.push_blob_streamed(NAME, piece("stored", 1000))


def test_an_upload_that_is_refused_is_a_failure() -> None:
    log = Log()
    with (
        Toy(lambda _: Reply(405)) as toy,
        node(toy.host, observe=log) as registry,
        pytest.raises(Refused) as raised,
    ):
        registry.push_blob_whole(NAME, piece("refused", 10))
    assert log.entries == [("POST upload", 0, raised.value)]


@pytest.mark.live
def test_a_manifest_that_was_pushed_is_listed(host: str) -> None:
    config = piece("config", 100)
    entry = {"digest": config.digest, "size": config.size}
    kind = "application/vnd.oci.image.manifest.v1+json"
    config_type = {"mediaType": "application/vnd.oci.image.config.v1+json"}
    content = json.dumps(
        {"schemaVersion": 2, "mediaType": kind, "config": entry | config_type, "layers": []}
    ).encode()
    with node(host) as registry:
        registry.push_blob_whole("listed", config)
        digest = registry.push_manifest("listed", "v1", kind, content)
        assert registry.head_manifest("listed", "v1")
        assert registry.manifest("listed", digest).media_type == kind
        assert registry.tags("listed") == ["v1"]
        assert "listed" in registry.catalog(page_size=1)
        assert not registry.head_blob("listed", piece("absent").digest)
