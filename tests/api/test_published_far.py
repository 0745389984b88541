"""Answers from a far store that may be given again: beside which counters, and until when."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fastreg.api.app import App
from fastreg.api.call import Settings
from fastreg.registry.registry import Registry
from fastreg.storage import memory
from fastreg.storage.base import Driver, run_inline
from fastreg.storage.generations import Generations
from tests.api.client import Client, digest_of, make_environ
from tests.api.samples import CONFIG, CONTENT, DIGEST, LAYER, MANIFEST, url_of
from tests.api.test_published import BLOB_URL, NOT_PUBLISHED, OTHER, PUBLISHED
from tests.server.lanes import cached
from tests.storage.fileless import FilelessDriver

REVALIDATE_S = 5.0
OTHER_DIGEST = digest_of(OTHER)


class Clock:
    now_s = 1000.0

    def monotonic(self) -> float:
        return self.now_s


class Node:
    """A worker of a machine, over the store."""

    def __init__(
        self,
        far: Driver,
        cache: Path,
        revalidate_s: float = REVALIDATE_S,
        generations: Generations | None = None,
    ) -> None:
        """With `generations`, another worker of the machine that has them."""
        self.generations = generations or Generations()
        driver = cached(far, cache, self.generations, revalidate_s)
        self.app = App(Registry(driver), Settings(delete_enabled=True))
        self.client = Client(self.app)

    def ask(self, method: str, url: str, headers: dict[str, str] | None = None) -> Any:
        """Return the status, the whole body and what the application returned."""
        status, _, body, result = self._ask(method, url, headers or {})
        return status, body, result

    def look(self, method: str, url: str) -> tuple[tuple[int, str | None], Any]:
        """Return the status and the digest, and what the application returned."""
        status, said, _, result = self._ask(method, url, {})
        return (status, said.get("Docker-Content-Digest")), result

    def _ask(self, method: str, url: str, headers: dict[str, str]) -> Any:
        said: list[Any] = []
        environ = make_environ(method, url, headers=headers)
        result: Any = self.app(environ, lambda *head: said.extend(head))
        body = b"".join(result)
        result.close()
        return int(said[0][:3]), dict(said[1]), body, result

    def holds(self, result: Any, now_s: float) -> bool:
        """Whether a server may give the answer again."""
        return (
            result.witnesses is not None
            and now_s < result.until
            and all(self.generations.memory[at] == value for at, value, _ in result.witnesses)
        )


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(memory, "time", clock)
    return clock


@pytest.fixture
def far(root: Path) -> Driver:
    return FilelessDriver(root, run_inline)


@pytest.fixture
def node(far: Driver, tmp_path: Path, clock: Clock) -> Node:
    node = Node(far, tmp_path / "cache")
    for blob in (CONFIG, LAYER):
        node.client.push_blob(blob)
    node.client.push_manifest(MANIFEST, "v1")
    return node


@pytest.mark.parametrize(("method", "url", "headers", "status", "body", "keys"), PUBLISHED)
def test_an_answer_that_lasts_names_the_counter_of_all_that_it_was_made_of(
    node: Node,
    clock: Clock,
    method: str,
    url: str,
    headers: dict[str, str],
    status: str,
    body: bytes,
    keys: list[str],
) -> None:
    for _ in range(2):
        found, received, result = node.ask(method, url, headers)
        assert (found, received) == (int(status), body)
        assert [each[:2] for each in result.witnesses] == [node.generations.of(k) for k in keys]
        assert result.until == (1000 + REVALIDATE_S if keys else None)
        clock.now_s = 1001


@pytest.mark.parametrize(("method", "url", "headers", "status"), NOT_PUBLISHED)
def test_no_other_answer_may_be_given_again(
    node: Node, method: str, url: str, headers: dict[str, str], status: str
) -> None:
    found, _, result = node.ask(method, url, headers)
    assert found == int(status)
    assert result.witnesses is None


def test_what_is_not_in_the_cache_yet_is_not_all_there(node: Node) -> None:
    result: Any = node.app(make_environ("GET", BLOB_URL), lambda *said: None)
    assert result.files is None
    assert b"".join(result) == LAYER
    result.close()
    again: Any = node.app(make_environ("GET", BLOB_URL), lambda *said: None)
    ((fd, offset, length),) = again.files
    assert (fd > 2, offset, length) == (True, 0, len(LAYER))
    again.close()


@pytest.mark.parametrize("url", [url_of("v1"), url_of(DIGEST), BLOB_URL])
def test_without_time_no_answer_may_be_given_again(
    far: Driver, node: Node, tmp_path: Path, url: str
) -> None:
    always = Node(far, tmp_path / "other", revalidate_s=0)
    assert always.ask("GET", url)[0] == 200
    assert always.ask("GET", url)[2].witnesses is None


Change = Callable[[Client], object]

CHANGES: dict[str, tuple[str, Change]] = {
    "the tag moves": (url_of("v1"), lambda client: client.push_manifest(OTHER, "v1")),
    "the tag is deleted": (url_of("v1"), lambda client: client.delete(url_of("v1"))),
    "the tag's manifest is deleted": (url_of("v1"), lambda client: client.delete(url_of(DIGEST))),
    "the manifest is deleted": (url_of(DIGEST), lambda client: client.delete(url_of(DIGEST))),
    "the blob is deleted": (BLOB_URL, lambda client: client.delete(BLOB_URL)),
}


@pytest.mark.parametrize(("url", "change"), CHANGES.values(), ids=CHANGES)
def test_a_change_on_this_machine_ends_the_answer_at_once(
    node: Node, clock: Clock, url: str, change: Change
) -> None:
    _, before, result = node.ask("GET", url)
    assert node.holds(result, clock.now_s)
    change(node.client)
    assert not node.holds(result, clock.now_s)
    status, after, _ = node.ask("GET", url)
    assert (status, after) != (200, before)


@pytest.mark.parametrize(("url", "change"), CHANGES.values(), ids=CHANGES)
def test_a_change_on_another_machine_is_seen_in_time(
    far: Driver, node: Node, clock: Clock, tmp_path: Path, url: str, change: Change
) -> None:
    other = Node(far, tmp_path / "other")
    told = before = node.ask("GET", url)
    clock.now_s += 0.1
    change(other.client)
    changed, last_stale = clock.now_s, 0.0
    for _ in range(200):
        clock.now_s += 0.05
        if not node.holds(told[2], clock.now_s):
            told = node.ask("GET", url)
        if told[:2] == before[:2]:
            last_stale = clock.now_s
    assert changed < last_stale < changed + REVALIDATE_S
    assert told[:2] != before[:2]


@pytest.mark.parametrize(("url", "change"), CHANGES.values(), ids=CHANGES)
def test_nobody_on_a_machine_is_told_the_old_after_the_new(
    far: Driver, node: Node, clock: Clock, tmp_path: Path, url: str, change: Change
) -> None:
    workers = [node, Node(far, tmp_path / "cache", generations=node.generations)]
    ways = [(worker, method) for worker in workers for method in ("GET", "HEAD")]
    told = {}
    for way in ways:
        told[way] = way[0].look(way[1], url)
        clock.now_s += REVALIDATE_S / 8
    before, _ = told[ways[0]]
    change(Node(far, tmp_path / "other").client)
    seen = [False]
    for _ in range(100):
        clock.now_s += REVALIDATE_S / 50
        for way in ways:
            worker, method = way
            if not worker.holds(told[way][1], clock.now_s):
                told[way] = worker.look(method, url)
            seen.append(told[way][0] != before)
    assert seen == sorted(seen)
    assert seen[-1]


def test_a_push_on_another_machine_is_seen_at_once(far: Driver, node: Node, tmp_path: Path) -> None:
    other = Node(far, tmp_path / "other")
    urls = [url_of("new"), url_of(OTHER_DIGEST)]
    assert [other.ask("GET", url)[0] for url in urls] == [404, 404]
    node.client.push_manifest(OTHER, "new")
    assert [other.ask("GET", url)[:2] for url in urls] == [(200, OTHER)] * 2


def test_a_manifest_that_is_asked_for_anew_is_told_together(node: Node, clock: Clock) -> None:
    """All that it is made of is renewed at once, not one after the other at its end."""
    for _ in range(4):
        status, body, result = node.ask("GET", url_of("v1"))
        assert (status, body) == (200, CONTENT)
        assert {until for *_, until in result.witnesses} == {clock.now_s + REVALIDATE_S}
        clock.now_s += 3 / 4 * REVALIDATE_S
