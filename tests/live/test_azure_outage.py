"""The way to the storage account is gone for a while: told clearly, survived by everyone."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.faulty import faults
from tests.faulty.cloud import Cloud
from tests.live import patient
from tests.live.caches import MIB, NAME, Dam, blob_key, cached_file, fetched, partial_file, put
from tests.live.client import Client, Upload, digest_of, noise
from tests.live.conftest import StartNode
from tests.live.downloads import Download
from tests.live.processes import Registry, wait_until

pytestmark = pytest.mark.live

HASTY = {"storage.azure.max_retries": "2", "storage.cache.revalidate": "100ms"}


@pytest.fixture
def registry(start_node: StartNode) -> Registry:
    return start_node(HASTY)


def assert_says_so(client: Client, method: str, target: str, body: bytes = b"") -> None:
    answer = client.request(method, target, body)
    assert (answer.status, answer.error_code()) == (503, "UNAVAILABLE")


def test_what_cannot_be_answered_without_the_account_is_503_until_it_is_back(
    registry: Registry, cloud: Cloud
) -> None:
    client = registry.client()
    content = noise("away", 100_000)
    digest = client.push_whole(NAME, content)
    cloud.proxy.cut()
    assert_says_so(client, "GET", "/v2/other/tags/list")
    assert_says_so(client, "GET", "/v2/other/manifests/latest")
    assert_says_so(client, "POST", f"/v2/{NAME}/blobs/uploads/")
    assert_says_so(client, "POST", f"/v2/{NAME}/blobs/uploads/?digest={digest}", content)
    assert client.get("/v2/").status == 200
    cloud.proxy.heal()
    assert client.blob(NAME, digest).expect(200).body == content
    assert client.push_whole(NAME, b"more")


def test_a_pull_that_the_outage_cuts_goes_on_where_it_was(
    registry: Registry, cloud: Cloud, workdir: Path
) -> None:
    content = noise("cut pull", 16 * MIB)
    [digest] = put(cloud, content)
    dam = Dam(cloud, digest)
    download = Download(registry.client(), NAME, digest)
    download.read(1000)
    stood = dam.wait_until_reached(partial_file(workdir / "cache", digest))
    cloud.proxy.cut()
    dam.open()
    assert not download.ends_whole()
    assert content.startswith(bytes(download.received))
    before = cloud.proxy.count("get", blob_key(digest))
    cloud.proxy.restore()
    patient.pull(registry.client(), NAME, digest, bytes(download.received))
    later = cloud.proxy.requests("get", blob_key(digest))[before:]
    assert min(seen.start for seen in later) >= min(stood, len(download.received))

    def is_kept() -> bool:
        assert registry.client().blob(NAME, digest).body == content
        return cached_file(workdir / "cache", digest).exists()

    wait_until(is_kept, "the blob is kept")


def test_what_is_cached_is_pulled_on_while_the_account_is_away(
    start_node: StartNode, cloud: Cloud, workdir: Path
) -> None:
    registry = start_node({"storage.azure.max_retries": "2", "storage.cache.revalidate": "1h"})
    content = noise("kept", 3 * MIB)
    [digest] = put(cloud, content)
    client = registry.client()
    assert client.blob(NAME, digest).body == content
    wait_until(cached_file(workdir / "cache", digest).exists, "the blob is kept")
    assert client.blob(NAME, digest).body == content
    cloud.proxy.cut()
    with registry.client_of_each_worker() as clients:
        answers = [client.blob(NAME, digest) for client in clients]
    assert any(answer.body == content for answer in answers)
    assert all(answer.status == 503 for answer in answers if answer.body != content)


def test_a_push_that_the_outage_cuts_goes_on_where_it_was_acknowledged(
    registry: Registry, cloud: Cloud
) -> None:
    content = noise("cut push", 10 * MIB)
    client = registry.client()
    upload = Upload(client, NAME)
    upload.patch_at(0, content[: 5 * MIB]).expect(202)
    begun = threading.Event()

    def until_it_is_cut() -> Iterator[bytes]:
        yield content[5 * MIB : 6 * MIB]
        cloud.proxy.cut()
        begun.set()
        yield content[6 * MIB :]

    answer = client.request("PATCH", upload.location, until_it_is_cut())
    assert begun.is_set()
    assert (answer.status, answer.error_code()) == (503, "UNAVAILABLE")
    assert_says_so(client, "GET", upload.path)
    cloud.proxy.heal()
    upload.ask().expect(204)
    assert 5 * MIB <= upload.size <= len(content)
    upload.finish(digest_of(content), content[upload.size :]).expect(201)
    assert client.blob(NAME, digest_of(content)).body == content
    assert cloud.digests() == {digest_of(content)}


def test_an_account_that_never_answers_holds_up_nobody_else(
    registry: Registry, cloud: Cloud
) -> None:
    content = noise("kept", 100_000)
    client = registry.client()
    digest = client.push_whole(NAME, content)
    with registry.client_of_each_worker() as clients:
        for each in clients:
            each.blob(NAME, digest).expect(200)
    cloud.proxy.inject("list", faults.silence, times=1000)
    with ThreadPoolExecutor(20) as threads:
        waiting = [threads.submit(client.get, f"/v2/r{n}/tags/list") for n in range(20)]
        wait_until(lambda: cloud.proxy.count("list") >= 20, "they wait")
        assert client.blob(NAME, digest).expect(200).body == content
        client.push_whole(NAME, b"meanwhile")
        assert not any(each.done() for each in waiting)
        cloud.proxy.cut()
        cloud.proxy.heal()
        assert {each.result().status for each in waiting} <= {404, 503}


def test_no_storm_comes_over_an_account_that_throttles(registry: Registry, cloud: Cloud) -> None:
    content = noise("throttled", 5 * MIB)
    [digest] = put(cloud, content)
    client = registry.client()
    client.get(f"/v2/{NAME}/tags/list")
    cloud.proxy.heal()
    cloud.proxy.choose(lambda seen: faults.refuse(503, Retry_After="0"))
    with ThreadPoolExecutor(20) as threads:
        answers = list(threads.map(lambda _: client.blob(NAME, digest), range(20)))
    assert {answer.status for answer in answers} == {503}
    # Each of them may ask once and again twice.
    assert len(cloud.proxy.seen) <= 20 * 3
    cloud.proxy.heal()
    assert client.blob(NAME, digest).expect(200).body == content
    assert fetched(cloud, digest) <= 1.1 * len(content)
