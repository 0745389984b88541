"""Requests to one registry: authorized, redirected, patient with a busy server, observed."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable, Iterator, Mapping
from http.client import HTTPException, IncompleteRead
from urllib.parse import urljoin

from loadtests.client.answers import Answer
from loadtests.client.auth import Access, Credentials
from loadtests.client.failures import Cut, Disconnected, Failure, Refused, Truncated, Unauthorized
from loadtests.client.wire import Body, Connections, Request, split

REDIRECTS = (301, 302, 303, 307, 308)
MAX_REDIRECTS = 5
BUSY = (429, 503)
MAX_WAITS = 3
MAX_WAIT_S = 10.0

Observe = Callable[[str, float, int, Exception | None], None]
"""(name of the request as "GET blob", seconds, bytes of the body, error)."""

NOTHING: Mapping[str, str] = {}


def ignore(name: str, seconds: float, size: int, error: Exception | None) -> None:
    """Observe nothing."""


class Calls:
    """What a registry is asked, each time with a name that begins with its method."""

    def __init__(
        self, base: str, credentials: Credentials | None, observe: Observe, connections: Connections
    ) -> None:
        self._base = base
        self._origin = split(base)[0]
        self._observe = observe
        self._connections = connections
        self._access = Access(credentials, self._fetch_token)

    @contextlib.contextmanager
    def call(
        self,
        name: str,
        target: str,
        scope: str = "",
        *,
        ok: tuple[int, ...] = (200,),
        headers: Mapping[str, str] = NOTHING,
        body: Body | None = None,
    ) -> Iterator[Answer]:
        """Ask for a target below the registry, or an address; raise Failure.

        It is observed once, when the context ends, with the bytes received or sent. What a
        redirection, a new token and waiting for a busy server take is part of its time.
        """
        origin = self._origin
        if not target.startswith("/"):
            origin, target = split(urljoin(self._base, target))
        request = Request(name.split()[0], origin, target, headers, body)
        begun_s, answer = time.perf_counter(), None

        def observe(error: Exception | None) -> None:
            size = body.sent_bytes if body else answer.received_bytes if answer else 0
            self._observe(name, time.perf_counter() - begun_s, size, error)

        try:
            with self._insist(request, scope) as answer:
                expect(answer, name, target, ok)
                yield answer
        except Cut:
            observe(None)
            raise
        except Exception as raised:
            error = as_failure(raised)
            observe(error)
            if error is raised:
                raise
            raise error from raised
        observe(None)

    def _insist(self, request: Request, scope: str) -> Answer:
        """Ask again, a few times, where a busy server says when."""
        for _ in range(MAX_WAITS):
            answer = self._authorized(request, scope)
            if answer.status not in BUSY or not (wait := answer.header("Retry-After")):
                return answer
            answer.end()
            time.sleep(min(float(wait) if wait.isdigit() else 1.0, MAX_WAIT_S))
        return self._authorized(request, scope)

    def _authorized(self, request: Request, scope: str) -> Answer:
        """Show what the registry wants to see; ask once more with what it challenges for."""
        shown = self._access.header(scope)
        answer = self._redirected(request, shown)
        if answer.status != 401 or not scope:
            return answer
        with contextlib.ExitStack() as ending:
            ending.push(answer)
            self._access.refused(answer.headers("WWW-Authenticate"), scope, shown)
            better = self._access.header(scope)
            if better is None or better == shown:
                ending.pop_all()
                return answer
            answer.content()
        return self._redirected(request, better)

    def _redirected(self, request: Request, authorization: str | None) -> Answer:
        """Follow redirections of what is read; only the registry sees the authorization."""
        for _ in range(MAX_REDIRECTS):
            answer = self._connections.ask(self._with(request, authorization))
            if answer.status not in REDIRECTS or request.method not in ("GET", "HEAD"):
                return answer
            with answer:
                answer.content()
            scheme, host, port = request.origin
            here = f"{scheme}://{host}:{port}{request.target}"
            origin, target = split(urljoin(here, answer.header("Location")))
            request = request._replace(origin=origin, target=target)
        raise Failure(f"redirected more than {MAX_REDIRECTS} times")

    def _with(self, request: Request, authorization: str | None) -> Request:
        if authorization is None or request.origin != self._origin:
            return request
        return request._replace(headers={**request.headers, "Authorization": authorization})

    def learn(self, answer: Answer) -> None:
        """Learn from an answer what the registry wants to see."""
        self._access.refused(answer.headers("WWW-Authenticate"), "", None)

    def _fetch_token(self, url: str, headers: Mapping[str, str]) -> bytes:
        with self.call("GET token", url, headers=headers) as answer:
            return answer.content()


def expect(answer: Answer, name: str, target: str, ok: tuple[int, ...]) -> None:
    if answer.status not in ok:
        kind = Unauthorized if answer.status == 401 else Refused
        raise kind(name, answer.status, error_code(answer), target.partition("?")[0])


def error_code(answer: Answer) -> str:
    """Return the code of an error in a registry's form, if it is one."""
    try:
        return str(json.loads(answer.content())["errors"][0]["code"])
    except (Failure, OSError, HTTPException, ValueError, LookupError, TypeError):
        return ""


def as_failure(error: Exception) -> Exception:
    """Return what the network did as a Failure, and anything else as it is."""
    if isinstance(error, IncompleteRead):
        return Truncated("the body ended between two chunks or in one")
    if isinstance(error, OSError | HTTPException):
        return Disconnected(f"{type(error).__name__}: {error}".rstrip(": "))
    return error
