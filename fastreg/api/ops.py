"""`/v2/` and `/`: is this a registry, and does it live?"""

from __future__ import annotations

from fastreg.api.call import Call
from fastreg.api.http import Response
from fastreg.api.json import json_response


def check_version(call: Call) -> Response:
    """distribution-spec, "Determining Support"."""
    response = json_response(200, {})
    response.lasts = True
    return response


def check_alive(call: Call) -> Response:
    """What load balancers and hosting platforms ask, as the reference registry answers."""
    return Response(200, [("Cache-Control", "no-cache")])
