"""kill -9 in the middle of everything: what was acknowledged is there, and whole."""

import os
import random
import signal
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest

from tests.live.client import digest_of
from tests.live.conftest import Start
from tests.live.processes import Registry, wait_until
from tests.live.pushing import Pusher

pytestmark = pytest.mark.live

ROUNDS = 6
NAMES = ("kill/one", "kill/one", "kill/two", "kill/three")


def pushers(registry: Registry) -> list[Pusher]:
    return [
        Pusher(registry.client(), name, f"tag-{number}", seed=number)
        for number, name in enumerate(NAMES)
    ]


@contextmanager
def pushing(all_of_them: Sequence[Pusher], *, goes_on: bool = False) -> Iterator[None]:
    """Push from as many threads for the length of a `with` block."""
    stop = threading.Event()
    with ThreadPoolExecutor(len(all_of_them)) as threads:
        runs = [
            threads.submit(each.push_until_it_dies, stop, goes_on=goes_on) for each in all_of_them
        ]
        try:
            yield
        finally:
            stop.set()
    for run in runs:
        run.result()


def assert_every_tag_resolves(registry: Registry) -> None:
    client = registry.client()
    for name in {*NAMES}:
        answer = client.get(f"/v2/{name}/tags/list")
        if answer.status == 404:
            continue  # nothing was acknowledged there yet
        for tag in answer.json()["tags"]:
            manifest = client.manifest(name, tag).expect(200)
            assert digest_of(manifest.body) == manifest.headers["docker-content-digest"]
            layers = manifest.json()["layers"]
            assert all(client.has_blob(name, layer["digest"]) for layer in layers)


def test_what_was_acknowledged_survives_killing_every_process(start: Start) -> None:
    registry = start()
    clients = pushers(registry)
    moments = random.Random("kill")
    acknowledged = 0
    for _ in range(ROUNDS):
        with pushing(clients):
            time.sleep(moments.uniform(0.2, 0.8))
            registry.kill()
        acknowledged += sum(len(each.blobs) + len(each.manifests) for each in clients)
        registry.start()
        for each in clients:
            each.check()
        assert_every_tag_resolves(registry)
    assert acknowledged > 10 * ROUNDS
    assert all(each.last_move > 0 for each in clients)


def test_a_killed_worker_is_replaced_and_loses_nothing_that_was_acknowledged(
    start: Start,
) -> None:
    registry = start()
    clients = pushers(registry)
    victim = registry.wait_for_workers()[0]
    with pushing(clients, goes_on=True):
        time.sleep(0.4)
        os.kill(victim, signal.SIGKILL)
        wait_until(lambda: len(set(registry.workers()) - {victim}) == 2, "a new worker came")
        time.sleep(0.3)
    for each in clients:
        each.check()
    assert_every_tag_resolves(registry)
    with registry.client_of_each_worker() as of_each:
        assert len(of_each) == 2
