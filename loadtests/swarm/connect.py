"""The registry, as the options describe it."""

from __future__ import annotations

from typing import cast

from loadtests.client.auth import Credentials
from loadtests.client.calls import Observe, ignore
from loadtests.client.registry import Registry
from loadtests.client.verify import Verify
from loadtests.swarm.options import Settings

TAG = "latest"


def connect(host: str, wanted: Settings, observe: Observe = ignore) -> Registry:
    """Return a client that has no connection and no token yet."""
    credentials = Credentials(wanted.user, wanted.password) if wanted.user else None
    return Registry(host, credentials, observe, cast(Verify, wanted.verify))
