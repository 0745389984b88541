"""What must hold for a directory at every moment, and what the reference registry writes."""

from __future__ import annotations

from pathlib import Path

from fastreg.oci.digest import Digest
from fastreg.oci.manifest import Manifest, parse
from fastreg.registry import paths
from fastreg.registry.registry import Registry
from fastreg.registry.repository import Repository
from fastreg.storage.base import Driver
from tests.registry.images import digest_of, read_blob


def check(root: Path, registry: Registry) -> None:
    """Assert that nothing is torn, and that whatever is listed is there and whole."""
    for link in root.rglob("link"):
        assert Digest.parse(link.read_text()), link
    for data in (root / paths.BLOBS).rglob("data"):
        algorithm = data.parts[-4]
        assert Digest.of(data.read_bytes(), algorithm).hex == data.parts[-2], data
    for name in registry.names():
        repository = registry.repository(name)
        for link in (root / paths.layers_root(name)).rglob("link"):
            assert repository.blobs.has(Digest.parse(link.read_text())), link
        for link in (root / paths.revisions(name)).rglob("link"):
            check_manifest(repository, Digest.parse(link.read_text()))
        for tag in repository.tags.list():
            check_manifest(repository, repository.manifests.read_tag(tag).digest)


def check_manifest(repository: Repository, digest: Digest) -> None:
    """Assert that the manifest and all that it refers to can be pulled."""
    manifest = parse(repository.manifests.read(digest).content)
    for blob in manifest.blobs:
        assert Digest.of(read_blob(repository, blob.parsed_digest)) == blob.parsed_digest
    for child in manifest.manifests:
        check_manifest(repository, child.parsed_digest)


def write_as_reference_registry(
    driver: Driver, name: str, manifest: Manifest, *tags: str
) -> Digest:
    """Store a manifest as a registry does that knows nothing of referrers."""
    digest = digest_of(manifest)
    driver.put(paths.blob_data(digest), manifest.content)
    link = str(digest).encode()
    driver.put(paths.revision_link(name, digest), link)
    for tag in tags:
        driver.put(paths.tag_index_link(name, tag, digest), link)
        driver.put(paths.tag_current(name, tag), link)
    return digest
