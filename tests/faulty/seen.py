"""What a request to a storage account asks for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import parse_qs, unquote, urlsplit

_BY_COMP = {
    "block": "put block",
    "blocklist": "commit",
    "appendblock": "append",
    "copy": "abort copy",
    "metadata": "put metadata",
}


@dataclass
class Seen:
    """A request that arrived, and what became of it."""

    kind: str
    method: str
    key: str
    """Below the container."""
    headers: Mapping[str, str]
    """By names in lower case."""
    number: int = 0
    """Which of its kind, from 1."""
    status: int = 0
    """What the client was answered; 0 where it was not, or not yet."""
    sent_bytes: int = 0
    """Of the answer's body, to the client."""
    fetched_bytes: int = 0
    """Of the answer's body, by the account: what it would charge for."""
    is_over: bool = False
    """Nothing more will become of it."""

    @property
    def start(self) -> int:
        """Where the range begins that is asked for."""
        span = self.headers.get("x-ms-range") or self.headers.get("range", "bytes=0-")
        return int(span.removeprefix("bytes=").partition("-")[0])


def see(method: str, target: str, headers: Mapping[str, str]) -> Seen:
    """Tell what a request to `/account/container/key` asks for."""
    url = urlsplit(target)
    key = unquote(url.path.lstrip("/")).split("/", 2)[2:]
    query = {name: values[0] for name, values in parse_qs(url.query).items()}
    headers = {name.lower(): value for name, value in headers.items()}
    return Seen(_kind(method, query, headers), method, key[0] if key else "", headers)


def _kind(method: str, query: Mapping[str, str], headers: Mapping[str, str]) -> str:
    comp = query.get("comp", "")
    if "restype" in query:
        return "list" if comp == "list" else f"{method.lower()} {query['restype']}"
    if method != "PUT":
        return "get block list" if comp == "blocklist" else method.lower()
    if comp:
        return _BY_COMP.get(comp, comp)
    return "copy" if "x-ms-copy-source" in headers else "put"
