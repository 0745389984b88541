"""The swarm: many clients at once, and many that only stay connected."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.live.client import Client, noise
from tests.live.processes import Registry

pytestmark = pytest.mark.live

NAME = "swarm/image"
PULLS = 200
IDLE = 500


def test_two_hundred_hosts_pull_an_image_at_the_same_time(registry: Registry) -> None:
    registry.client().push_image(NAME, "latest", noise("swarm", 20_000))
    clients = [registry.client(keep=True) for _ in range(PULLS)]
    with ThreadPoolExecutor(PULLS) as threads:
        pulls = [threads.submit(client.pull_image, NAME, "latest") for client in clients]
    for client in clients:
        client.close()
    assert [pull.exception() for pull in pulls] == [None] * PULLS


def test_five_hundred_idle_connections_leave_room_for_requests(registry: Registry) -> None:
    client = registry.client()
    client.push_image(NAME, "idle", b"a layer")
    idle: list[Client] = []
    try:
        for _ in range(IDLE):
            idle.append(registry.client(keep=True))
            idle[-1].get("/v2/").expect(200)
        for _ in range(20):
            client.pull_image(NAME, "idle")
        client.push_image(NAME, "more", b"another layer")
        ports = [each.port for each in idle]
        for each in idle:
            each.pull_image(NAME, "more")
        assert [each.port for each in idle] == ports
    finally:
        for each in idle:
            each.close()
