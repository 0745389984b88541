"""No stale answer: what begins after a change was acknowledged sees it, whoever made it.

Clients that stay connected, one to every worker, ask all the time, so that answers are
published again as soon as they may be.
"""

import contextlib
import os
import random
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from fastreg.oci.digest import Digest
from fastreg.registry import paths
from tests.clients.registries import REFERENCE, start_registry
from tests.live.client import MANIFEST_TYPE, Client, config_of, digest_of, manifest_of
from tests.live.conftest import Start
from tests.live.processes import Registry

pytestmark = pytest.mark.live

NAME, TAG, LAYER = "stale/image", "moving", b"a layer that comes and goes"
SETTINGS = {"storage.delete.enabled": "true", "log.accesslog.disabled": "true"}
MANIFESTS = [manifest_of(config_of(LAYER), LAYER, number=str(n)) for n in range(3)]
DIGESTS = [digest_of(manifest) for manifest in MANIFESTS]
LAYER_DIGEST = digest_of(LAYER)
PUBLISHED_AFTER_S = 0.13
"""Longer than a file must be unchanged before an answer made of it is published."""

State = str | None
"""What is found: a digest, or nothing."""


@dataclass
class Watched:
    """What clients may find at a target, as it changes."""

    target: str
    states: list[State]
    settled: int = 0
    """The last state that was acknowledged: an earlier one is stale."""
    failures: list[str] = field(default_factory=list)

    @contextlib.contextmanager
    def changing(self, *states: State) -> Iterator[None]:
        """In the block it may be each of these, afterwards the last."""
        self.states.extend(states)
        yield
        self.settled = len(self.states) - 1

    def check(self, client: Client, method: str) -> None:
        settled = self.settled
        found = look(client, method, self.target)
        if found not in (allowed := self.states[settled:]):
            self.failures.append(f"{method} found {found} in state {settled}, not one of {allowed}")

    def check_all(self, clients: list[Client]) -> None:
        for client in clients:
            for method in ("GET", "HEAD", "GET"):
                self.check(client, method)
        assert self.failures == []


def look(client: Client, method: str, target: str) -> State:
    answer = client.request(method, target, headers={"Accept": MANIFEST_TYPE})
    if answer.status == 404:
        return None
    assert answer.status == 200
    digest = answer.headers["docker-content-digest"]
    assert method == "HEAD" or digest_of(answer.body) == digest
    return digest


@contextlib.contextmanager
def asking(registry: Registry, watched: Watched) -> Iterator[list[Client]]:
    """Ask all the time on a connection to each worker; yield others, one to each as well."""
    stop = threading.Event()

    def ask(client: Client) -> None:
        try:
            while not stop.is_set():
                watched.check(client, "GET")
                watched.check(client, "HEAD")
        except Exception as error:  # told by the test's thread
            watched.failures.append(repr(error))

    with registry.client_of_each_worker() as busy, registry.client_of_each_worker() as others:
        threads = [threading.Thread(target=ask, args=(client,)) for client in busy]
        for thread in threads:
            thread.start()
        try:
            yield others
        finally:
            stop.set()
            for thread in threads:
                thread.join()


@pytest.fixture
def stocked(start: Start) -> Registry:
    registry = start(SETTINGS)
    client = registry.client()
    for blob in (config_of(LAYER), LAYER):
        client.push_whole(NAME, blob)
    for manifest in MANIFESTS:
        client.put_manifest(NAME, TAG, manifest).expect(201)
    return registry


def pause(chance: random.Random) -> None:
    """Most rounds follow at once; some when the answer has been published."""
    time.sleep(chance.choice([0, 0, 0, 0.003, PUBLISHED_AFTER_S]))


# --- a tag: who changes it, and how

Change = Callable[[Watched, Client, Path, int], None]
"""By one of the workers' clients, or at the link's file: move the tag to a manifest."""


def push(watched: Watched, client: Client, link: Path, number: int) -> None:
    with watched.changing(DIGESTS[number]):
        client.put_manifest(NAME, TAG, MANIFESTS[number]).expect(201)


def delete(watched: Watched, client: Client, link: Path, number: int) -> None:
    with watched.changing(None):
        status = client.request("DELETE", watched.target).status
    assert status == (202 if watched.states[-2] else 404)


def delete_by_digest(watched: Watched, client: Client, link: Path, number: int) -> None:
    """And push it again, or the link would lead nowhere when another program writes it."""
    target = f"/v2/{NAME}/manifests/{DIGESTS[number]}"
    is_tagged = watched.states[-1] == DIGESTS[number]
    with watched.changing(*([None] if is_tagged else [])):
        client.request("DELETE", target).expect(202)
    assert look(client, "GET", target) is None
    client.put_manifest(NAME, DIGESTS[number], MANIFESTS[number]).expect(201)


def write_in_place(watched: Watched, client: Client, link: Path, number: int) -> None:
    """As the reference registry does: for a moment the link is empty."""
    link.parent.mkdir(parents=True, exist_ok=True)
    with watched.changing(None, DIGESTS[number]):
        link.write_text(DIGESTS[number])


def overwrite(watched: Watched, client: Client, link: Path, number: int) -> None:
    """The same file, of the same size at every moment."""
    if watched.states[-1] is None:
        return
    with watched.changing(None, DIGESTS[number]), link.open("r+b") as file:
        file.write(DIGESTS[number].encode())


def rename_over(watched: Watched, client: Client, link: Path, number: int) -> None:
    link.parent.mkdir(parents=True, exist_ok=True)
    new = link.with_name("new")
    new.write_text(DIGESTS[number])
    with watched.changing(DIGESTS[number]):
        new.rename(link)


