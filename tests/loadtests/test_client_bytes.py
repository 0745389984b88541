"""The load tests' client believes no byte: what it says of answers that are wrong."""

from __future__ import annotations

import random
import threading

import pytest

from loadtests.client import verify
from loadtests.client.answers import BUFFER_BYTES, MAX_CONTENT_BYTES, TURN_BYTES
from loadtests.client.failures import (
    DigestMismatch,
    Disconnected,
    Failure,
    Refused,
    Truncated,
    WrongHeader,
    WrongLength,
)
from loadtests.client.verify import Verify, digest_of
from tests.loadtests.client_toy import Log, Piece, Reply, Seen, Toy, node

NAME = "a/b"
LAYER = Piece(random.Random("layer").randbytes(2 * TURN_BYTES + BUFFER_BYTES + 17))
FLIPPED = bytearray(LAYER.content)
FLIPPED[-100] ^= 1
BOTH = pytest.mark.parametrize("how", ["sha256", "xxh3"])


def named(digest: str) -> dict[str, str]:
    return {"Docker-Content-Digest": digest}


@pytest.fixture(autouse=True)
def _nobody_vouched(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verify, "_vouching", verify._Vouching())


@BOTH
@pytest.mark.parametrize("size", [0, 1, 8192, 8193, LAYER.size])
@pytest.mark.parametrize("is_chunked", [False, True])
def test_a_blob_of_any_size_is_received_whole(how: Verify, size: int, is_chunked: bool) -> None:
    piece, log = Piece(LAYER.content[:size]), Log()
    reply = Reply(200, piece.content, named(piece.digest), is_chunked=is_chunked)
    with Toy(lambda _: reply) as toy, node(toy.host, verify=how, observe=log) as registry:
        counts = [registry.pull_blob(NAME, piece.digest, size) for _ in range(3)]
        assert counts == [size] * 3
    assert log.entries == [("GET blob", size, None)] * 3
    assert toy.connections == 1


@BOTH
def test_a_byte_that_changed_is_a_mismatch(how: Verify) -> None:
    log = Log()
    with (
        Toy(lambda _: Reply(200, bytes(FLIPPED))) as toy,
        node(toy.host, verify=how, observe=log) as registry,
        pytest.raises(DigestMismatch) as raised,
    ):
        registry.pull_blob(NAME, LAYER.digest, LAYER.size)
    assert log.entries == [("GET blob", LAYER.size, raised.value)]


