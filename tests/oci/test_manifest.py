"""Manifests: what each kind holds, and the documents that are refused."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastreg.oci import mediatypes as mt
from fastreg.oci.digest import Digest
from fastreg.oci.manifest import InvalidManifest, media_type_of, parse

OCI_CONFIG = "application/vnd.oci.image.config.v1+json"
OCI_LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"


def descriptor(content: bytes = b"x", media_type: str = OCI_LAYER, **more: Any) -> dict[str, Any]:
    digest = str(Digest.of(content))
    return {"mediaType": media_type, "digest": digest, "size": len(content), **more}


def image(**changes: Any) -> dict[str, Any]:
    document = {
        "schemaVersion": 2,
        "mediaType": mt.OCI_MANIFEST,
        "config": descriptor(b"{}", OCI_CONFIG),
        "layers": [descriptor(b"1"), descriptor(b"2")],
        **changes,
    }
    return {k: v for k, v in document.items() if v is not ...}


def index(**changes: Any) -> dict[str, Any]:
    document = {
        "schemaVersion": 2,
        "mediaType": mt.OCI_INDEX,
        "manifests": [descriptor(b"amd64", mt.OCI_MANIFEST), descriptor(b"arm64", mt.OCI_MANIFEST)],
        **changes,
    }
    return {k: v for k, v in document.items() if v is not ...}


def encode(document: Any) -> bytes:
    return json.dumps(document).encode()


def digests(*contents: bytes) -> list[str]:
    return [str(Digest.of(c)) for c in contents]


@pytest.mark.parametrize("media_type", sorted(mt.IMAGES))
def test_an_image_holds_its_config_and_layers_as_blobs(media_type: str) -> None:
    content = encode(image(mediaType=media_type))
    manifest = parse(content, media_type)
    assert manifest.content == content
    assert manifest.media_type == media_type
    assert [d.digest for d in manifest.blobs] == digests(b"{}", b"1", b"2")
    assert manifest.manifests == ()
    assert manifest.subject is None


@pytest.mark.parametrize("media_type", sorted(mt.INDEXES))
def test_an_index_holds_its_children_as_manifests(media_type: str) -> None:
    manifest = parse(encode(index(mediaType=media_type)), media_type)
    assert manifest.media_type == media_type
    assert [d.digest for d in manifest.manifests] == digests(b"amd64", b"arm64")
    assert manifest.blobs == ()


def test_an_image_without_layers_and_an_index_without_children_are_taken() -> None:
    assert len(parse(encode(image(layers=[]))).blobs) == 1
    assert len(parse(encode(image(layers=None))).blobs) == 1
    assert parse(encode(index(manifests=[]))).manifests == ()


@pytest.mark.parametrize("content_type", ["", "application/json", "application/octet-stream"])
@pytest.mark.parametrize("document", [image(), index(), image(mediaType=...), index(mediaType=...)])
def test_an_unspecified_content_type_leaves_it_to_the_document(
    content_type: str, document: dict[str, Any]
) -> None:
    expected = mt.OCI_INDEX if "manifests" in document else mt.OCI_MANIFEST
    assert parse(encode(document), content_type).media_type == expected


def test_the_content_type_is_compared_without_its_parameters_and_case() -> None:
    sent = f" {mt.OCI_MANIFEST.upper()} ; charset=utf-8"
    assert parse(encode(image()), sent).media_type == mt.OCI_MANIFEST


@pytest.mark.parametrize(
    ("document", "content_type"),
    [
        (image(), mt.OCI_INDEX),
        (image(), mt.DOCKER_MANIFEST),
        (image(mediaType=mt.DOCKER_MANIFEST), mt.OCI_MANIFEST),
        (index(), mt.OCI_MANIFEST),
        (index(), mt.DOCKER_LIST),
        (index(mediaType=...), mt.OCI_MANIFEST),
        (image(mediaType=...), mt.OCI_INDEX),
        (image(mediaType=...), mt.DOCKER_MANIFEST),
        (index(mediaType=...), mt.DOCKER_LIST),
        (image(), "text/html"),
        (image(), "application/vnd.oci.image.config.v1+json"),
    ],
)
def test_a_document_sent_as_another_type_than_its_own_is_refused(
    document: dict[str, Any], content_type: str
) -> None:
    with pytest.raises(InvalidManifest):
        parse(encode(document), content_type)


@pytest.mark.parametrize("content_type", ["", mt.OCI_MANIFEST, mt.OCI_INDEX])
@pytest.mark.parametrize(
    "document",
    [
        # CVE-2021-41190: read as an image by one client, as an index by another.
        {**image(), **index(), "mediaType": mt.OCI_MANIFEST},
        {**image(), **index(), "mediaType": mt.OCI_INDEX},
        {**image(mediaType=...), **index(mediaType=...)},
        image(manifests=[]),
        index(layers=[]),
        index(config=descriptor()),
        image(fsLayers=[]),
        index(fsLayers=[{"blobSum": "sha256:" + "a" * 64}]),
        image(blobs=[descriptor()]),
    ],
)
def test_a_document_that_could_be_read_as_two_kinds_is_refused(
    document: dict[str, Any], content_type: str
) -> None:
    with pytest.raises(InvalidManifest):
        parse(encode(document), content_type)


@pytest.mark.parametrize(
    ("document", "content_type"),
    [
        ({"schemaVersion": 1, "name": "a", "tag": "b", "fsLayers": []}, ""),
        ({"schemaVersion": 1}, mt.OCI_MANIFEST),
        (image(schemaVersion=1), mt.OCI_MANIFEST),
        (image(), mt.DOCKER_SCHEMA1),
        (image(), mt.DOCKER_SCHEMA1_SIGNED),
        (image(mediaType=mt.DOCKER_SCHEMA1_SIGNED), ""),
    ],
)
def test_schema_1_is_refused_by_name(document: dict[str, Any], content_type: str) -> None:
    with pytest.raises(InvalidManifest, match="schema 1"):
        parse(encode(document), content_type)


@pytest.mark.parametrize(
    "media_type",
    [
        "application/vnd.oci.artifact.manifest.v1+json",
        "application/vnd.oci.image.config.v1+json",
        "text/html",
        "x\r\nSet-Cookie: a=b",
    ],
)
def test_an_unknown_media_type_of_valid_shape_is_refused_with_the_known_ones(
    media_type: str,
) -> None:
    with pytest.raises(InvalidManifest, match=r"is not one of .*oci\.image\.manifest"):
        parse(encode(image(mediaType=media_type)))


@pytest.mark.parametrize("version", [0, 3, -1, 10**30, "2", 2.5, True, None, ...])
def test_another_schema_version_is_refused(version: Any) -> None:
    with pytest.raises(InvalidManifest):
        parse(encode(image(schemaVersion=version)))


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b" ",
        b"null",
        b"2",
        b'"sha256"',
        b"[]",
        b"[" + encode(image()) + b"]",
        b"{}",
        b"{",
        encode(image())[:-1],
        encode(image()) + b"{}",
        b"\xff\xfe" + encode(image()),
        b"\xef\xbb\xbf" + encode(image()),
        encode(image()).replace(b"image", b"\xff\xff", 1),
        encode(image(annotations={"a": "b"})).replace(b'"b"', b'"\\ud800"'),
        b"\0" * 512,
        b"<html></html>",
        b'{"schemaVersion": 1' + b"0" * 5000 + b"}",
        b'{"schemaVersion": 2, "schemaVersion": NaN}',
    ],
    ids=lambda content: repr(content[:24]),
)
def test_what_is_no_json_object_of_a_manifest_is_refused(content: bytes) -> None:
    with pytest.raises(InvalidManifest) as refused:
        parse(content)
    assert len(str(refused.value)) < 1000
    with pytest.raises(InvalidManifest):
        parse(content, mt.OCI_INDEX)


@pytest.mark.parametrize("opening", [b"[", b'{"a":'])
@pytest.mark.parametrize("field", [b"unknown", b"annotations", b"fsLayers", b"config"])
def test_deep_nesting_is_refused_and_not_followed(opening: bytes, field: bytes) -> None:
    content = b'{"schemaVersion":2,"' + field + b'":' + opening * 500_000
    with pytest.raises(InvalidManifest):
        parse(content)
    with pytest.raises(InvalidManifest):
        media_type_of(content)


@pytest.mark.parametrize(
    "broken",
    [
        {"size": -1},
        {"size": "1"},
        {"size": 1.5},
        {"digest": ""},
        {"digest": "sha256:"},
        {"digest": "sha256:" + "A" * 64},
        {"digest": "sha256:../../../../etc/passwd"},
        {"digest": "md5:" + "a" * 32},
        {"digest": None},
        {"digest": 7},
        {"mediaType": 7},
    ],
)
@pytest.mark.parametrize("place", ["config", "layers", "manifests", "subject"])
def test_a_broken_descriptor_is_refused_wherever_it_stands(
    place: str, broken: dict[str, Any]
) -> None:
    bad = descriptor(**broken)
    document = index() if place == "manifests" else image()
    document[place] = [bad] if place in ("layers", "manifests") else bad
    with pytest.raises(InvalidManifest):
        parse(encode(document))


@pytest.mark.parametrize("place", ["config", "layers", "manifests", "subject"])
def test_a_descriptor_without_a_digest_is_refused(place: str) -> None:
    document = index() if place == "manifests" else image()
    document[place] = [{"size": 1}] if place in ("layers", "manifests") else {"size": 1}
    with pytest.raises(InvalidManifest):
        parse(encode(document))


def test_digests_of_every_algorithm_can_be_referred_to() -> None:
    layers = [descriptor(digest=str(Digest.of(b"1", a))) for a in ("sha512", "blake3")]
    assert [d.digest for d in parse(encode(image(layers=layers))).blobs[1:]] == [
        layer["digest"] for layer in layers
    ]


@pytest.mark.parametrize("media_type", sorted(mt.NON_DISTRIBUTABLE))
def test_a_foreign_layer_need_not_be_held(media_type: str) -> None:
    foreign = descriptor(b"windows", media_type, urls=["https://example.com/layer"])
    manifest = parse(encode(image(layers=[foreign, descriptor(b"1")])))
    assert [d.digest for d in manifest.blobs] == digests(b"{}", b"1")


def test_an_artifact_with_an_empty_config_has_its_own_type() -> None:
    manifest = parse(
        encode(image(config=descriptor(b"{}", mt.OCI_EMPTY), artifactType="application/x.sbom"))
    )
    assert manifest.artifact_type == "application/x.sbom"
    assert manifest.blobs[0].media_type == mt.OCI_EMPTY


def test_a_referring_image_without_an_artifact_type_has_its_configs() -> None:
    content = encode(image(subject=descriptor(b"subject", mt.OCI_MANIFEST)))
    manifest = parse(content)
    assert manifest.subject is not None
    assert manifest.subject.parsed_digest == Digest.of(b"subject")
    assert manifest.referrer_descriptor(Digest.of(content)) == {
        "mediaType": mt.OCI_MANIFEST,
        "digest": str(Digest.of(content)),
        "size": len(content),
        "artifactType": OCI_CONFIG,
    }


def test_a_referring_index_without_an_artifact_type_is_listed_without_one() -> None:
    content = encode(index(subject=descriptor(b"subject")))
    entry = parse(content).referrer_descriptor(Digest.of(content))
    assert entry["mediaType"] == mt.OCI_INDEX
    assert "artifactType" not in entry
    typed = encode(index(subject=descriptor(b"subject"), artifactType="application/x"))
    assert parse(typed).referrer_descriptor(Digest.of(typed))["artifactType"] == "application/x"


def test_a_referrers_annotations_are_listed_as_they_were_written() -> None:
    annotations = {"org.example": "ü", "b": ""}
    content = encode(image(subject=descriptor(b"subject"), annotations=annotations))
    assert parse(content).referrer_descriptor(Digest.of(content))["annotations"] == annotations
    assert parse(encode(image(annotations=None))).annotations == {}


@pytest.mark.parametrize("annotations", [[], "a", {"a": 1}, {"a": None}, {"a": {"b": "c"}}])
def test_annotations_that_are_no_map_of_strings_are_refused(annotations: Any) -> None:
    with pytest.raises(InvalidManifest):
        parse(encode(image(annotations=annotations)))


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        (image(), mt.OCI_MANIFEST),
        (image(mediaType=mt.DOCKER_MANIFEST), mt.DOCKER_MANIFEST),
        (image(mediaType=...), mt.OCI_MANIFEST),
        (index(mediaType=...), mt.OCI_INDEX),
        (index(mediaType=mt.DOCKER_LIST), mt.DOCKER_LIST),
        ({"schemaVersion": 1, "fsLayers": []}, mt.DOCKER_SCHEMA1),
    ],
)
def test_a_stored_manifest_is_of_the_type_it_says_else_of_its_shapes(
    document: dict[str, Any], expected: str
) -> None:
    assert media_type_of(encode(document)) == expected


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=8,
)
FIELDS = st.sampled_from(sorted({*image(), *index(), "subject", "annotations", "artifactType"}))


@given(st.dictionaries(FIELDS, JSON, max_size=4), st.sampled_from([image(), index()]))
@settings(max_examples=200, deadline=None)
def test_any_document_is_taken_whole_or_refused(
    changes: dict[str, Any], document: dict[str, Any]
) -> None:
    content = encode({**document, **changes})
    try:
        manifest = parse(content)
    except InvalidManifest:
        return
    assert manifest.media_type == media_type_of(content)
    assert bool(manifest.blobs) != (manifest.media_type in mt.INDEXES)


@given(st.binary(max_size=64))
@settings(max_examples=150, deadline=None)
def test_random_bytes_are_refused(content: bytes) -> None:
    with pytest.raises(InvalidManifest):
        parse(content)
