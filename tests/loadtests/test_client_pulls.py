"""A node of the load tests pulls an image in the steps of a Docker host."""

from __future__ import annotations

import threading
from collections.abc import Mapping

import pytest

from loadtests.bench.content import ACCEPT
from loadtests.client.failures import DigestMismatch, Failure, Refused
from loadtests.client.pulls import pull_image
from loadtests.client.verify import digest_of
from tests.loadtests.client_toy import (
    INDEX_TYPE,
    MANIFEST_TYPE,
    Log,
    Piece,
    Reply,
    Seen,
    Toy,
    index_of,
    manifest_of,
    node,
)

NAME, PLATFORM = "a/b", "linux/amd64"
CONFIG = Piece(b'{"architecture": "amd64"}')
LAYERS = [Piece(bytes([number]) * 1000 * number) for number in range(1, 8)]
MANIFEST = manifest_of(CONFIG, *LAYERS)
OTHER = manifest_of(CONFIG, LAYERS[0])
INDEX = index_of(arm64=OTHER, amd64=MANIFEST)
SIZE = len(INDEX) + len(MANIFEST) + CONFIG.size + sum(layer.size for layer in LAYERS)


def served(*blobs: Piece) -> Mapping[str, Reply]:
    """Return the answers of a registry that has the image."""
    return {
        "/v2/": Reply(200, b"{}"),
        f"/v2/{NAME}/manifests/latest": Reply(200, INDEX, {"Content-Type": INDEX_TYPE}),
        **{
            f"/v2/{NAME}/manifests/{digest_of(content)}": Reply(
                200, content, {"Content-Type": MANIFEST_TYPE}
            )
            for content in (MANIFEST, OTHER)
        },
        f"/v2/{NAME}/manifests/alone": Reply(200, MANIFEST, {"Content-Type": MANIFEST_TYPE}),
        **{f"/v2/{NAME}/blobs/{blob.digest}": Reply(200, blob.content) for blob in blobs},
    }


ALL = served(CONFIG, *LAYERS)


def answer(seen: Seen) -> Reply:
    return ALL.get(seen.target, Reply(404))


def test_an_image_is_pulled_from_its_index_down_to_its_layers() -> None:
    log, held = Log(), set[str]()
    with Toy(answer) as toy, node(toy.host, observe=log) as registry:
        pulled = pull_image(registry, NAME, "latest", PLATFORM, held)
    assert (pulled.digest, pulled.blobs, pulled.size) == (digest_of(MANIFEST), 8, SIZE)
    assert toy.asked()[:4] == [
        "GET /v2/",
        f"GET /v2/{NAME}/manifests/latest",
        f"GET /v2/{NAME}/manifests/{digest_of(MANIFEST)}",
        f"GET /v2/{NAME}/blobs/{CONFIG.digest}",
    ]
    layers = {f"GET /v2/{NAME}/blobs/{layer.digest}" for layer in LAYERS}
    assert set(toy.asked()[4:]) == layers
    assert len(toy.seen) == 4 + len(LAYERS)
    assert held == {blob.digest for blob in (CONFIG, *LAYERS)}
    assert log.names == ["GET ping", "GET manifest", "GET manifest", *["GET blob"] * 8]
    assert sum(size for _, size, _ in log.entries) == SIZE + len(b"{}")
    assert [seen.headers.get("accept") for seen in toy.seen[:4]] == [None, ACCEPT, ACCEPT, None]


def test_what_a_node_holds_is_not_pulled_again() -> None:
    held = {CONFIG.digest, *(layer.digest for layer in LAYERS[1:])}
    with Toy(answer) as toy, node(toy.host) as registry:
        first = pull_image(registry, NAME, "latest", PLATFORM, held)
        again = pull_image(registry, NAME, "latest", PLATFORM, held)
    blobs = [line for line in toy.asked() if "/blobs/" in line]
    assert blobs == [f"GET /v2/{NAME}/blobs/{LAYERS[0].digest}"]
    assert (first.blobs, again.blobs) == (1, 0)
    assert again.size == len(INDEX) + len(MANIFEST)