def test_a_byte_that_changes_later_is_a_mismatch_without_sha256(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    bodies = iter([LAYER.content, LAYER.content, bytes(FLIPPED)])
    with (
        Toy(lambda _: Reply(200, next(bodies))) as toy,
        node(toy.host, verify="xxh3") as registry,
    ):
        registry.pull_blob(NAME, LAYER.digest, LAYER.size)
        monkeypatch.delattr(verify, "hasher_of")
        assert registry.pull_blob(NAME, LAYER.digest, LAYER.size) == LAYER.size
        with pytest.raises(DigestMismatch, match="XXH3"):
            registry.pull_blob(NAME, LAYER.digest, LAYER.size)


def test_wrong_bytes_are_never_vouched_for() -> None:
    bodies = iter([bytes(FLIPPED), bytes(FLIPPED), LAYER.content])
    with (
        Toy(lambda _: Reply(200, next(bodies))) as toy,
        node(toy.host, verify="xxh3") as registry,
    ):
        for _ in range(2):
            with pytest.raises(DigestMismatch, match="by its digest"):
                registry.pull_blob(NAME, LAYER.digest, LAYER.size)
        assert registry.pull_blob(NAME, LAYER.digest, LAYER.size) == LAYER.size


def pulled(content: bytes) -> verify.Verifier:
    verifier = verify.Verifier(LAYER.digest, "xxh3")
    verifier.update(content)
    return verifier


def test_of_pulls_at_once_one_is_verified_by_sha256_for_all(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made: list[str] = []
    hasher_of = verify.hasher_of
    monkeypatch.setattr(
        verify, "hasher_of", lambda digest: made.append(digest) or hasher_of(digest)
    )
    first, second, third = (pulled(LAYER.content) for _ in range(3))
    second.finish()
    first.finish()
    third.finish()
    assert made == [LAYER.digest]


def test_wrong_bytes_that_ended_before_the_proof_are_a_mismatch_of_the_proof() -> None:
    first, second, third = pulled(LAYER.content), pulled(bytes(FLIPPED)), pulled(bytes(FLIPPED))
    second.finish()
    with pytest.raises(DigestMismatch, match="not all pulls"):
        first.finish()
    with pytest.raises(DigestMismatch, match="not all pulls"):
        third.finish()


def test_a_pull_that_is_cut_leaves_the_proof_to_the_next_one() -> None:
    with verify.Verifier(LAYER.digest, "xxh3"):
        pulled(bytes(FLIPPED)).finish()
    with pytest.raises(DigestMismatch, match="not all pulls"):
        pulled(LAYER.content).finish()


@pytest.mark.parametrize("kept", [0, 1, 8192, LAYER.size - 1])
def test_a_body_that_ends_early_is_truncated(kept: int) -> None:
    log = Log()
    reply = Reply(200, LAYER.content[:kept], length=LAYER.size, is_last=True)
    with (
        Toy(lambda _: reply) as toy,
        node(toy.host, observe=log) as registry,
        pytest.raises(Truncated) as raised,
    ):
        registry.pull_blob(NAME, LAYER.digest, LAYER.size)
    assert log.entries == [("GET blob", kept, raised.value)]


@pytest.mark.parametrize("by", [-1, 1])
def test_a_length_other_than_the_descriptors_is_told_before_the_body_comes(by: int) -> None:
    log = Log()
    with (
        Toy(lambda _: Reply(200, LAYER.content)) as toy,
        node(toy.host, observe=log) as registry,
        pytest.raises(WrongLength) as raised,
    ):
        registry.pull_blob(NAME, LAYER.digest, LAYER.size + by)
    assert log.entries == [("GET blob", 0, raised.value)]
    assert LAYER.digest in str(raised.value)


@pytest.mark.parametrize(("by", "failure"), [(-1, WrongLength), (1, Truncated)])
def test_a_body_in_chunks_must_have_the_descriptors_length(by: int, failure: type[Failure]) -> None:
    with (
        Toy(lambda _: Reply(200, LAYER.content, is_chunked=True)) as toy,
        node(toy.host) as registry,
        pytest.raises(failure),
    ):
        registry.pull_blob(NAME, LAYER.digest, LAYER.size + by)


def test_a_body_whose_chunks_do_not_end_is_truncated() -> None:
    reply = Reply(200, b"5\r\nab", {"Transfer-Encoding": "chunked"}, is_last=True)
    with Toy(lambda _: reply) as toy, node(toy.host) as registry, pytest.raises(Truncated):
        registry.pull_blob(NAME, LAYER.digest, LAYER.size)


def test_another_digest_in_the_head_of_a_blob_is_a_wrong_header() -> None:
    reply = Reply(200, LAYER.content, named(digest_of(b"another")))
    with Toy(lambda _: reply) as toy, node(toy.host) as registry:
        with pytest.raises(WrongHeader):
            registry.head_blob(NAME, LAYER.digest)
        with pytest.raises(WrongHeader):
            registry.pull_blob(NAME, LAYER.digest, LAYER.size)


def test_a_manifest_by_tag_must_have_the_digest_that_its_head_names() -> None:
    content = b'{"schemaVersion": 2}'
    replies = iter([Reply(200, content, named(digest_of(c))) for c in (content, b"another")])
    with Toy(lambda _: next(replies)) as toy, node(toy.host) as registry:
        fetched = registry.manifest(NAME, "latest")
        assert (fetched.content, fetched.digest) == (content, digest_of(content))
        with pytest.raises(DigestMismatch):
            registry.manifest(NAME, "latest")


def test_a_manifest_by_digest_must_have_it_in_its_bytes_and_in_its_head() -> None:
    content, other = b'{"schemaVersion": 2}', b'{"schemaVersion": 1}'
    replies = iter([Reply(200, other), Reply(200, content, named(digest_of(other)))])
    with Toy(lambda _: next(replies)) as toy, node(toy.host) as registry:
        with pytest.raises(DigestMismatch):
            registry.manifest(NAME, digest_of(content))
        with pytest.raises(WrongHeader):
            registry.manifest(NAME, digest_of(content))


def test_a_manifest_that_ends_early_is_truncated() -> None:
    reply = Reply(200, b"{", length=2, is_last=True)
    with Toy(lambda _: reply) as toy, node(toy.host) as registry, pytest.raises(Truncated):
        registry.manifest(NAME, "latest")


def test_a_manifest_is_not_received_without_end() -> None:
    reply = Reply(200, bytes(MAX_CONTENT_BYTES + 1))
    with Toy(lambda _: reply) as toy, node(toy.host) as registry, pytest.raises(WrongLength):
        registry.manifest(NAME, "latest")


def test_a_refusal_names_the_request_the_status_and_the_code() -> None:
    log = Log()
    reply = Reply(404, b'{"errors": [{"code": "BLOB_UNKNOWN"}]}')
    with (
        Toy(lambda _: reply) as toy,
        node(toy.host, observe=log) as registry,
        pytest.raises(Refused) as raised,
    ):
        registry.pull_blob(NAME, LAYER.digest, LAYER.size)
    asked = f"/v2/{NAME}/blobs/{LAYER.digest}"
    assert str(raised.value) == f"GET blob of {asked} was answered 404 BLOB_UNKNOWN"
    assert raised.value.kind == "GET blob was answered 404 BLOB_UNKNOWN"
    assert [error for _, _, error in log.entries] == [raised.value]


def test_what_is_missing_is_no_failure_of_a_head() -> None:
    log = Log()
    with Toy(lambda _: Reply(404)) as toy, node(toy.host, observe=log) as registry:
        assert not registry.head_blob(NAME, LAYER.digest)
        assert not registry.head_manifest(NAME, "latest")
    assert log.entries == [("HEAD blob", 0, None), ("HEAD manifest", 0, None)]


def test_a_node_goes_on_after_a_failure() -> None:
    replies = iter([Reply(200, LAYER.content, length=LAYER.size + 1), Reply(200, LAYER.content)])
    with Toy(lambda _: next(replies)) as toy, node(toy.host) as registry:
        with pytest.raises(WrongLength):
            registry.pull_blob(NAME, LAYER.digest, LAYER.size)
        assert registry.pull_blob(NAME, LAYER.digest, LAYER.size) == LAYER.size


@pytest.mark.parametrize("is_kept", [False, True])
def test_closing_ends_what_is_under_way(is_kept: bool) -> None:
    begun, go_on = threading.Event(), threading.Event()

    def stand_still(seen: Seen) -> Reply:
        if seen.target == "/v2/":
            return Reply(200)
        begun.set()
        go_on.wait(30)
        return Reply(200, LAYER.content)

    failures: list[Exception] = []
    with Toy(stand_still) as toy, node(toy.host) as registry:
        if is_kept:
            registry.ping()

        def pull() -> None:
            try:
                registry.pull_blob(NAME, LAYER.digest, LAYER.size)
            except Failure as error:
                failures.append(error)

        thread = threading.Thread(target=pull)
        thread.start()
        assert begun.wait(30)
        registry.close()
        thread.join(30)
        go_on.set()
    assert [type(failure) for failure in failures] == [Disconnected]
    assert toy.connections == 1
