"""The cache before a storage account: what is fetched is fetched once, and kept, and right."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.faulty.cloud import Cloud
from tests.live.caches import NAME, cached_file, fetched, put
from tests.live.client import noise
from tests.live.conftest import StartNode
from tests.live.downloads import Download
from tests.live.processes import wait_until

pytestmark = pytest.mark.live

MIB = 1 << 20


def test_a_swarm_fetches_a_cold_blob_once(start_node: StartNode, cloud: Cloud) -> None:
    content = noise("swarm", 12 * MIB)
    [digest] = put(cloud, content)
    client = start_node().client()
    with ThreadPoolExecutor(40) as threads:
        answers = list(threads.map(lambda _: client.blob(NAME, digest), range(40)))
    assert all(answer.expect(200).body == content for answer in answers)
    assert fetched(cloud, digest) <= 1.1 * len(content)


def test_what_is_cached_is_kept_over_a_restart(
    start_node: StartNode, cloud: Cloud, workdir: Path
) -> None:
    content = noise("kept", 9 * MIB)
    [digest] = put(cloud, content)
    first = start_node()
    assert first.client().blob(NAME, digest).expect(200).body == content
    wait_until(lambda: cached_file(workdir / "cache", digest).exists(), "the blob is kept")
    first.stop()
    before = fetched(cloud, digest)
    again = start_node().client()
    assert again.blob(NAME, digest).expect(200).body == content
    assert fetched(cloud, digest) == before <= 1.1 * len(content)


def test_a_fill_goes_on_when_its_reader_leaves(
    start_node: StartNode, cloud: Cloud, workdir: Path
) -> None:
    content = noise("left", 20 * MIB)
    [digest] = put(cloud, content)
    registry = start_node()
    reader = Download(registry.client(), NAME, digest)
    reader.read(1000)
    reader.leave()
    wait_until(lambda: cached_file(workdir / "cache", digest).exists(), "the blob is kept")
    assert fetched(cloud, digest) <= 1.1 * len(content)
    assert registry.client().blob(NAME, digest).body == content
