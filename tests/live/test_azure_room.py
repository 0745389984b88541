"""The cache's disk is small, full, read-only or gone: what is asked for is answered right."""

import contextlib
import shutil
from pathlib import Path

import pytest

from tests.clients.processes import run
from tests.faulty.cloud import Cloud
from tests.live.caches import NAME, cached_bytes, cached_file, fetched, put
from tests.live.client import Client, noise
from tests.live.conftest import StartNode
from tests.live.downloads import Download
from tests.live.processes import tmpfs, wait_until

pytestmark = pytest.mark.live

MIB = 1 << 20
SIZE = 3 * MIB
CONTENTS = [noise(f"room {number}", SIZE) for number in range(6)]


@pytest.fixture
def digests(cloud: Cloud) -> list[str]:
    return put(cloud, *CONTENTS)


def assert_right(client: Client, digests: list[str]) -> None:
    for digest, content in zip(digests, CONTENTS, strict=False):
        assert client.blob(NAME, digest).expect(200).body == content


def ask_until_kept(client: Client, cache: Path, digests: list[str], which: int) -> None:
    """Ask until there is room: what was asked for a moment ago is in use, and a failure is
    remembered for a moment."""

    def is_kept() -> bool:
        assert client.blob(NAME, digests[which]).expect(200).body == CONTENTS[which]
        return cached_file(cache, digests[which]).exists()

    wait_until(is_kept, "it is kept")


def test_a_cache_keeps_to_its_size_and_to_what_was_used_last(
    start_node: StartNode, cloud: Cloud, workdir: Path, digests: list[str]
) -> None:
    client = start_node({"storage.cache.maxsize": "10MiB"}).client()
    for _ in range(2):
        assert_right(client, digests)
        wait_until(lambda: cached_bytes(workdir / "cache") <= 10 * MIB, "there is room again")
    ask_until_kept(client, workdir / "cache", digests, -1)
    before = fetched(cloud, digests[-1])
    assert client.blob(NAME, digests[-1]).body == CONTENTS[-1]
    assert fetched(cloud, digests[-1]) == before


def test_a_blob_larger_than_the_cache_is_served_all_the_same(
    start_node: StartNode, workdir: Path, digests: list[str]
) -> None:
    registry = start_node({"storage.cache.maxsize": "2MiB"})
    for _ in range(2):
        assert_right(registry.client(), digests)
    assert cached_bytes(workdir / "cache") <= 2 * MIB


def test_what_is_being_read_is_not_taken_away(
    start_node: StartNode, workdir: Path, digests: list[str]
) -> None:
    registry = start_node({"storage.cache.maxsize": "7MiB"})
    downloads = [Download(registry.client(), NAME, digest) for digest in digests]
    assert all(each.read(1000) for each in downloads)
    for each, content in zip(downloads, CONTENTS, strict=True):
        assert each.rest() == content
    wait_until(lambda: cached_bytes(workdir / "cache") <= 7 * MIB, "there is room again")
    assert_right(registry.client(), digests)


def test_a_disk_too_small_for_the_cache_costs_nobody_an_answer(
    start_node: StartNode, workdir: Path, digests: list[str]
) -> None:
    with tmpfs(workdir / "cache", "size=7m"):
        registry = start_node({"storage.cache.maxsize": "1GiB"})
        for _ in range(2):
            assert_right(registry.client(), digests)
        (workdir / "cache" / "somebody's").write_bytes(bytes(200_000))
        assert_right(registry.client(), digests)
        registry.stop()


def test_a_disk_that_others_fill_costs_nobody_an_answer(
    start_node: StartNode, workdir: Path, digests: list[str]
) -> None:
    with tmpfs(workdir / "cache", "size=16m"):
        registry = start_node()
        assert_right(registry.client(), digests[:1])
        fill(workdir / "cache" / "somebody's")
        assert_right(registry.client(), digests)
        (workdir / "cache" / "somebody's").unlink()
        assert_right(registry.client(), digests)
        ask_until_kept(registry.client(), workdir / "cache", digests, 0)
        registry.stop()


def fill(path: Path) -> None:
    """Leave no room on the disk."""
    with path.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(bytes(64 << 10))


def test_a_cache_directory_that_is_removed_is_made_anew(
    start_node: StartNode, workdir: Path, digests: list[str]
) -> None:
    registry = start_node()
    assert_right(registry.client(), digests)
    for _ in range(3):
        shutil.rmtree(workdir / "cache")
        assert_right(registry.client(), digests)
        ask_until_kept(registry.client(), workdir / "cache", digests, 0)


def test_a_cache_that_became_read_only_still_serves(
    start_node: StartNode, cloud: Cloud, workdir: Path, digests: list[str]
) -> None:
    with tmpfs(workdir / "cache", "size=64m") as cache:
        registry = start_node()
        assert_right(registry.client(), digests[:3])
        ask_until_kept(registry.client(), cache, digests, 2)
        run("mount", "-o", "remount,ro", cache)
        before = fetched(cloud, digests[0])
        assert_right(registry.client(), digests)
        assert fetched(cloud, digests[0]) == before
        run("mount", "-o", "remount,rw", cache)
        assert_right(registry.client(), digests)
        ask_until_kept(registry.client(), cache, digests, 5)
        registry.stop()


def test_another_disk_mounted_over_the_cache_is_used_from_then_on(
    start_node: StartNode, workdir: Path, digests: list[str]
) -> None:
    registry = start_node()
    assert_right(registry.client(), digests)
    (workdir / "cache").rename(workdir / "old")
    with tmpfs(workdir / "cache", "size=64m") as cache:
        assert_right(registry.client(), digests)
        ask_until_kept(registry.client(), cache, digests, 0)
        registry.stop()


def test_a_cache_that_cannot_be_made_costs_nobody_an_answer(
    start_node: StartNode, workdir: Path, digests: list[str]
) -> None:
    registry = start_node()
    shutil.rmtree(workdir / "cache")
    (workdir / "cache").write_bytes(b"a file")
    for _ in range(2):
        assert_right(registry.client(), digests)
    lines = [line for line in registry.log().splitlines() if "cache" in line]
    assert len(lines) <= 10, "told, but not with every request"
    (workdir / "cache").unlink()
    assert_right(registry.client(), digests)
    ask_until_kept(registry.client(), workdir / "cache", digests, 0)
