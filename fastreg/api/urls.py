"""Absolute and relative URLs that lead back to this registry, also through a proxy.

From `http.host`, else `Forwarded` (RFC 7239), else `X-Forwarded-*`, else `Host`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlencode, urlsplit

from fastreg.api.http import Request

_HOST: Final = re.compile(r"(?:[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(?::(\d{1,5}))?\Z", re.ASCII)
_PREFIX: Final = re.compile(r"(?:/[A-Za-z0-9._~-]+)+\Z", re.ASCII)
_FORWARDED: Final = re.compile(r'(?:^|[;,\s])(host|proto)\s*=\s*"?([^";,\s]+)"?', re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class UrlBuilder:
    host: str = ""
    """`http.host`: the URL that clients see; wins over every header. A path in it is all
    that stands before `/v2/`, as in the reference registry."""
    relative: bool = False
    prefix: str = "/"

    def path(self, request: Request, path: str, **query: str | int) -> str:
        """Return the path, below the prefixes, with its query."""
        base = self._above(request) + path
        return f"{base}?{urlencode(query)}" if query else base

    def url(self, request: Request, path: str, **query: str | int) -> str:
        """Return where a client finds `path`: a path alone when `http.relativeurls`."""
        if self.relative:
            return self.path(request, path, **query)
        if self.host:
            host = urlsplit(self.host)
            return f"{host.scheme}://{host.netloc}{self.path(request, path, **query)}"
        return _origin(request) + self.path(request, path, **query)

    def _above(self, request: Request) -> str:
        if self.host:
            return urlsplit(self.host).path.rstrip("/") or self.prefix.rstrip("/")
        outer = request.header("X-Forwarded-Prefix").rstrip("/")
        return (outer if _PREFIX.match(outer) else "") + self.prefix.rstrip("/")


def _origin(request: Request) -> str:
    forwarded = {
        name.lower(): value
        for name, value in reversed(_FORWARDED.findall(request.header("Forwarded")))
    }
    scheme = forwarded.get("proto") or _first(request, "X-Forwarded-Proto")
    if scheme.lower() not in ("http", "https"):
        scheme = request.environ.get("wsgi.url_scheme", "http")
    host = forwarded.get("host") or _forwarded_host(request)
    if not _is_host(host):
        host = request.environ.get("HTTP_HOST", "")
    if not _is_host(host):
        return ""
    return f"{scheme.lower()}://{host}"


def _is_host(text: str) -> bool:
    match = _HOST.match(text)
    return match is not None and int(match[1] or 0) < 65536


def _forwarded_host(request: Request) -> str:
    host, port = _first(request, "X-Forwarded-Host"), _first(request, "X-Forwarded-Port")
    has_port = re.search(r":\d+\Z", host)
    return f"{host}:{port}" if host and port.isdecimal() and not has_port else host


def _first(request: Request, name: str) -> str:
    return request.header(name).partition(",")[0].strip()
