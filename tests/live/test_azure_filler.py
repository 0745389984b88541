"""The worker that fetches a blob dies: who waits for it goes on, and so does the fetching."""

import os
import signal
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.faulty import faults
from tests.faulty.cloud import Cloud
from tests.live.caches import NAME, Dam, blob_key, cached_file, fetched, partial_file, put
from tests.live.client import Client, noise
from tests.live.conftest import StartNode
from tests.live.downloads import Download
from tests.live.processes import Registry, wait_until

pytestmark = pytest.mark.live

MIB = 1 << 20
SIZE = 24 * MIB
READERS = 40


def connected(registry: Registry, count: int) -> list[tuple[Client, int]]:
    """Connections that are kept, each with the worker that has it."""
    clients = [registry.client(keep=True) for _ in range(count)]
    for client in clients:
        client.get("/v2/").expect(200)
    return [(client, registry.worker_of(client.port)) for client in clients]


def test_readers_of_another_worker_go_on_when_the_filler_is_killed(
    start_node: StartNode, cloud: Cloud, workdir: Path
) -> None:
    content = noise("killed", SIZE)
    [digest] = put(cloud, content)
    registry = start_node()
    registry.wait_for_workers()
    dam = Dam(cloud, digest)
    (first, filler), *others = connected(registry, READERS)
    downloads = [Download(first, NAME, digest, connection=first.connection)]
    downloads[0].read(1000)
    downloads += [Download(c, NAME, digest, connection=c.connection) for c, _ in others]
    assert all(each.read(1000) for each in downloads)
    stood = dam.wait_until_reached(partial_file(workdir / "cache", digest))
    before = cloud.proxy.count("get", blob_key(digest))
    os.kill(filler, signal.SIGKILL)
    dam.open()
    surviving = [
        d for d, (_, worker) in zip(downloads[1:], others, strict=True) if worker != filler
    ]
    assert surviving, "all connections went to one worker"
    with ThreadPoolExecutor(READERS) as threads:
        assert all(threads.map(lambda each: each.rest() == content, surviving))
    later = cloud.proxy.requests("get", blob_key(digest))[before:]
    assert min(seen.start for seen in later) == stood
    assert sum(seen.sent_bytes for seen in later) <= 1.1 * (SIZE - stood)
    for each in downloads:
        each.leave()


def test_a_fill_goes_on_after_a_restart_where_it_was_killed(
    start_node: StartNode, cloud: Cloud, workdir: Path
) -> None:
    content = noise("restart", SIZE)
    [digest] = put(cloud, content)
    registry = start_node()
    dam = Dam(cloud, digest)
    download = Download(registry.client(), NAME, digest)
    download.read(1000)
    stood = dam.wait_until_reached(partial_file(workdir / "cache", digest))
    registry.kill()
    before = cloud.proxy.count("get", blob_key(digest))
    dam.open()
    registry.start()
    assert registry.client().blob(NAME, digest).expect(200).body == content
    later = cloud.proxy.requests("get", blob_key(digest))[before:]
    assert min(seen.start for seen in later) == stood
    wait_until(cached_file(workdir / "cache", digest).exists, "the blob is kept")
    download.leave()


def test_a_range_far_ahead_of_the_fill_is_not_kept_waiting(
    start_node: StartNode, cloud: Cloud, workdir: Path
) -> None:
    content = noise("ahead", SIZE)
    [digest] = put(cloud, content)
    registry = start_node()
    gate = threading.Event()
    cloud.proxy.choose(
        lambda seen: (
            faults.held(gate) if seen.kind == "get" and 8 * MIB <= seen.start < 20 * MIB else None
        )
    )
    filling = Download(registry.client(), NAME, digest)
    filling.read(1000)
    ahead = Download(registry.client(), NAME, digest, span=f"bytes={22 * MIB}-{23 * MIB - 1}")
    assert ahead.rest() == content[22 * MIB : 23 * MIB]
    gate.set()
    assert filling.rest() == content
    assert fetched(cloud, digest) <= len(content) + 6 * MIB
