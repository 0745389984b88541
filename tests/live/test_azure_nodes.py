"""Three registries over one container, as three machines: each sees what the others did."""

import http.client
import random
import tempfile
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
from itertools import cycle
from pathlib import Path

import pytest

from tests.azurite import Azurite
from tests.faulty import faults
from tests.faulty.cloud import Cloud, cloud_over
from tests.live.client import Answer, Client, Upload, digest_of, manifest_of, noise, pieces
from tests.live.conftest import StartNode, cached
from tests.live.processes import Registry, wait_until

pytestmark = pytest.mark.live

MIB = 1 << 20
CONFIG = b'{"architecture": "amd64", "os": "linux"}'
REVALIDATE = {"storage.cache.revalidate": "200ms", "storage.delete.enabled": "true"}


SETTINGS = REVALIDATE | {"http.workers": "1"}


@pytest.fixture
def nodes(start_node: StartNode) -> list[Registry]:
    """Three that may die."""
    return [start_node(SETTINGS, path=f"cache-{number}") for number in range(3)]


@pytest.fixture(scope="module")
def shared_cloud(azurite: Azurite) -> Iterator[Cloud]:
    with cloud_over(azurite) as cloud:
        yield cloud


@pytest.fixture(scope="module")
def clients(shared_cloud: Cloud) -> Iterator[list[Client]]:
    """Of three that live as long as the tests of this file."""
    with tempfile.TemporaryDirectory(prefix="fastreg-live-") as directory, ExitStack() as stops:
        workdir = Path(directory)
        registries = []
        for number in range(3):
            settings = cached(shared_cloud, workdir / f"cache-{number}") | SETTINGS
            registries.append(Registry(workdir / "unused", workdir, settings))
            stops.callback(registries[-1].stop)
        yield [registry.client() for registry in registries]


@pytest.fixture
def name(request: pytest.FixtureRequest) -> str:
    """A repository for each test."""
    return str(request.node.name).replace("_", "-")


def wait_until_all(clients: list[Client], target: str, holds: Callable[[Answer], bool]) -> None:
    """Wait until each is given such an answer, and see that it stays so."""
    for client in clients:
        wait_until(lambda client=client: holds(client.get(target)), f"{target} is the new one")
        assert holds(client.get(target)), "it was, and is not any more"


def has_body(body: bytes, answer: Answer) -> bool:
    return answer.body == body


def is_gone(answer: Answer) -> bool:
    return answer.status == 404


def push_manifest(client: Client, name: str, tag: str, number: int) -> bytes:
    """Push an image that differs from the others by its number alone."""
    layer = noise("layer", 1000)
    for content in (CONFIG, layer):
        client.push_whole(name, content)
    manifest = manifest_of(CONFIG, layer, number=str(number))
    client.put_manifest(name, tag, manifest).expect(201)
    return manifest


def test_an_upload_begins_on_one_goes_on_on_another_and_ends_on_the_third(
    clients: list[Client], shared_cloud: Cloud, name: str
) -> None:
    content = noise("upload", 9 * MIB + 5)
    upload = Upload(clients[0], name)
    for part, client in zip(pieces(content, 3 * MIB + 1), cycle(clients[1:]), strict=False):
        upload.patch(part, client=client).expect(202)
    assert upload.size == len(content)
    upload.finish(digest_of(content), client=clients[2]).expect(201)
    assert all(client.blob(name, digest_of(content)).body == content for client in clients)
    assert digest_of(content) in shared_cloud.digests()


def test_an_upload_goes_on_elsewhere_after_its_machine_died(nodes: list[Registry]) -> None:
    clients = [node.client() for node in nodes]
    content = noise("killed", 7 * MIB)
    upload = Upload(clients[0], "app")
    upload.patch(content[: 2 * MIB], client=clients[0]).expect(202)
    nodes[0].kill()
    upload.ask(clients[1]).expect(204)
    assert upload.size == 2 * MIB
    upload.patch(content[2 * MIB : 5 * MIB], client=clients[1]).expect(202)
    nodes[1].kill()
    upload.finish(digest_of(content), content[5 * MIB :], client=clients[2]).expect(201)
    assert clients[2].blob("app", digest_of(content)).body == content


