"""A disk that is full: 507, nothing torn, and it goes on once there is room."""

import itertools
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.live.client import MIB, Client, Upload, config_of, digest_of, manifest_of, noise
from tests.live.conftest import Start
from tests.live.processes import Registry, tmpfs

pytestmark = pytest.mark.live

NAME = "full/disk"
LAYER = b"a layer"


@pytest.fixture
def disk(workdir: Path) -> Iterator[Path]:
    """A file system of 32 MiB, half of it taken by a file `ballast`."""
    with tmpfs(workdir / "disk", "size=32m,mode=755") as directory:
        (directory / "ballast").write_bytes(bytes(16 * MIB))
        yield directory


@pytest.fixture
def registry(disk: Path, start: Start) -> Iterator[Registry]:
    """A registry on the disk, with the tag `stays`."""
    registry = start(data=disk / "data")
    registry.client().push_image(NAME, "stays", LAYER)
    yield registry
    registry.stop()


def fill(registry: Registry, content: bytes) -> Upload:
    """Upload until the disk is full; return the session."""
    upload = Upload(registry.client(), NAME)
    assert upload.patch(content).expect(507).error_code() == "INSUFFICIENT_STORAGE"
    return upload


class Bystander:
    """Pulls an image over and over while something else goes on."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._pull)
        self.pulls = 0
        self.failures: list[str] = []

    def __enter__(self) -> "Bystander":
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._stop.set()
        self._thread.join()

    def _pull(self) -> None:
        while not self._stop.is_set():
            try:
                self._client.pull_image(NAME, "stays")
                self.pulls += 1
            except (AssertionError, OSError) as failure:
                self.failures.append(repr(failure))
                return


def test_an_upload_that_fills_the_disk_goes_on_once_there_is_room(
    registry: Registry, disk: Path
) -> None:
    content = noise("too big", 20 * MIB)
    workers = registry.wait_for_workers()
    with Bystander(registry.client()) as bystander:
        upload = fill(registry, content)
        upload.ask().expect(204)
        kept = upload.size
        assert 10 * MIB < kept < 16 * MIB
        data = registry.upload_directory(NAME, upload.id) / "data"
        assert data.read_bytes() == content[:kept]
        (disk / "ballast").unlink()
        upload.patch_at(kept, content[kept:-1]).expect(202)
        upload.finish(digest_of(content), content[-1:]).expect(201)
    assert not bystander.failures
    assert bystander.pulls
    assert registry.client().blob(NAME, digest_of(content)).expect(200).body == content
    assert registry.workers() == workers


def test_a_chunked_upload_that_fills_the_disk_keeps_what_fitted(
    registry: Registry, disk: Path
) -> None:
    block = noise("block", 100_000)
    upload = Upload(registry.client(), NAME)
    answer = upload.patch(itertools.repeat(block, 400)).expect(507)
    assert answer.headers["connection"] == "close"
    upload.ask().expect(204)
    kept = upload.size
    (disk / "ballast").unlink()
    content = (block * 200)[: kept + 5]
    upload.finish(digest_of(content), content[kept:]).expect(201)
    assert registry.client().has_blob(NAME, digest_of(content))


def test_a_manifest_that_finds_no_room_leaves_its_tag_where_it_was(
    registry: Registry, disk: Path
) -> None:
    client = registry.client()
    old = client.manifest(NAME, "stays").expect(200).body
    fill(registry, noise("all of it", 20 * MIB))
    with pytest.raises(OSError, match="No space left"):
        (disk / "rest").write_bytes(bytes(32 * MIB))
    for tag in ("stays", "new"):
        new = manifest_of(config_of(LAYER), LAYER, tag=tag)
        refused = client.put_manifest(NAME, tag, new).expect(507)
        assert refused.error_code() == "INSUFFICIENT_STORAGE"
        assert client.manifest(NAME, digest_of(new)).status == 404
    assert client.manifest(NAME, "stays").expect(200).body == old
    assert client.tags(NAME) == ["stays"]
    assert_nothing_is_torn(disk / "data")
    (disk / "ballast").unlink()
    client.put_manifest(NAME, "new", old).expect(201)
    client.pull_image(NAME, "new")


def assert_nothing_is_torn(data: Path) -> None:
    assert list((data / ".fastreg/tmp").iterdir()) == []
    links = list(data.rglob("link"))
    assert links
    assert all(link.stat().st_size for link in links)
