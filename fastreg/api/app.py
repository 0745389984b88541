"""The WSGI application: a request's life on one screen.

It runs under any WSGI server. Handlers raise what is wrong; it is rendered here, once.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from functools import partial
from http import HTTPStatus
from typing import Any, Final

import structlog

from fastreg.api import routes
from fastreg.api.call import Budget, Call, Settings
from fastreg.api.http import Body, Headers, Request, Response
from fastreg.api.json import json_response
from fastreg.api.routes import Action
from fastreg.errors import (
    DeletionDisabled,
    PathUnknown,
    ReadOnly,
    RegistryError,
    RequestInvalid,
    Unsupported,
)
from fastreg.registry.observed import ObservedDriver
from fastreg.registry.registry import Registry, explain

log = structlog.get_logger()

StartResponse = Callable[[str, Headers], Any]
MANIFEST_BUDGET_BYTES: Final = 64 << 20
"""For manifests on their way in: a common one has a few KiB."""
_NAMESPACE = re.compile(r"[A-Za-z0-9.:_-]{1,255}\Z")
_STATUS = {s.value: f"{s.value} {s.phrase}" for s in HTTPStatus}


class App:
    def __init__(self, registry: Registry, settings: Settings) -> None:
        self._registry = registry
        self._settings = settings
        self._manifest_budget = Budget(MANIFEST_BUDGET_BYTES)
        self.headers = (("Docker-Distribution-Api-Version", "registry/2.0"), *settings.headers)
        """Of every answer."""

    def __call__(self, environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        request = Request(environ)
        try:
            response = self._answer(request)
        except Exception as error:
            response = self._render(request, explain(error), error)
        headers = self._headers(request, response)
        body = _body_to_send(request, response)
        body.tell = partial(tell_of_cut, request)
        start_response(_STATUS[response.status], headers)
        return body

    def _answer(self, request: Request) -> Response:
        found = routes.find(self._below_prefix(request.path))
        if not found:
            raise PathUnknown(f"{request.path[:200]} is not an endpoint of a registry")
        route, arguments = found
        method = "GET" if request.method == "HEAD" else request.method
        if method == "OPTIONS":
            return Response(200, [("Allow", self._allow(route))])
        operation = route.operations.get(method)
        refusal = self._refusal(operation.action) if operation else Unsupported
        if not operation or refusal:
            error = refusal or Unsupported
            allow = ("Allow", self._allow(route))
            raise error(f"{method[:20]} is refused: {error.message}", headers=[allow])
        return self._call(operation, request, arguments)

    def _call(
        self, operation: routes.Operation, request: Request, arguments: dict[str, str]
    ) -> Response:
        """Call the handler, and note what an answer that lasts was made of."""
        registry, observed = self._registry, None
        if not operation.action.changes:
            observed = ObservedDriver(registry.store.driver.for_reading())
            registry = registry.over(observed)
        call = Call(request, registry, self._settings, self._manifest_budget, arguments)
        response = operation.handler(call)
        if observed and response.lasts and not request.header("If-Range"):
            response.witnesses, response.until = observed.witnesses(), observed.until()
        return response

    def _refusal(self, action: Action) -> type[Unsupported] | None:
        """Return how the configuration forbids it to everyone, None where it does not."""
        if self._settings.readonly and action.changes:
            return ReadOnly
        if action is Action.DELETE and not self._settings.delete_enabled:
            return DeletionDisabled
        return None

    def _allow(self, route: routes.Route) -> str:
        return route.methods(lambda action: not self._refusal(action))

    def _below_prefix(self, path: str) -> str:
        if path == "/":
            return path  # whoever asks whether the server lives knows nothing of a prefix
        prefix = self._settings.urls.prefix.rstrip("/")
        if not path.startswith(prefix + "/"):
            raise PathUnknown(f"the registry is below {prefix}/")
        return path[len(prefix) :]

    def _render(self, request: Request, error: RegistryError, cause: Exception) -> Response:
        if error.status >= 500:
            unexpected = cause if error.status == 500 else None
            log.error(
                "request failed",
                method=request.method,
                path=request.path,
                reason=f"{type(cause).__name__}: {cause}",
                exc_info=unexpected,
            )
        response = json_response(error.status, {"errors": error.entries()})
        response.headers += error.headers
        return response

    def _headers(self, request: Request, response: Response) -> Headers:
        headers = [*response.headers, *self.headers]
        if response.status not in (204, 304) and not _has(headers, "Content-Length"):
            headers.append(("Content-Length", str(len(response.body))))
        if namespace := _namespace(request):
            headers.append(("OCI-Namespace", namespace))
        return headers


def _namespace(request: Request) -> str:
    """The `ns` that a mirror's client names, told back (distribution-spec, "Registry Proxying")."""
    try:
        namespace = request.parameter("ns")
    except RequestInvalid:
        return ""
    return namespace if _NAMESPACE.match(namespace) else ""


def _body_to_send(request: Request, response: Response) -> Body:
    body = response.body if isinstance(response.body, Body) else Body([response.body])
    if request.method == "HEAD":
        body.close()
        body = Body([])
    body.witnesses, body.until = response.witnesses, response.until
    return body


def tell_of_cut(request: Request, error: Exception) -> None:
    """Log why an answer ends in the middle, unless nobody expected it: who sends it tells."""
    if explain(error).status == 500:
        return
    log.error("answer cut short", method=request.method, path=request.path, reason=str(error))
    raise ConnectionAbortedError("the application told why") from error


def _has(headers: Headers, name: str) -> bool:
    return any(n.lower() == name.lower() for n, _ in headers)
