"""`/v2/_catalog`: the names of all repositories, as the reference registry lists them."""

from __future__ import annotations

from fastreg.api.call import Call
from fastreg.api.http import Response
from fastreg.api.json import json_response
from fastreg.api.paging import link_next, page_size, take
from fastreg.errors import PaginationNumberInvalid


def list_repositories(call: Call) -> Response:
    limit = call.settings.max_catalog_entries
    n = page_size(call, limit)
    if n > limit:
        raise PaginationNumberInvalid({"n": n, "expected": f"at most {limit}"})
    names, more = take(call.registry.names(after=call.request.parameter("last")), n)
    response = json_response(200, {"repositories": names})
    if more:
        response.headers += link_next(call, "/v2/_catalog", n=n, last=names[-1])
    return response
