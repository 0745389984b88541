"""An image's way to a node, in the steps of a Docker host."""

from __future__ import annotations

import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from loadtests.client.failures import DigestMismatch, Failure
from loadtests.client.registry import Fetched, Registry


@dataclass(frozen=True)
class Descriptor:
    digest: str
    size: int


@dataclass(frozen=True)
class Pulled:
    digest: str
    """Of the platform's manifest."""
    blobs: int
    """That the node did not hold."""
    size: int
    """Bytes of these blobs and of the manifests."""


def pull_image(
    registry: Registry, name: str, tag: str, platform: str, held: set[str], at_once: int = 3
) -> Pulled:
    """Pull what a node lacks: ping, index, the platform's manifest, config, layers.

    `held` are the digests that the node has; what came is added, also where others failed.
    After a failure no further layer is begun; those under way come to their end.
    """
    registry.ping()
    index = manifest = registry.manifest(name, tag)
    if chosen := of_platform(index, platform):
        manifest = registry.manifest(name, chosen)
    config, layers = parts(manifest)
    size = len(manifest.content) + (len(index.content) if index is not manifest else 0)
    counts = pull_blobs(registry, name, [config], held, at_once)
    counts += pull_blobs(registry, name, layers, held, at_once)
    return Pulled(manifest.digest, len(counts), size + sum(counts))


def pull_blobs(
    registry: Registry, name: str, blobs: Sequence[Descriptor], held: set[str], at_once: int
) -> list[int]:
    """Pull those that are not held, so many at once; return how many bytes each had."""
    missing = [blob for blob in dict.fromkeys(blobs) if blob.digest not in held]
    failures: list[BaseException] = []

    def pull(blob: Descriptor) -> int:
        if failures:
            return 0
        try:
            count = registry.pull_blob(name, blob.digest, blob.size)
        except BaseException as error:
            failures.append(error)
            raise
        held.add(blob.digest)
        return count

    try:
        with ThreadPoolExecutor(at_once) as threads:
            try:
                return list(threads.map(pull, missing))
            except BaseException as error:
                failures.append(error)
                if not isinstance(error, Exception):
                    registry.close()  # the node is stopped, and waits for nothing
                raise
    except Failure as failure:
        # Of several, the one that must not be overlooked.
        raise next((one for one in failures if isinstance(one, DigestMismatch)), failure) from None


def of_platform(index: Fetched, platform: str) -> str:
    """Return the digest of a platform's manifest; nothing where it is no index."""
    content = parse(index)
    if "manifests" not in content:
        return ""
    try:
        for entry in content["manifests"]:
            wanted = entry.get("platform") or {}
            words = [wanted.get(key) for key in ("os", "architecture", "variant")]
            if "/".join(filter(None, words)) == platform:
                return str(entry["digest"])
    except (AttributeError, LookupError, TypeError) as error:
        raise Failure(f"not an index: {index.content[:100]!r}") from error
    raise Failure(f"the index has no manifest for {platform}")


def parts(manifest: Fetched) -> tuple[Descriptor, list[Descriptor]]:
    """Return a manifest's config and its layers."""
    content = parse(manifest)
    try:
        config, *layers = [
            Descriptor(str(entry["digest"]), int(entry["size"]))
            for entry in [content["config"], *content["layers"]]
        ]
    except (LookupError, TypeError, ValueError) as error:
        raise Failure(f"not an image's manifest: {manifest.content[:100]!r}") from error
    return config, layers


def parse(fetched: Fetched) -> dict[str, Any]:
    try:
        content = json.loads(fetched.content)
    except ValueError as error:
        raise Failure(f"not JSON: {fetched.content[:100]!r}") from error
    if not isinstance(content, dict):
        raise Failure(f"neither a manifest nor an index: {fetched.content[:100]!r}")
    return content
