"""Answers that the server gives by itself, before or instead of the application's."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable
from email.utils import formatdate


def render_refusal(status: str, detail: str, headers: Iterable[tuple[str, str]] = ()) -> bytes:
    """Return a whole answer with the given headers, after which the connection closes.

    Its body is an error in the form of the OCI distribution-spec.
    """
    message = status.partition(" ")[2].lower()
    error = {"code": "UNSUPPORTED", "message": message, "detail": detail}
    body = json.dumps({"errors": [error]}).encode()
    head = (
        f"HTTP/1.1 {status}\r\n"
        f"Date: {formatdate(time.time(), usegmt=True)}\r\n"
        "Content-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\n"
        "Connection: close\r\n"
    )
    more = "".join(f"{name}: {value}\r\n" for name, value in headers)
    return f"{head}{more}\r\n".encode("latin-1") + body