def overwrite_with_old_times(watched: Watched, client: Client, link: Path, number: int) -> None:
    """As what restores a file and its time: but for the content only the ctime is another."""
    if watched.states[-1] is None:
        return
    before = link.stat()
    with watched.changing(None, DIGESTS[number]), link.open("r+b") as file:
        file.write(DIGESTS[number].encode())
        file.flush()
        os.utime(file.fileno(), ns=(before.st_atime_ns, before.st_mtime_ns))


def unlink(watched: Watched, client: Client, link: Path, number: int) -> None:
    with watched.changing(None):
        link.unlink(missing_ok=True)


def unlink_and_write(watched: Watched, client: Client, link: Path, number: int) -> None:
    """The new file often gets the old one's inode number."""
    link.parent.mkdir(parents=True, exist_ok=True)
    with watched.changing(None, DIGESTS[number]):
        link.unlink(missing_ok=True)
        link.write_text(DIGESTS[number])


CHANGES: list[Change] = [
    *(push, push, delete, delete_by_digest, write_in_place, overwrite, rename_over),
    *(overwrite_with_old_times, unlink, unlink_and_write),
]


def test_a_tag_is_never_stale_whoever_changes_it(stocked: Registry) -> None:
    link = stocked.data / paths.tag_current(NAME, TAG)
    watched = Watched(f"/v2/{NAME}/manifests/{TAG}", [DIGESTS[-1]])
    chance = random.Random(7)
    with asking(stocked, watched) as clients:
        for number in range(120):
            change = chance.choice(CHANGES)
            change(watched, clients[number % 2], link, chance.randrange(len(DIGESTS)))
            watched.check_all(clients)
            pause(chance)
    assert watched.failures == []
    assert len(set(watched.states)) == len(DIGESTS) + 1


def test_a_link_rewritten_again_and_again_within_a_tick_is_never_stale(stocked: Registry) -> None:
    link = stocked.data / paths.tag_current(NAME, TAG)
    watched = Watched(f"/v2/{NAME}/manifests/{TAG}", [DIGESTS[-1]])
    chance = random.Random(8)
    with asking(stocked, watched) as clients:
        for number in range(80):
            for again in range(chance.randint(1, 3)):
                overwrite(watched, clients[0], link, (number + again) % 3)
                watched.check(clients[number % 2], "GET")
            watched.check_all(clients)
            pause(chance)
    assert watched.failures == []
    assert len(watched.states) > 160


def test_what_the_reference_registry_does_is_seen_at_once(stocked: Registry, workdir: Path) -> None:
    watched = Watched(f"/v2/{NAME}/manifests/{TAG}", [DIGESTS[-1]])
    chance = random.Random(9)
    reference = start_registry(stocked.data, workdir, REFERENCE)
    writer = Client(reference.host, keep=True)
    try:
        with asking(stocked, watched) as clients:
            for number in range(40):
                digest = DIGESTS[number % 3]
                with watched.changing(None, digest):
                    writer.put_manifest(NAME, TAG, MANIFESTS[number % 3]).expect(201)
                watched.check_all(clients)
                pause(chance)
                if number % 10 == 9:
                    with watched.changing(None):
                        target = f"/v2/{NAME}/manifests/{digest}"
                        writer.request("DELETE", target).expect(202)
                    watched.check_all(clients)
    finally:
        writer.close()
        reference.stop()
    assert watched.failures == []


# --- a manifest by its digest, and a blob


def delete_and_push_manifest(client: Client, watched: Watched) -> Iterator[None]:
    with watched.changing(None):
        client.request("DELETE", watched.target).expect(202)
    yield
    with watched.changing(DIGESTS[0]):
        client.put_manifest(NAME, DIGESTS[0], MANIFESTS[0]).expect(201)
    yield


def delete_and_push_blob(client: Client, watched: Watched) -> Iterator[None]:
    with watched.changing(None):
        client.request("DELETE", watched.target).expect(202)
    yield
    with watched.changing(LAYER_DIGEST):
        client.push_whole(NAME, LAYER)
    yield


@pytest.mark.parametrize(
    ("kind", "digest", "link_of", "change"),
    [
        ("manifests", DIGESTS[0], paths.revision_link, delete_and_push_manifest),
        ("blobs", LAYER_DIGEST, paths.layer_link, delete_and_push_blob),
    ],
    ids=["manifest", "blob"],
)
def test_content_by_its_digest_is_never_stale(
    stocked: Registry,
    kind: str,
    digest: str,
    link_of: Callable[[str, Digest], str],
    change: Callable[[Client, Watched], Iterator[None]],
) -> None:
    watched = Watched(f"/v2/{NAME}/{kind}/{digest}", [digest])
    link = stocked.data / link_of(NAME, Digest.parse(digest))
    data = stocked.data / paths.blob_data(Digest.parse(digest))
    content = data.read_bytes()
    chance = random.Random(10)
    with asking(stocked, watched) as clients:
        for number in range(12):
            for _ in change(clients[number % 2], watched):
                watched.check_all(clients)
                pause(chance)
            for path, text in ((link, digest.encode()), (data, content)):
                with watched.changing(None):
                    path.unlink()
                watched.check_all(clients)
                new = path.with_name("new")
                new.write_bytes(text)
                with watched.changing(digest):
                    new.rename(path)
                watched.check_all(clients)
                pause(chance)
    assert watched.failures == []
    assert len(watched.states) == 1 + 12 * 6
