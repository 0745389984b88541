"""Manifests: what the stored bytes mean. The bytes themselves are never rewritten.

image-spec manifest.md and image-index.md; Docker Image Manifest V 2, Schema 2.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Final, TypeVar

import msgspec

from fastreg.oci import mediatypes as mt
from fastreg.oci.digest import Digest, InvalidDigest

T = TypeVar("T")

_UNSPECIFIED: Final = frozenset({"", "application/json", "application/octet-stream"})


class InvalidManifest(ValueError):
    """The bytes are not a manifest that the registry takes; the message says why."""


class Descriptor(msgspec.Struct, frozen=True, rename="camel"):
    """image-spec descriptor.md; fields that the registry has no use for are dropped."""

    digest: str
    size: Annotated[int, msgspec.Meta(ge=0)] = 0
    media_type: str = ""

    @property
    def parsed_digest(self) -> Digest:
        return Digest.parse(self.digest)


class _Document(msgspec.Struct, frozen=True, rename="camel"):
    """Every field of every kind of manifest that decides something."""

    schema_version: int = 0
    media_type: str = ""
    artifact_type: str = ""
    config: Descriptor | None = None
    layers: list[Descriptor] | None = None
    manifests: list[Descriptor] | None = None
    subject: Descriptor | None = None
    annotations: dict[str, str] | None = None
    fs_layers: msgspec.Raw = msgspec.Raw()
    blobs: msgspec.Raw = msgspec.Raw()


class _Head(msgspec.Struct, frozen=True, rename="camel"):
    """What tells the kind of a manifest, nothing built of the rest."""

    schema_version: int = 0
    media_type: str = ""
    manifests: msgspec.Raw = msgspec.Raw()


@dataclass(frozen=True, slots=True)
class Manifest:
    content: bytes
    media_type: str
    artifact_type: str
    """Its `artifactType`, else an image's config media type, else empty."""
    blobs: tuple[Descriptor, ...]
    """What must be held as blobs: config and layers, non-distributable ones left out."""
    manifests: tuple[Descriptor, ...]
    """The children of an index."""
    subject: Descriptor | None
    annotations: dict[str, str]

    def referrer_descriptor(self, digest: Digest) -> dict[str, Any]:
        """Return this manifest as an entry of its subject's referrers list.

        distribution-spec, "Listing Referrers": `artifactType` is left out where there is none.
        """
        entry: dict[str, Any] = {
            "mediaType": self.media_type,
            "digest": str(digest),
            "size": len(self.content),
        }
        if self.artifact_type:
            entry["artifactType"] = self.artifact_type
        if self.annotations:
            entry["annotations"] = self.annotations
        return entry


_documents: Final = msgspec.json.Decoder(_Document)
_heads: Final = msgspec.json.Decoder(_Head)


def parse(content: bytes, content_type: str = "") -> Manifest:
    """Return the manifest that `content`, sent as `content_type`, holds.

    Raises InvalidManifest for what is no image manifest and no index, and for what could be
    read as both (CVE-2021-41190).
    """
    document = _decode(_documents, content)
    media_type = _agreed_media_type(document, content_type.partition(";")[0].strip().lower())
    if document.schema_version != 2:
        raise InvalidManifest(f"schemaVersion must be 2, not {document.schema_version}")
    if media_type in mt.INDEXES:
        return _index(document, content, media_type)
    return _image(document, content, media_type)


def media_type_of(content: bytes) -> str:
    """Return the type under which stored manifest bytes are served: what they say of
    themselves, else what their shape says. Raises InvalidManifest."""
    head = _decode(_heads, content)
    return head.media_type or _type_by_shape(head.schema_version, bytes(head.manifests))


def _decode(decoder: msgspec.json.Decoder[T], content: bytes) -> T:
    try:
        return decoder.decode(content)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as e:
        raise InvalidManifest(f"not the JSON of a manifest: {e}") from None


def _type_by_shape(schema_version: int, manifests: bytes) -> str:
    if schema_version == 1:
        return mt.DOCKER_SCHEMA1
    return mt.OCI_MANIFEST if manifests in (b"", b"null") else mt.OCI_INDEX


def _agreed_media_type(document: _Document, content_type: str) -> str:
    inside = document.media_type
    if inside in mt.SCHEMA1 or content_type in mt.SCHEMA1 or document.schema_version == 1:
        raise InvalidManifest(
            "Docker schema 1 manifests are not supported; push the image with a client that "
            "writes schema 2 or OCI manifests"
        )
    if content_type in _UNSPECIFIED:
        content_type = inside or _type_by_shape(2, b"" if document.manifests is None else b"[]")
    if content_type not in mt.MANIFESTS:
        raise InvalidManifest(
            f"media type {content_type[:120]!r} is not one of {', '.join(sorted(mt.MANIFESTS))}"
        )
    if inside and inside != content_type:
        raise InvalidManifest(f"mediaType is {inside[:120]!r}, Content-Type is {content_type!r}")
    if not inside and content_type not in (mt.OCI_MANIFEST, mt.OCI_INDEX):
        raise InvalidManifest(f"a manifest of type {content_type!r} must say so in mediaType")
    return content_type


def _index(document: _Document, content: bytes, media_type: str) -> Manifest:
    if document.manifests is None:
        raise InvalidManifest("an index must have 'manifests'")
    if document.layers is not None or document.config is not None or document.fs_layers:
        raise InvalidManifest("an index must not have 'config', 'layers' or 'fsLayers'")
    return Manifest(
        content=content,
        media_type=media_type,
        artifact_type=document.artifact_type,
        blobs=(),
        manifests=tuple(_checked(d) for d in document.manifests),
        subject=_checked(document.subject) if document.subject else None,
        annotations=document.annotations or {},
    )


def _image(document: _Document, content: bytes, media_type: str) -> Manifest:
    if document.config is None:
        raise InvalidManifest("an image manifest must have 'config'")
    if document.manifests is not None or document.fs_layers or document.blobs:
        raise InvalidManifest("an image manifest must not have 'manifests', 'fsLayers' or 'blobs'")
    held = [d for d in document.layers or () if d.media_type not in mt.NON_DISTRIBUTABLE]
    return Manifest(
        content=content,
        media_type=media_type,
        artifact_type=document.artifact_type or document.config.media_type,
        blobs=tuple(_checked(d) for d in (document.config, *held)),
        manifests=(),
        subject=_checked(document.subject) if document.subject else None,
        annotations=document.annotations or {},
    )


def _checked(descriptor: Descriptor) -> Descriptor:
    try:
        Digest.parse(descriptor.digest)
    except InvalidDigest as e:
        raise InvalidManifest(f"a descriptor's digest: {e}") from None
    return descriptor
