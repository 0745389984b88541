"""`/v2/<name>/referrers/<digest>`: distribution-spec, "Listing Referrers"."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import msgspec

from fastreg.api.call import Call
from fastreg.api.http import Response
from fastreg.api.json import json_response
from fastreg.api.paging import link_next, page_size
from fastreg.oci.mediatypes import OCI_INDEX

MAX_ENTRIES: Final = 1000
MAX_PAGE_BYTES: Final = 3 << 20
"""A page is an index, and clients take manifests of up to 4 MiB."""


def list_referrers(call: Call) -> Response:
    """An unknown subject has no referrers; that is an empty list, never a 404."""
    subject, repository = call.digest, call.repository
    n = min(page_size(call, MAX_ENTRIES), MAX_ENTRIES)
    artifact_type = call.request.parameter("artifactType")
    found = repository.referrers.list(subject, artifact_type, after=call.request.parameter("last"))
    page, more = _take_page(found, n)
    response = json_response(
        200, {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": page}, OCI_INDEX
    )
    if artifact_type:
        response.headers.append(("OCI-Filters-Applied", "artifactType"))
    if more:
        query = {"artifactType": artifact_type} if artifact_type else {}
        path = f"/v2/{repository.name}/referrers/{subject}"
        response.headers += link_next(call, path, **query, n=n, last=page[-1]["digest"])
    return response


def _take_page(found: Iterator[dict[str, Any]], n: int) -> tuple[list[dict[str, Any]], bool]:
    """Return up to `n` entries, as many (one at least) as a page may hold, and whether there
    are more. Takes no more of them than one beyond."""
    page: list[dict[str, Any]] = []
    room = MAX_PAGE_BYTES
    for entry in found if n else ():
        room -= len(msgspec.json.encode(entry))
        if len(page) == n or (page and room < 0):
            return page, True
        page.append(entry)
    return page, False
