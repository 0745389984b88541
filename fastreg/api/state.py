"""The `_state` of an upload's Location, as the reference registry signs it.

fastreg needs none. With the `http.secret` of both, a session begun here goes on there
(distribution, registry/handlers/hmac.go).
"""

from __future__ import annotations

import base64
import hmac
import json
import time


def sign_state(secret: str, name: str, upload_id: str, size: int) -> str:
    """Return the state of a session that holds `size` bytes: base64 of HMAC and JSON."""
    now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    fields = {"Name": name, "UUID": upload_id, "Offset": size, "StartedAt": now}
    state = json.dumps(fields).encode()
    signature = hmac.digest(secret.encode(), state, "sha256")
    return base64.urlsafe_b64encode(signature + state).decode()
