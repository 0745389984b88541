"""Content that is not what its name says: it is noticed, told, and never taken for whole."""

from pathlib import Path

import pytest

from tests.faulty.cloud import Cloud
from tests.live.caches import NAME, Dam, blob_key, cached_file, partial_file, put, size_of
from tests.live.client import noise
from tests.live.conftest import StartNode
from tests.live.downloads import Download
from tests.live.processes import wait_until

pytestmark = pytest.mark.live

MIB = 1 << 20


def test_a_blob_that_is_wrong_in_the_account_never_ends_as_if_whole(
    start_node: StartNode, cloud: Cloud, workdir: Path
) -> None:
    content = noise("wrong", 5 * MIB)
    [digest] = put(cloud, content)
    wrong = content[:-1] + bytes([content[-1] ^ 1])
    cloud.container.upload_blob(blob_key(digest), wrong, overwrite=True)
    registry = start_node()
    for _ in range(2):
        reader = Download(registry.client(), NAME, digest)
        assert not reader.ends_whole()
    assert not cached_file(workdir / "cache", digest).exists()
    assert digest[7:] in registry.log()
    cloud.container.upload_blob(blob_key(digest), content, overwrite=True)
    assert registry.client().blob(NAME, digest).expect(200).body == content


@pytest.mark.parametrize("sampling", ["0", "1"])
def test_a_cached_file_that_lost_its_end_is_fetched_again(
    start_node: StartNode, cloud: Cloud, workdir: Path, sampling: str
) -> None:
    content = noise("short", 3 * MIB)
    [digest] = put(cloud, content)
    settings = {"storage.cache.sampling": sampling}
    registry = start_node(settings)
    client = registry.client()
    assert client.blob(NAME, digest).body == content
    path = cached_file(workdir / "cache", digest)
    wait_until(path.exists, "the blob is kept")
    registry.stop()
    path.chmod(0o644)
    with path.open("r+b") as file:
        file.truncate(MIB)
    client = start_node(settings).client()
    assert client.blob(NAME, digest).expect(200).body == content
    wait_until(lambda: size_of(path) == len(content), "the blob is kept again")


def test_a_cached_file_with_a_wrong_byte_is_noticed_and_fetched_again(
    start_node: StartNode, cloud: Cloud, workdir: Path
) -> None:
    content = noise("rotten", 3 * MIB)
    [digest] = put(cloud, content)
    settings = {"storage.cache.sampling": "1"}
    registry = start_node(settings)
    assert registry.client().blob(NAME, digest).body == content
    path = cached_file(workdir / "cache", digest)
    wait_until(path.exists, "the blob is kept")
    registry.stop()
    path.chmod(0o644)
    with path.open("r+b") as file:
        file.seek(MIB)
        file.write(b"rotten")
    path.chmod(0o444)
    client = start_node(settings).client()

    def is_healed() -> bool:
        # The other worker may give the answer that it has for another moment.
        answers = [client.blob(NAME, digest).expect(200).body for _ in range(8)]
        return set(answers) == {content} and path.exists()

    wait_until(is_healed, "the damage is noticed")
    assert path.read_bytes() == content


def test_what_a_killed_filler_left_damaged_is_not_believed(
    start_node: StartNode, cloud: Cloud, workdir: Path
) -> None:
    content = noise("damaged", 24 * MIB)
    [digest] = put(cloud, content)
    registry = start_node()
    dam = Dam(cloud, digest)
    download = Download(registry.client(), NAME, digest)
    download.read(1000)
    partial = partial_file(workdir / "cache", digest)
    dam.wait_until_reached(partial)
    registry.kill()
    with partial.open("r+b") as file:
        file.seek(MIB)
        file.write(b"damage")
    dam.open()
    registry.start()
    reader = Download(registry.client(), NAME, digest)
    assert not reader.ends_whole()
    assert registry.client().blob(NAME, digest).expect(200).body == content
    download.leave()
