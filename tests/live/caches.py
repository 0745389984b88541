"""What the tests of the cache know of it: where its files are, and what the account sent."""

from pathlib import Path

from tests.faulty.cloud import Cloud
from tests.live.client import digest_of

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


def cached_bytes(cache: Path) -> int:
    return sum(path.stat().st_size for path in cache.rglob("*") if path.is_file())
