"""No stale answer of a far store: a change through one worker is seen by all at once, and one
made elsewhere in time.

Answers hold for a minute here: whatever is seen before is seen because it was told of.
"""

import random
import time

import pytest

from fastreg.registry import paths
from tests.faulty.cloud import Cloud
from tests.live.client import config_of
from tests.live.conftest import StartNode
from tests.live.processes import Registry
from tests.live.test_lane_stale import (
    DIGESTS,
    LAYER,
    LAYER_DIGEST,
    MANIFESTS,
    NAME,
    SETTINGS,
    TAG,
    Watched,
    asking,
    look,
)

pytestmark = pytest.mark.live

REVALIDATE_S = 0.5


def stock(registry: Registry) -> Registry:
    client = registry.client()
    for blob in (config_of(LAYER), LAYER):
        client.push_whole(NAME, blob)
    for manifest in MANIFESTS:
        client.put_manifest(NAME, TAG, manifest).expect(201)
    return registry


def test_a_change_through_one_worker_is_seen_by_all_at_once(start_node: StartNode) -> None:
    registry = stock(start_node(SETTINGS | {"storage.cache.revalidate": "60s"}))
    tag = Watched(f"/v2/{NAME}/manifests/{TAG}", [DIGESTS[-1]])
    blob = Watched(f"/v2/{NAME}/blobs/{LAYER_DIGEST}", [LAYER_DIGEST])
    chance = random.Random(11)
    with asking(registry, tag) as clients, asking(registry, blob):
        for number in range(30):
            client, other = clients[number % 2], clients[1 - number % 2]
            change = chance.choice(["push", "push", "delete", "blob"])
            if change == "push":
                which = chance.randrange(len(MANIFESTS))
                with tag.changing(DIGESTS[which]):
                    client.put_manifest(NAME, TAG, MANIFESTS[which]).expect(201)
            elif change == "delete" and tag.states[-1] is not None:
                with tag.changing(None):
                    client.request("DELETE", tag.target).expect(202)
            elif change == "blob":
                with blob.changing(None):
                    client.request("DELETE", blob.target).expect(202)
                blob.check_all([client, other])
                with blob.changing(LAYER_DIGEST):
                    other.push_whole(NAME, LAYER)
            tag.check_all([client, other])
            blob.check_all([client, other])
    assert tag.failures == blob.failures == []
    assert len(tag.states) > 10
    assert len(blob.states) > 5


def test_a_change_made_elsewhere_is_seen_in_time_and_for_good(
    start_node: StartNode, cloud: Cloud
) -> None:
    settings = SETTINGS | {"storage.cache.revalidate": f"{REVALIDATE_S * 1000:.0f}ms"}
    registry = stock(start_node(settings))
    link = cloud.container.get_blob_client(paths.tag_current(NAME, TAG))
    watched = Watched(f"/v2/{NAME}/manifests/{TAG}", [DIGESTS[-1]])
    with asking(registry, watched) as clients:
        for number in range(6):
            with watched.changing(DIGESTS[number % 3]):
                link.upload_blob(DIGESTS[number % 3].encode(), overwrite=True)
                time.sleep(REVALIDATE_S)
            watched.check_all(clients)
        with watched.changing(None):
            link.delete_blob()
            time.sleep(REVALIDATE_S)
        watched.check_all(clients)
        assert [look(client, "HEAD", watched.target) for client in clients] == [None, None]
    assert watched.failures == []
