"""`/v2/<name>/tags/list`: distribution-spec, "Listing Tags"."""

from __future__ import annotations

from fastreg.api.call import Call
from fastreg.api.http import Response
from fastreg.api.json import json_response
from fastreg.api.paging import link_next, page_size, take
from fastreg.errors import NameUnknown


def list_tags(call: Call) -> Response:
    repository = call.repository
    limit = call.settings.max_tags
    n = min(page_size(call, limit), limit)
    if not repository.exists():
        raise NameUnknown({"name": repository.name})
    tags, more = take(repository.tags.list(after=call.request.parameter("last")), n)
    response = json_response(200, {"name": repository.name, "tags": tags})
    if more:
        response.headers += link_next(call, f"/v2/{repository.name}/tags/list", n=n, last=tags[-1])
    return response
