"""What a client shows a registry: nothing until it is challenged, then a token or a password."""

from __future__ import annotations

import base64
import json
import re
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import urlencode

from loadtests.client.failures import Failure

TOKEN_LASTS_S = 60
"""Where a token server says nothing of it (the token specification's default)."""
SPENT = 0.9
"""A token is asked for again when so much of its time has passed."""


@dataclass(frozen=True, slots=True)
class Credentials:
    user: str
    password: str

    @property
    def basic(self) -> str:
        pair = f"{self.user}:{self.password}".encode()
        return f"Basic {base64.b64encode(pair).decode()}"


@dataclass(frozen=True, slots=True)
class Challenge:
    """A WWW-Authenticate header."""

    scheme: str
    parameters: Mapping[str, str]

    @classmethod
    def parse(cls, header: str) -> Challenge:
        scheme, _, rest = header.partition(" ")
        return cls(scheme.lower(), dict(re.findall(r'(\w+)="([^"]*)"', rest)))


@dataclass(frozen=True, slots=True)
class Token:
    value: str
    ends_s: float


Fetch = Callable[[str, Mapping[str, str]], bytes]
"""GETs an address with headers; raises Failure."""


class Access:
    """The Authorization header for each scope."""

    def __init__(self, credentials: Credentials | None, fetch: Fetch) -> None:
        self._credentials = credentials
        self._fetch = fetch
        self._challenge: Challenge | None = None
        self._tokens: dict[str, Token] = {}
        self._lock = threading.Lock()

    def header(self, scope: str) -> str | None:
        """Return what to send; of several that need the same new token, one asks for it."""
        if self._challenge is None or not scope:
            return None
        if self._challenge.scheme == "basic":
            return self._credentials.basic if self._credentials else None
        with self._lock:
            token = self._tokens.get(scope)
            if token is None or token.ends_s <= time.monotonic():
                self._tokens[scope] = token = self._ask(self._challenge, scope)
        return f"Bearer {token.value}"

    def refused(self, challenges: Sequence[str], scope: str, shown: str | None) -> None:
        """Learn from an answer 401; what was shown is not shown again."""
        parsed = [Challenge.parse(challenge) for challenge in challenges]
        known = [one for one in parsed if one.scheme in ("bearer", "basic")]
        if not known:
            raise Failure(f"401 without a challenge that is known: {list(challenges)}")
        with self._lock:
            self._challenge = next((one for one in known if one.scheme == "bearer"), known[0])
            token = self._tokens.get(scope)
            if token is not None and shown == f"Bearer {token.value}":
                del self._tokens[scope]

    def _ask(self, challenge: Challenge, scope: str) -> Token:
        query = {"scope": scope}
        if "service" in challenge.parameters:
            query["service"] = challenge.parameters["service"]
        headers = {}
        if self._credentials is not None:
            query["account"] = self._credentials.user
            headers["Authorization"] = self._credentials.basic
        realm = challenge.parameters.get("realm", "")
        asked_s = time.monotonic()
        content = self._fetch(f"{realm}{'&' if '?' in realm else '?'}{urlencode(query)}", headers)
        return parse_token(content, asked_s)


def parse_token(content: bytes, asked_s: float) -> Token:
    try:
        answer = json.loads(content)
        value = answer.get("token") or answer["access_token"]
        lasts_s = float(answer.get("expires_in") or TOKEN_LASTS_S)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise Failure("the token server's answer has no token") from error
    return Token(str(value), asked_s + lasts_s * SPENT)


def pull_scope(name: str) -> str:
    return f"repository:{name}:pull"


def push_scope(name: str) -> str:
    return f"repository:{name}:pull,push"
