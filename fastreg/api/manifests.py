"""`/v2/<name>/manifests/<reference>`: distribution-spec, "Pulling", "Pushing" and "Deleting"
manifests."""

from __future__ import annotations

from fastreg.api.blobs import has_etag
from fastreg.api.call import Call, Spend, parse_digest
from fastreg.api.http import Headers, Request, Response
from fastreg.errors import (
    DigestInvalid,
    ManifestInvalid,
    ManifestTooLarge,
    ManifestUnknown,
    PreconditionFailed,
    RequestInvalid,
    TagInvalid,
)
from fastreg.oci.digest import Digest
from fastreg.oci.manifest import InvalidManifest, Manifest, parse
from fastreg.oci.names import InvalidName, check_tag, is_tag
from fastreg.registry.content import MAX_MANIFEST_BYTES
from fastreg.registry.manifests import StoredManifest
from fastreg.registry.tags import UNCONDITIONAL, Condition

_FREE_BYTES = 64 << 10
"""What every manifest may have; only more of it counts against the common budget."""
MAX_TAGS = 100
"""How many `tag` parameters one push may bring; the spec asks for at least 10."""


def get_manifest(call: Call) -> Response:
    manifest = _find(call)
    headers: Headers = [
        ("Docker-Content-Digest", str(manifest.digest)),
        ("ETag", f'"{manifest.digest}"'),
    ]
    if has_etag(call.request.header("If-None-Match"), str(manifest.digest)):
        return Response(304, headers, lasts=True)
    if call.settings.prefetch and call.request.method == "GET":
        call.repository.manifests.prefetch(manifest)
    headers.append(("Content-Type", manifest.media_type))
    return Response(200, headers, manifest.content, lasts=True)


def put_manifest(call: Call) -> Response:
    with call.manifest_budget.spending() as spend:
        return _put(call, spend)


def _put(call: Call, spend: Spend) -> Response:
    reference = call.arguments["reference"]
    repository = call.repository
    by_digest = parse_digest(reference) if ":" in reference else None
    extra_tags = _extra_tags(call.request)
    tags = [*([] if by_digest else [_tag(reference)]), *extra_tags]
    content = _read_content(call.request, spend)
    off_loop = call.registry.store.off_loop  # up to 4 MiB are hashed
    digest = off_loop(Digest.of, content, by_digest.algorithm if by_digest else "sha256")
    if by_digest and digest != by_digest:
        raise DigestInvalid({"provided": reference, "actual": str(digest)})
    condition = _condition(call.request)
    if not tags:
        condition.check(digest if repository.manifests.has(digest) else None)
    manifest = _parse(content, call.request.content_type)
    repository.manifests.put(manifest, digest, tags, condition)
    return _created(call, manifest, digest, extra_tags)


def delete_manifest(call: Call) -> Response:
    reference = call.arguments["reference"]
    if ":" in reference:
        call.repository.manifests.delete(parse_digest(reference))
    else:
        call.repository.tags.delete(_known_tag(call, reference))
    return Response(202)


def _find(call: Call) -> StoredManifest:
    reference = call.arguments["reference"]
    if ":" in reference:
        return call.repository.manifests.read(parse_digest(reference))
    return call.repository.manifests.read_tag(_known_tag(call, reference))


def _known_tag(call: Call, tag: str) -> str:
    """What cannot be a tag is one that does not exist."""
    if not is_tag(tag):
        raise ManifestUnknown({"tag": tag[:130], "repository": call.repository.name})
    return tag


def _tag(text: str) -> str:
    try:
        return check_tag(text)
    except InvalidName as e:
        raise TagInvalid(str(e)) from None


def _extra_tags(request: Request) -> list[str]:
    tags = [_tag(t) for t in request.query.get("tag", [])]
    if len(tags) > MAX_TAGS:
        raise RequestInvalid(f"{len(tags)} tag parameters; at most {MAX_TAGS} are taken at once")
    return list(dict.fromkeys(tags))


def _read_content(request: Request, spend: Spend) -> bytes:
    limit = f"a manifest may have {MAX_MANIFEST_BYTES} bytes"
    if (request.content_length or 0) > MAX_MANIFEST_BYTES:
        raise ManifestTooLarge(f"{limit}, this one has {request.content_length}")
    content = bytearray(request.body.read(_FREE_BYTES))
    while data := request.body.read(_FREE_BYTES):
        spend(len(data))
        content += data
        if len(content) > MAX_MANIFEST_BYTES:
            raise ManifestTooLarge(limit)
    return bytes(content)


def _parse(content: bytes, content_type: str) -> Manifest:
    try:
        return parse(content, content_type)
    except InvalidManifest as e:
        raise ManifestInvalid(str(e)) from None


def _condition(request: Request) -> Condition:
    if_match, if_none_match = request.header("If-Match"), request.header("If-None-Match")
    if not if_match and not if_none_match:
        return UNCONDITIONAL
    if if_none_match and if_none_match.strip() != "*":
        raise PreconditionFailed("for a push, If-None-Match can only be *")
    must_be = {t.strip().strip('"') for t in if_match.split(",")} if if_match else None
    return Condition(bool(if_none_match), frozenset(must_be) if must_be else None)


def _created(call: Call, manifest: Manifest, digest: Digest, tags: list[str]) -> Response:
    location = call.url(f"/v2/{call.repository.name}/manifests/{digest}")
    headers: Headers = [("Location", location), ("Docker-Content-Digest", str(digest))]
    if manifest.subject:
        headers.append(("OCI-Subject", manifest.subject.digest))
    headers += [("OCI-Tag", tag) for tag in tags]
    return Response(201, headers)
