"""What the tests of the cache know of it: where its files are, and what the account sent."""

import threading
from pathlib import Path

from tests.faulty import faults
from tests.faulty.cloud import Cloud
from tests.faulty.seen import Seen
from tests.live.client import digest_of
from tests.live.processes import wait_until

MIB = 1 << 20

NAME = "app"


def blob_key(digest: str) -> str:
    algorithm, _, encoded = digest.partition(":")
    return f"docker/registry/v2/blobs/{algorithm}/{encoded[:2]}/{encoded}/data"


def put(cloud: Cloud, *contents: bytes) -> list[str]:
    """Have blobs in the account, as any registry leaves them; return their digests."""
    digests = [digest_of(content) for content in contents]
    for digest, content in zip(digests, contents, strict=True):
        algorithm, _, encoded = digest.partition(":")
        link = f"docker/registry/v2/repositories/{NAME}/_layers/{algorithm}/{encoded}/link"
        cloud.container.upload_blob(blob_key(digest), content)
        cloud.container.upload_blob(link, digest.encode())
    return digests


def fetched(cloud: Cloud, digest: str) -> int:
    return cloud.proxy.fetched_bytes(blob_key(digest))


def cached_file(cache: Path, digest: str) -> Path:
    algorithm, _, encoded = digest.partition(":")
    return cache / algorithm / encoded[:2] / encoded


def partial_file(cache: Path, digest: str) -> Path:
    return cached_file(cache, digest).with_suffix(".partial")


def size_of(path: Path) -> int:
    """Return a file's size, 0 where it is not there yet."""
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def cached_bytes(cache: Path) -> int:
    return sum(size_of(path) for path in cache.rglob("*") if path.is_file())


class Dam:
    """Lets what begins below 8 MiB of a blob through, and the rest when it opens."""

    def __init__(self, cloud: Cloud, digest: str) -> None:
        self._cloud = cloud
        self._key = blob_key(digest)
        self._gate = threading.Event()
        cloud.proxy.choose(lambda seen: faults.held(self._gate) if self._holds(seen) else None)

    def _holds(self, seen: Seen) -> bool:
        return seen.kind == "get" and seen.key == self._key and seen.start >= 8 * MIB

    def wait_until_reached(self, partial: Path) -> int:
        """Return how much is there when nothing more comes."""

        def passed() -> list[Seen]:
            return [s for s in self._cloud.proxy.requests("get", self._key) if not self._holds(s)]

        def is_reached() -> bool:
            end = max((seen.start + seen.sent_bytes for seen in passed()), default=0)
            return end >= 8 * MIB and all(s.is_over for s in passed()) and size_of(partial) == end

        wait_until(is_reached, "the fill stands")
        return size_of(partial)

    def open(self) -> None:
        self._gate.set()
