"""How the SDK's requests get to Azure: by connections that urllib3 keeps.

The SDK's own way there costs a millisecond more of every request, two copies of what is
read, and asks again by itself, after a second's sleep, where an answer was cut short.
"""

from __future__ import annotations

import json
import ssl
from collections.abc import Iterator, MutableMapping
from typing import Any, Final
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import urllib3
from azure.core.exceptions import AzureError, HttpResponseError
from azure.core.pipeline.transport import HttpTransport
from azure.core.rest import HttpRequest, HttpResponse
from urllib3.exceptions import (
    ConnectTimeoutError,
    HTTPError,
    NameResolutionError,
    ProxyError,
    ReadTimeoutError,
)
from urllib3.util import parse_url

_CONNECTIONS: Final = 96
"""Kept open: as many as wait for Azure at once, and those of transfers."""
_CONNECT_TIMEOUT_S: Final = 10
_SENT_BYTES: Final = 256 << 10
"""Of a body at once: the timeout is for each piece."""


class Unreachable(AzureError):
    """No answer came, or not all of it: whether the request took effect is unknown."""

    def __init__(self, request: HttpRequest, cause: HTTPError) -> None:
        super().__init__(_reason(urlsplit(request.url).netloc, cause))
        self.is_for_good = "CERTIFICATE_VERIFY_FAILED" in str(cause)
        """Trying again cannot help."""


class Transport(HttpTransport[HttpRequest, HttpResponse]):
    """The way to one account. Goes through the proxy that the environment names; trusts whom
    the system trusts, or everyone. Gives up after `timeout_s` without a byte."""

    def __init__(self, url: str, *, verify_tls: bool, timeout_s: float) -> None:
        timeout = urllib3.Timeout(connect=min(timeout_s, _CONNECT_TIMEOUT_S), read=timeout_s)
        options: dict[str, Any] = {
            "maxsize": _CONNECTIONS,
            "timeout": timeout,
            "retries": False,
            "blocksize": _SENT_BYTES,
        }
        if url.startswith("https:"):
            options["ssl_context"] = _trust(verify_tls)
        proxy = _proxy_of(url)
        self._pool = (
            urllib3.ProxyManager(proxy, proxy_headers=_credentials_of(proxy), **options)
            if proxy
            else urllib3.PoolManager(**options)
        )

    def send(self, request: HttpRequest, *, stream: bool = False, **kwargs: Any) -> HttpResponse:
        try:
            raw = self._pool.urlopen(
                request.method,
                request.url,
                redirect=False,
                body=_in_pieces(request),
                headers=request.headers,
                preload_content=False,
                decode_content=False,
            )
        except HTTPError as error:
            raise Unreachable(request, error) from error
        response = Response(request, raw)
        if not stream:
            response.read()
        return response

    def open(self) -> None:
        pass

    def close(self) -> None:
        pools = self._pool.pools
        for key in pools.keys():  # noqa: SIM118 - it has no iterator
            pools[key].close()

    def __exit__(self, *exc: object) -> None:
        self.close()


class Response(HttpResponse):
    """An answer of which the body may still be under way."""

    def __init__(self, request: HttpRequest, raw: urllib3.BaseHTTPResponse) -> None:
        self._request = request
        self._raw = raw
        self._encoding: str | None = None
        self._content: bytes | None = None
        self.is_read = False

    @property
    def _body(self) -> bytes:
        # No cached_property: in Python 3.11 that is one lock for all answers there are.
        if self._content is None:
            self._content = self._receive()
        return self._content

    def _receive(self) -> bytes:
        self.is_read = True
        try:
            # With the length, all of it is read into one piece.
            return b"".join(self._raw.stream(self._raw.length_remaining or _SENT_BYTES))
        except HTTPError as error:
            raise Unreachable(self._request, error) from error
        finally:
            self._raw.release_conn()

    def read(self) -> bytes:
        return self._body

    def iter_raw(self, **kwargs: Any) -> Iterator[bytes]:
        yield self._body

    iter_bytes = iter_raw

    # The storage SDK knows an answer by these two names as well.

    def body(self) -> bytes:
        return self._body

    def stream_download(self, pipeline: object, **kwargs: Any) -> Download:
        return Download(self)

    @property
    def content(self) -> bytes:
        return self._body

    def text(self, encoding: str | None = None) -> str:
        return self._body.decode(encoding or self._encoding or "utf-8-sig", "replace")

    def json(self) -> Any:
        return json.loads(self.text())

    @property
    def request(self) -> HttpRequest:
        return self._request

    @property
    def url(self) -> str:
        return self._request.url

    @property
    def status_code(self) -> int:
        return self._raw.status

    @property
    def reason(self) -> str:
        return self._raw.reason or ""

    @property
    def headers(self) -> MutableMapping[str, str]:
        return self._raw.headers

    @property
    def content_type(self) -> str | None:
        return self.headers.get("Content-Type")

    @property
    def encoding(self) -> str | None:
        return self._encoding

    @encoding.setter
    def encoding(self, value: str | None) -> None:
        self._encoding = value

    @property
    def is_closed(self) -> bool:
        return self.is_read

    @property
    def is_stream_consumed(self) -> bool:
        return self.is_read

    def raise_for_status(self) -> None:
        if self.status_code >= 400:
            raise HttpResponseError(response=self)

    def close(self) -> None:
        self._raw.close()

    def __enter__(self) -> Response:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


class Download:
    """A body as the SDK's downloads take it, which put notes of their own on it."""

    def __init__(self, response: Response) -> None:
        self.response = response
        self.content_length = int(response.headers.get("Content-Length", 0))

    def __iter__(self) -> Iterator[bytes]:
        yield self.response.read()


def _in_pieces(request: HttpRequest) -> Any:
    """Return a block's bytes one piece after the other; any other body as it is."""
    body = request.content
    if not isinstance(body, memoryview) or "Content-Length" not in request.headers:
        return body
    return (body[at : at + _SENT_BYTES] for at in range(0, len(body), _SENT_BYTES))


def _reason(host: str, error: HTTPError) -> str:
    """Return what happened, without the URL: that may be signed."""
    origin: BaseException = error
    while inner := origin.__cause__ or origin.__context__:
        origin = inner
    why = getattr(origin, "strerror", None) or str(origin) or type(origin).__name__
    if isinstance(error, NameResolutionError):
        return f"the name {host} does not resolve"
    if isinstance(origin, ssl.SSLCertVerificationError):
        return f"the certificate of {host} is not trusted: {origin.verify_message}"
    if isinstance(error, ProxyError):
        return f"the proxy on the way to {host} cannot be used: {why}"
    if isinstance(error, ConnectTimeoutError):  # refusals are such, too
        return f"{host} cannot be reached: {why}"
    if isinstance(error, ReadTimeoutError):
        return f"{host} does not answer"
    return f"the connection to {host} broke: {why}"


def _trust(verify_tls: bool) -> ssl.SSLContext:
    context = ssl.create_default_context()
    if not verify_tls:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def _proxy_of(url: str) -> str | None:
    """Return the environment's proxy for the URL; none leads back to this machine."""
    parts = urlsplit(url)
    is_here = parts.hostname in ("localhost", "127.0.0.1", "::1")
    return None if is_here or proxy_bypass(parts.netloc) else getproxies().get(parts.scheme)


def _credentials_of(proxy: str) -> dict[str, str] | None:
    named = parse_url(proxy).auth
    return urllib3.make_headers(proxy_basic_auth=named) if named else None
