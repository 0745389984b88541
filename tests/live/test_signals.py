"""SIGTERM drains, SIGHUP reloads; neither costs a client its request."""

import contextlib
import http.client
import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.live.client import Client, Upload, digest_of, noise, pieces, read_answer
from tests.live.conftest import Start
from tests.live.processes import Registry, connect, wait_until

pytestmark = pytest.mark.live

NAME = "signals/image"


def refuses_connections(registry: Registry) -> bool:
    try:
        connect(registry).close()
    except ConnectionRefusedError:
        return True
    except ConnectionResetError:
        return False  # was in the queue when the socket closed
    return False


def test_sigterm_lets_a_running_push_end_and_takes_no_new_client(start: Start) -> None:
    registry = start()
    content = noise("drained", 3_000_000)
    upload = Upload(registry.client(), NAME)
    connection = http.client.HTTPConnection(registry.host, timeout=30)
    connection.putrequest("PUT", upload.target(digest_of(content)))
    connection.putheader("Transfer-Encoding", "chunked")
    connection.endheaders()
    blocks = pieces(content, 100_000)
    for _ in range(15):
        connection.send(chunk(next(blocks)))
    wait_until(lambda: upload.ask().status == 204 and upload.size > 0, "the push is running")
    registry.signal(signal.SIGTERM)
    wait_until(lambda: refuses_connections(registry), "new connections are refused")
    for block in blocks:
        connection.send(chunk(block))
    connection.send(chunk(b""))
    answer = read_answer(connection.getresponse()).expect(201)
    assert answer.headers["connection"] == "close"
    connection.close()
    assert registry.daemon.process.wait(20) == 0
    registry.stop()
    registry.start()
    assert registry.client().blob(NAME, digest_of(content)).expect(200).body == content


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


@contextlib.contextmanager
def asking(clients: list[Client]) -> Iterator[list[str]]:
    """Pull all the time with each client; yield the list of what went wrong."""
    stop = threading.Event()
    failures: list[str] = []

    def pull(client: Client) -> None:
        while not stop.is_set():
            try:
                client.pull_image(NAME, "tag")
            except (AssertionError, OSError, http.client.HTTPException) as failure:
                failures.append(repr(failure))

    threads = [threading.Thread(target=pull, args=(client,)) for client in clients]
    for thread in threads:
        thread.start()
    try:
        yield failures
    finally:
        stop.set()
        for thread in threads:
            thread.join()
        for client in clients:
            client.close()


class Configured:
    """A registry with a configuration file that can be changed."""

    def __init__(self, start: Start, path: Path) -> None:
        self._path = path
        self.allow_deletion(False)
        self.registry = start(config=path)
        self.client = self.registry.client()
        self.client.push_image(NAME, "tag", b"layer")
        self.registry.wait_for_workers()

    def allow_deletion(self, allowed: bool) -> None:
        self.write(yaml.safe_dump({"version": 0.1, "storage": {"delete": {"enabled": allowed}}}))

    def write(self, text: str) -> None:
        self._path.write_text(text)

    def reload(self, outcome: str) -> None:
        """SIGHUP, and wait until the log tells the outcome."""
        before = self.registry.log().count(outcome)
        self.registry.signal(signal.SIGHUP)
        wait_until(lambda: self.registry.log().count(outcome) > before, f"the log says {outcome}")

    def delete_tag(self, tag: str) -> int:
        self.client.push_image(NAME, tag, b"layer")
        return self.client.request("DELETE", f"/v2/{NAME}/manifests/{tag}").status

    def reload_with_deletion(self, allowed: bool) -> None:
        """Reload, and wait for the old workers to leave: until then they may still accept."""
        old = set(self.registry.workers())
        self.allow_deletion(allowed)
        self.reload("msg=reloaded")
        wait_until(lambda: not old & set(self.registry.workers()), "the old ones left")

    def clients(self) -> list[Client]:
        """One that stays connected, and one that connects anew for each request."""
        return [self.registry.client(keep=True), self.registry.client()]


@pytest.fixture
def configured(start: Start, workdir: Path) -> Configured:
    return Configured(start, workdir / "config.yml")


def test_sighup_takes_a_changed_setting_without_a_failed_request(configured: Configured) -> None:
    assert configured.delete_tag("old") == 405
    with asking(configured.clients()) as failures:
        for allowed, status in ((True, 202), (False, 405)):
            configured.reload_with_deletion(allowed)
            assert configured.delete_tag("some") == status
    assert failures == []


@pytest.mark.parametrize(
    "text", ["storage: {delete: {enabld: true}}", "version: [", "http: {draintimeout: soon}"]
)
def test_sighup_with_a_broken_configuration_keeps_serving_by_the_old_one(
    configured: Configured, text: str
) -> None:
    workers = configured.registry.workers()
    configured.write(text)
    with asking(configured.clients()) as failures:
        configured.reload("reload failed")
        assert configured.delete_tag("some") == 405
    assert failures == []
    assert configured.registry.workers() == workers
    configured.reload_with_deletion(True)
    assert configured.delete_tag("some") == 202