def test_a_machine_that_dies_in_mid_request_locks_nobody_out(nodes: list[Registry]) -> None:
    clients = [node.client() for node in nodes]
    content = noise("mid", 6 * MIB)
    upload = Upload(clients[0], "app")
    upload.patch(content[:MIB], client=clients[0]).expect(202)

    def until_it_dies() -> Iterator[bytes]:
        yield content[MIB : 3 * MIB]
        nodes[0].kill()
        yield content[3 * MIB :]

    with pytest.raises((OSError, http.client.HTTPException)):
        upload.patch(until_it_dies(), client=clients[0])
    upload.ask(clients[1]).expect(204)
    assert MIB <= upload.size <= len(content)
    upload.finish(digest_of(content), content[upload.size :], client=clients[1]).expect(201)
    assert clients[2].blob("app", digest_of(content)).body == content


@pytest.mark.parametrize(
    ("push", "kind"),
    [(Client.push_whole, "commit"), (Client.push_chunked, "commit"), (Client.push_chunked, "copy")],
)
def test_a_commit_that_arrives_after_its_machine_died_harms_nobody(
    nodes: list[Registry], cloud: Cloud, push: Callable[[Client, str, bytes], str], kind: str
) -> None:
    content = noise("late", 6 * MIB)
    gate = threading.Event()
    cloud.proxy.inject(kind, faults.held(gate))
    with ThreadPoolExecutor(1) as threads:
        pushing = threads.submit(push, nodes[0].client(), "app", content)
        wait_until(lambda: cloud.proxy.count(kind) > 0, "it is about to be done")
        nodes[0].kill()
        with pytest.raises((OSError, http.client.HTTPException)):
            pushing.result()
    for node in nodes[1:]:
        assert push(node.client(), "app", content)
        gate.set()
        wait_until(lambda: all(seen.is_over for seen in cloud.proxy.seen), "it has arrived")
        assert node.client().blob("app", digest_of(content)).body == content
    assert cloud.digests() == {digest_of(content)}


def test_a_moved_tag_is_seen_elsewhere(clients: list[Client], name: str) -> None:
    for number in range(6):
        manifest = push_manifest(clients[number % 3], name, "latest", number)
        # One's own change at once, another's when the answer before it is too old.
        assert clients[number % 3].manifest(name, "latest").body == manifest
        is_it = partial(has_body, manifest)
        wait_until_all(clients, f"/v2/{name}/manifests/latest", is_it)


def test_without_a_time_to_revalidate_a_change_elsewhere_is_seen_at_once(
    start_node: StartNode,
) -> None:
    settings = SETTINGS | {"storage.cache.revalidate": "0s", "http.workers": "2"}
    clients = [start_node(settings, path=f"cache-{number}").client() for number in range(2)]
    for number in range(6):
        manifest = push_manifest(clients[number % 2], "app", "latest", number)
        assert clients[1 - number % 2].manifest("app", "latest").body == manifest
        clients[number % 2].request("DELETE", "/v2/app/manifests/latest").expect(202)
        assert clients[1 - number % 2].manifest("app", "latest").status == 404


def test_a_deleted_tag_and_manifest_are_gone_elsewhere(clients: list[Client], name: str) -> None:
    manifest = push_manifest(clients[0], name, "latest", 0)
    for client in clients:
        client.manifest(name, "latest").expect(200)
        client.manifest(name, digest_of(manifest)).expect(200)
    clients[1].request("DELETE", f"/v2/{name}/manifests/latest").expect(202)
    wait_until_all(clients, f"/v2/{name}/manifests/latest", is_gone)
    for client in clients:
        client.manifest(name, digest_of(manifest)).expect(200)
    clients[2].request("DELETE", f"/v2/{name}/manifests/{digest_of(manifest)}").expect(202)
    wait_until_all(clients, f"/v2/{name}/manifests/{digest_of(manifest)}", is_gone)
    assert [client.manifest(name, "latest").status for client in clients] == [404] * 3


