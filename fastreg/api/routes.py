"""Every endpoint in one table: path, method, what the caller must be allowed to do, handler.

A name may hold slashes, so the patterns are anchored at their last, fixed part.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from fastreg.api import blobs, catalog, manifests, ops, referrers, tags, uploads
from fastreg.api.call import Call
from fastreg.api.http import Response

Handler = Callable[[Call], Response]


class Action(StrEnum):
    """What is asked of the repository, in the words of token scopes."""

    ENTER = "enter"
    PULL = "pull"
    PUSH = "push"
    DELETE = "delete"
    CATALOG = "catalog"

    @property
    def changes(self) -> bool:
        return self in (Action.PUSH, Action.DELETE)


@dataclass(frozen=True, slots=True)
class Operation:
    action: Action
    handler: Handler


@dataclass(frozen=True, slots=True)
class Route:
    pattern: re.Pattern[str]
    operations: dict[str, Operation]

    def methods(self, is_allowed: Callable[[Action], bool]) -> str:
        """Return the value of `Allow`."""
        methods = [m for m, o in self.operations.items() if is_allowed(o.action)]
        head = ["HEAD"] if "GET" in methods else []
        return ", ".join(sorted([*methods, *head, "OPTIONS"]))


def _route(pattern: str, **operations: tuple[Action, Handler]) -> Route:
    return Route(
        re.compile(pattern + r"\Z"), {m: Operation(*pair) for m, pair in operations.items()}
    )


_REPOSITORY = "/v2/(?P<name>.+)"

ROUTES = (
    _route("/", GET=(Action.ENTER, ops.check_alive)),
    _route("/v2/?", GET=(Action.ENTER, ops.check_version)),
    _route("/v2/_catalog", GET=(Action.CATALOG, catalog.list_repositories)),
    _route(f"{_REPOSITORY}/tags/list", GET=(Action.PULL, tags.list_tags)),
    _route(
        f"{_REPOSITORY}/manifests/(?P<reference>[^/]+)",
        GET=(Action.PULL, manifests.get_manifest),
        PUT=(Action.PUSH, manifests.put_manifest),
        DELETE=(Action.DELETE, manifests.delete_manifest),
    ),
    _route(f"{_REPOSITORY}/blobs/uploads/?", POST=(Action.PUSH, uploads.start_upload)),
    _route(
        f"{_REPOSITORY}/blobs/uploads/(?P<upload_id>[^/]+)",
        GET=(Action.PUSH, uploads.get_upload),
        PATCH=(Action.PUSH, uploads.append_upload),
        PUT=(Action.PUSH, uploads.finish_upload),
        DELETE=(Action.PUSH, uploads.cancel_upload),
    ),
    _route(
        f"{_REPOSITORY}/blobs/(?P<digest>[^/]+)",
        GET=(Action.PULL, blobs.get_blob),
        DELETE=(Action.DELETE, blobs.delete_blob),
    ),
    _route(
        f"{_REPOSITORY}/referrers/(?P<digest>[^/]+)",
        GET=(Action.PULL, referrers.list_referrers),
    ),
)


def find(path: str) -> tuple[Route, dict[str, str]] | None:
    """Return the route of the path and the path's named parts."""
    for route in ROUTES:
        if match := route.pattern.match(path):
            return route, match.groupdict()
    return None
