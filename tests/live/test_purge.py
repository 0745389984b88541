"""The periodic purge of abandoned uploads, as the running registry does it."""

import os
import time

import pytest

from tests.live.client import MIB, Upload, digest_of, noise, read_answer
from tests.live.conftest import Start
from tests.live.processes import Registry, wait_until

pytestmark = pytest.mark.live

NAME = "purge/uploads"
PURGING = {
    "storage.maintenance.uploadpurging.age": "1m",
    "storage.maintenance.uploadpurging.interval": "1s",
}


def age(registry: Registry, upload: Upload) -> None:
    """Make the session look as if nothing had happened to it for an hour."""
    directory = registry.upload_directory(NAME, upload.id)
    then = time.time() - 3600
    (directory / "startedat").write_text(time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(then)))
    for file in (directory / "startedat", directory / "data"):
        os.utime(file, (then, then))


def test_the_purge_takes_an_abandoned_session_and_no_other(start: Start) -> None:
    registry = start(PURGING)
    content = noise("purge", 3 * MIB)
    abandoned, written, young = (Upload(registry.client(), NAME) for _ in range(3))
    abandoned.patch(b"left behind").expect(202)
    young.patch(content[:MIB]).expect(202)
    writer = registry.client(keep=True).connection
    writer.putrequest("PATCH", written.location)
    writer.putheader("Content-Length", str(len(content)))
    writer.endheaders(content[: 2 * MIB])
    wait_until(lambda: written.ask().status == 204 and written.size == 2 * MIB, "the writer wrote")
    age(registry, written)
    age(registry, abandoned)
    rounds = registry.log().count("abandoned uploads purged")
    wait_until(
        lambda: registry.log().count("abandoned uploads purged") > rounds + 1, "the purge ran"
    )
    assert abandoned.ask().status == 404
    assert not registry.upload_directory(NAME, abandoned.id).exists()
    writer.send(content[2 * MIB :])
    read_answer(writer.getresponse()).expect(202)
    writer.close()
    written.ask().expect(204)
    written.finish(digest_of(content)).expect(201)
    young.finish(digest_of(content), content[MIB:]).expect(201)
    assert registry.client().blob(NAME, digest_of(content)).expect(200).body == content