def test_a_tag_may_be_a_manifest_itself() -> None:
    with Toy(answer) as toy, node(toy.host) as registry:
        pulled = pull_image(registry, NAME, "alone", PLATFORM, set())
    assert pulled.digest == digest_of(MANIFEST)
    assert pulled.size == SIZE - len(INDEX)
    assert len([line for line in toy.asked() if "/manifests/" in line]) == 1


def test_another_platform_has_another_manifest() -> None:
    with Toy(answer) as toy, node(toy.host) as registry:
        pulled = pull_image(registry, NAME, "latest", "linux/arm64", set())
        assert (pulled.digest, pulled.blobs) == (digest_of(OTHER), 2)
        with pytest.raises(Failure, match="linux/s390x"):
            pull_image(registry, NAME, "latest", "linux/s390x", set())


@pytest.mark.parametrize("at_once", [1, 3])
def test_so_many_layers_come_at_once_and_no_more(at_once: int) -> None:
    under_way, most, lock = 0, 0, threading.Lock()
    together = threading.Barrier(at_once)

    def answer_together(seen: Seen) -> Reply:
        nonlocal under_way, most
        if not any(layer.digest in seen.target for layer in LAYERS[:6]):
            return answer(seen)
        with lock:
            under_way += 1
            most = max(most, under_way)
        together.wait(30)
        with lock:
            under_way -= 1
        return answer(seen)

    held = {LAYERS[6].digest}
    with Toy(answer_together) as toy, node(toy.host) as registry:
        pulled = pull_image(registry, NAME, "latest", PLATFORM, held, at_once)
    assert (pulled.blobs, most, toy.connections) == (7, at_once, at_once)


def test_after_a_failure_no_further_layer_is_begun() -> None:
    def lose_the_second(seen: Seen) -> Reply:
        return Reply(404) if LAYERS[1].digest in seen.target else answer(seen)

    held, log = set[str](), Log()
    with (
        Toy(lose_the_second) as toy,
        node(toy.host, observe=log) as registry,
        pytest.raises(Refused) as raised,
    ):
        pull_image(registry, NAME, "latest", PLATFORM, held, at_once=1)
    assert held == {CONFIG.digest, LAYERS[0].digest}
    assert len(toy.seen) <= 4 + 3
    assert [error for _, _, error in log.entries if error] == [raised.value]


def test_a_layer_with_a_wrong_byte_fails_the_pull_and_is_not_held() -> None:
    def change(seen: Seen) -> Reply:
        if LAYERS[3].digest in seen.target:
            return Reply(200, b"x" + LAYERS[3].content[1:])
        return answer(seen)

    held = set[str]()
    with Toy(change) as toy, node(toy.host) as registry, pytest.raises(DigestMismatch):
        pull_image(registry, NAME, "latest", PLATFORM, held)
    assert LAYERS[3].digest not in held


def test_a_mismatch_is_told_though_another_layer_failed_first() -> None:
    both_asked, has_failed = threading.Event(), threading.Event()

    def fail_two(seen: Seen) -> Reply:
        if LAYERS[0].digest in seen.target:
            both_asked.wait(30)
            has_failed.set()
            return Reply(404)
        if LAYERS[1].digest in seen.target:
            both_asked.set()
            has_failed.wait(30)
            return Reply(200, b"x" + LAYERS[1].content[1:])
        return answer(seen)

    with Toy(fail_two) as toy, node(toy.host) as registry, pytest.raises(DigestMismatch) as raised:
        pull_image(registry, NAME, "latest", PLATFORM, set())
    assert LAYERS[1].digest in str(raised.value)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[]",
        b"{}",
        b'{"config": {}, "layers": []}',
        b'{"manifests": 1}',
        b'{"manifests": [{"platform": "any"}]}',
        b'{"manifests": [{"platform": {"os": "linux", "architecture": "amd64"}}]}',
    ],
)
def test_what_is_no_manifest_is_told(content: bytes) -> None:
    with (
        Toy(lambda _: Reply(200, content)) as toy,
        node(toy.host) as registry,
        pytest.raises(Failure, match=r"not JSON|neither|not an image|not an index"),
    ):
        pull_image(registry, NAME, "latest", PLATFORM, set())
