"""Answers in JSON."""

from __future__ import annotations

from typing import Any

import msgspec

from fastreg.api.http import Response


def json_response(
    status: int, value: Any, content_type: str = "application/json; charset=utf-8"
) -> Response:
    return Response(status, [("Content-Type", content_type)], msgspec.json.encode(value))
