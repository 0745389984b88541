"""Bodies that are poured into a session of a container, beside an event loop."""

import os
import threading
from collections.abc import Callable, Iterator

import gevent
import pytest
from gevent import GreenletExit

from fastreg.fastlane import Sink
from fastreg.oci.digest import Digest
from fastreg.registry import paths
from fastreg.registry.registry import Registry
from fastreg.registry.uploads import Uploads
from fastreg.server.offloop import receive_in_thread, wait_in_thread
from fastreg.storage.azure import AzureDriver
from tests.faulty import faults
from tests.faulty.cloud import Cloud
from tests.live.client import noise
from tests.registry.pouring import Poured

NAME = "library/app"
MIB = 1 << 20
CONTENT = noise("layer", 25 * MIB + 321)
DIGEST = Digest.of(CONTENT)


class OnTheLoop(Poured):
    """Poured in a thread, as the server does it."""

    def pour(self, sink: Sink, max_bytes: int) -> int:
        while (count := receive_in_thread(self._inflow.pour, sink, max_bytes)) is None:
            gevent.sleep(0.001)
        self.poured += count
        return count


@pytest.fixture
def poured() -> Iterator[Callable[..., OnTheLoop]]:
    made: list[OnTheLoop] = []

    def pour(content: bytes, sent: int | None = None) -> OnTheLoop:
        made.append(OnTheLoop(content, sent))
        return made[-1]

    yield pour
    for each in made:
        each.close()


@pytest.fixture
def uploads(cloud: Cloud) -> Uploads:
    driver = AzureDriver(cloud.settings, wait_in_thread)
    return Registry(driver, wait_in_thread, sleep=gevent.sleep).repository(NAME).uploads


def window_bytes() -> int:
    """What the files in memory of this process take."""
    found = {}
    for fd in os.listdir("/proc/self/fd"):
        try:
            if "fastreg-window" in os.readlink(f"/proc/self/fd/{fd}"):
                status = os.stat(f"/proc/self/fd/{fd}")
                found[status.st_ino] = status.st_blocks * 512
        except FileNotFoundError:
            continue
    return sum(found.values())


@pytest.mark.parametrize("is_session", [True, False])
def test_a_poured_body_becomes_the_blob(
    uploads: Uploads, poured: Callable[..., OnTheLoop], cloud: Cloud, is_session: bool
) -> None:
    body = poured(CONTENT)
    if is_session:
        upload_id = uploads.start()
        assert uploads.append(upload_id, body, start=0) == len(CONTENT)
        uploads.finish(upload_id, poured(b""), DIGEST, start=None)
    else:
        uploads.push(body, DIGEST)
    assert body.poured == len(CONTENT)
    assert cloud.read(paths.blob_data(DIGEST)) == CONTENT
    assert window_bytes() == 0


def test_an_account_that_is_slow_stops_the_client_and_not_the_event_loop(
    uploads: Uploads, poured: Callable[..., OnTheLoop], cloud: Cloud
) -> None:
    gate = threading.Event()
    cloud.proxy.inject("put block", faults.held(gate), times=100)
    body = poured(CONTENT)
    push = gevent.spawn(uploads.push, body, DIGEST)
    with gevent.Timeout(60):
        while cloud.proxy.count("put block") < 5 or body.poured < 24 * MIB:
            gevent.sleep(0.005)
    for _ in range(50):
        gevent.sleep(0.005)
        assert not push.dead
        assert body.poured == 24 * MIB
        assert window_bytes() <= 24 * MIB
    gate.set()
    push.get(timeout=60)
    assert cloud.read(paths.blob_data(DIGEST)) == CONTENT


@pytest.mark.parametrize("is_session", [True, False])
def test_who_is_killed_while_the_account_is_slow_leaves_no_memory_and_nothing_torn(
    uploads: Uploads, poured: Callable[..., OnTheLoop], cloud: Cloud, is_session: bool
) -> None:
    gate = threading.Event()
    cloud.proxy.inject("put block", faults.held(gate), times=100)
    body = poured(CONTENT)
    upload_id = uploads.start()
    if is_session:
        request = gevent.spawn(uploads.append, upload_id, body, start=0)
    else:
        request = gevent.spawn(uploads.push, body, DIGEST)
    with gevent.Timeout(60):
        while body.poured < 16 * MIB:
            gevent.sleep(0.005)
    request.kill(block=False)
    gevent.sleep(0.05)
    gate.set()
    request.join(60)
    assert isinstance(request.value, GreenletExit)
    kept = uploads.size(upload_id)
    assert cloud.read(paths.upload_data(NAME, upload_id)) == CONTENT[:kept]
    assert kept >= (16 * MIB if is_session else 0)
    assert not cloud.has(paths.blob_data(DIGEST))
    assert window_bytes() == 0


def test_many_pushes_take_no_more_than_a_block_each_and_what_they_share(
    uploads: Uploads, poured: Callable[..., OnTheLoop], cloud: Cloud
) -> None:
    pushes = [gevent.spawn(uploads.push, poured(CONTENT), DIGEST) for _ in range(4)]
    most = 0
    with gevent.Timeout(100):
        while not all(push.dead for push in pushes):
            most = max(most, window_bytes())
            gevent.sleep(0.005)
    assert [push.get() for push in pushes] == [None] * 4
    assert most <= 52 * MIB
    assert cloud.read(paths.blob_data(DIGEST)) == CONTENT