def test_what_is_deleted_and_pushed_again_is_seen_at_once_where_it_was_absent(
    clients: list[Client],
    name: str,
) -> None:
    for number in range(4):
        wait_until_all(clients, f"/v2/{name}/manifests/latest", is_gone)
        manifest = push_manifest(clients[number % 3], name, "latest", number)
        assert all(client.manifest(name, "latest").body == manifest for client in clients)
        clients[(number + 1) % 3].request("DELETE", f"/v2/{name}/manifests/latest").expect(202)


def test_a_deleted_layer_is_gone_elsewhere_and_comes_back(clients: list[Client], name: str) -> None:
    content = noise("deleted", 2 * MIB)
    digest = clients[0].push_whole(name, content)
    target = f"/v2/{name}/blobs/{digest}"
    for number in range(3):
        assert all(client.blob(name, digest).body == content for client in clients)
        clients[number].request("DELETE", target).expect(202)
        wait_until_all(clients, target, is_gone)
        clients[number - 1].push_whole(name, content)
        clients[number - 1].blob(name, digest).expect(200)


def test_a_blob_pushed_on_all_at_once_is_there_once_and_whole(
    clients: list[Client], shared_cloud: Cloud, name: str
) -> None:
    contents = [noise(f"same {number}", size) for number, size in enumerate((10, MIB, 9 * MIB))]

    def push(number: int) -> None:
        dice = random.Random(number)
        client = clients[number % 3]
        for content in contents:
            dice.choice([client.push_whole, client.push_chunked])(f"{name}/{number}", content)

    with ThreadPoolExecutor(6) as threads:
        list(threads.map(push, range(6)))
    assert shared_cloud.digests() >= {digest_of(content) for content in contents}
    for number, client in enumerate(clients):
        for content in contents:
            assert client.blob(f"{name}/{number + 3}", digest_of(content)).body == content


def test_of_two_machines_that_write_one_upload_one_is_refused_and_nothing_is_torn(
    clients: list[Client], shared_cloud: Cloud, name: str
) -> None:
    parts = [noise(f"part {number}", 5 * MIB) for number in range(3)]
    upload = Upload(clients[0], name)

    def patch(number: int) -> int:
        session = upload.path
        headers = {"Content-Range": f"0-{len(parts[number]) - 1}"}
        return clients[number].request("PATCH", session, parts[number], headers).status

    with ThreadPoolExecutor(3) as threads:
        statuses = list(threads.map(patch, range(3)))
    assert statuses.count(202) >= 1, statuses
    assert set(statuses) <= {202, 409, 416, 429, 500, 503}, statuses
    upload.ask(clients[2]).expect(204)
    assert upload.size == 5 * MIB
    winner = shared_cloud.read(upload_key(name, upload))
    assert winner in parts
    upload.finish(digest_of(winner), client=clients[1]).expect(201)
    assert clients[2].blob(name, digest_of(winner)).body == winner


def upload_key(name: str, upload: Upload) -> str:
    return f"docker/registry/v2/repositories/{name}/_uploads/{upload.id}/data"


def test_the_tag_that_two_machines_move_at_once_is_one_of_the_two_everywhere(
    clients: list[Client],
    name: str,
) -> None:
    with ThreadPoolExecutor(3) as threads:
        manifests = list(
            threads.map(lambda n: push_manifest(clients[n], name, "latest", n), range(3))
        )

    def seen() -> set[bytes]:
        return {client.manifest(name, "latest").body for client in clients}

    wait_until(lambda: len(seen()) == 1, "all see the same")
    assert seen() <= set(manifests)
    assert clients[0].tags(name) == ["latest"]
