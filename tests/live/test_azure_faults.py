"""Pushes and pulls while the storage account has a bad day: nothing lost, doubled or torn."""

import os
import random
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.faulty import faults
from tests.faulty.cloud import Cloud
from tests.live import patient
from tests.live.client import Client, config_of, digest_of, manifest_of, noise
from tests.live.conftest import StartNode
from tests.live.processes import Registry

pytestmark = pytest.mark.live

SEED = os.environ.get("FASTREG_TEST_SEED", "1")
MIB = 1 << 20
SIZES = [2, 300_000, 5 * MIB]
CLIENTS = 3

BAD_DAY = [
    faults.refuse(503),
    faults.refuse(500, "InternalError"),
    faults.gateway,
    faults.reset,
    faults.lose(500),
    faults.lose(None),
    faults.twice,
    faults.slow(0.001),
    faults.cut_at(0),
    faults.cut_at(100_000),
]


def push(client: Client, name: str, content: bytes, dice: random.Random) -> None:
    ways: list[Callable[[], None]] = [
        lambda: patient.push_whole(client, name, content),
        lambda: patient.push_chunked(client, name, content),
        lambda: patient.push_in_parts(client, name, content, 2 * MIB + 11),
    ]
    dice.choice(ways)()


def push_images(registry: Registry, number: int) -> dict[str, bytes]:
    """Push an image of each size, some of them the same as other clients'."""
    dice = random.Random(f"{SEED} {number}")
    client, name = registry.client(), f"faults/{number % 2}"
    pushed = {}
    for size in dice.sample(SIZES, len(SIZES)):
        layer = noise(f"{SEED} {number // 2}", size)
        config = config_of(layer)
        for content in (layer, config):
            push(client, name, content, dice)
            patient.pull(client, name, digest_of(content))
        manifest = manifest_of(config, layer)
        patient.put_manifest(client, name, f"tag-{number}-{size}", manifest)
        pushed[f"{name}:tag-{number}-{size}"] = manifest
    return pushed


def assert_whole(client: Client, pushed: dict[str, bytes]) -> None:
    for reference, manifest in pushed.items():
        name, _, tag = reference.partition(":")
        assert client.manifest(name, tag).expect(200).body == manifest
        client.pull_image(name, tag)


@pytest.mark.parametrize("is_cached", [True, False])
def test_what_was_pushed_on_a_bad_day_is_there_and_whole(
    start_node: StartNode, cloud: Cloud, is_cached: bool
) -> None:
    registry = start_node(cache=is_cached)
    cloud.proxy.choose(faults.at_random(SEED, BAD_DAY, 0.15))
    with ThreadPoolExecutor(CLIENTS) as threads:
        results = list(threads.map(lambda number: push_images(registry, number), range(CLIENTS)))
    pushed = {reference: manifest for result in results for reference, manifest in result.items()}
    assert sum(seen.status != 201 for seen in cloud.proxy.requests("put")) > 0, f"seed {SEED}"
    cloud.proxy.heal()
    assert_whole(registry.client(), pushed)
    registry.stop()
    assert_whole(start_node(cache=is_cached, path="another cache").client(), pushed)
    assert len(cloud.digests()) >= len(pushed)
    links = [key for key in cloud.keys if key.endswith("/link")]
    assert all(len(cloud.read(key)) == len(digest_of(b"")) for key in links)


def test_what_is_pulled_on_a_bad_day_is_whole(start_node: StartNode, cloud: Cloud) -> None:
    layer = noise(SEED, 20 * MIB)
    writer = start_node()
    writer.client().push_image("app", "latest", layer)
    reader = start_node(path="another cache")
    cloud.proxy.choose(faults.at_random(SEED, BAD_DAY, 0.3))
    with ThreadPoolExecutor(10) as threads:
        pulls = [
            threads.submit(patient.pull, reader.client(), "app", digest_of(layer))
            for _ in range(10)
        ]
        for pull in pulls:
            pull.result()
    fetched = cloud.proxy.fetched_bytes(f"{digest_of(layer)[7:]}/data")
    assert fetched <= 2 * len(layer), "what was cut was fetched again from where it was cut"
