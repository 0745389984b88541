"""A request's head: bytes in, a `Head` or a `BadHead` out. No I/O.

The rule: whatever two parsers could understand differently is refused, so that nothing
can be smuggled past a proxy in front (RFC 9112, sections 2.2, 3, 5 and 6).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final
from urllib.parse import unquote_to_bytes

MAX_REQUEST_LINE: Final = 8192
MAX_HEADER_SECTION: Final = 64 << 10
MAX_HEADERS: Final = 100

_TOKEN = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_CONTROL = re.compile(rb"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]|\r(?!\n)|(?<!\r)\n")
_TARGET = re.compile(rb"[\x21\x22\x24-\x7e]+")
_ABSOLUTE = re.compile(r"https?://([^/?]+)(/[^?]*)?(\?.*)?", re.IGNORECASE)
_VERSION = re.compile(rb"HTTP/[0-9]\.[0-9]")
_LENGTH = re.compile(r"[0-9]{1,18}")
_SINGLE: Final = frozenset(
    {
        *("host", "content-length", "content-type", "content-range", "range", "if-range"),
        *("authorization", "expect", "user-agent", "referer"),
    }
)
"""Headers that mean one thing: two of them are refused rather than joined."""


class BadHead(Exception):
    """A head that is not served: the status and the words to refuse it with."""

    def __init__(self, status: str, message: str, request_line: str = "") -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.request_line = request_line


@dataclass(frozen=True, slots=True)
class Head:
    method: str
    target: str
    """In origin form (or `*`), undecoded."""
    version: str
    headers: dict[str, str]
    """Lower-case names; repeated fields joined by `, `. No name has an underscore."""
    content_length: int | None
    is_chunked: bool

    @property
    def expects_continue(self) -> bool:
        return "expect" in self.headers and self.version != "HTTP/1.0"

    @property
    def keeps_alive(self) -> bool:
        options = {word.strip() for word in self.headers.get("connection", "").lower().split(",")}
        if self.version == "HTTP/1.0":
            return "keep-alive" in options and "close" not in options
        return "close" not in options

    def environ(self) -> dict[str, str]:
        """Return what the head says, in CGI's names (PEP 3333)."""
        path, _, query = self.target.partition("?")
        environ = {
            "REQUEST_METHOD": self.method,
            "RAW_URI": self.target,
            "PATH_INFO": unquote_to_bytes(path).decode("latin-1") if "%" in path else path,
            "QUERY_STRING": query,
            "SERVER_PROTOCOL": self.version,
        }
        for name, value in self.headers.items():
            environ["HTTP_" + name.replace("-", "_").upper()] = value
        for name in ("CONTENT_TYPE", "CONTENT_LENGTH"):
            if "HTTP_" + name in environ:
                environ[name] = environ.pop("HTTP_" + name)
        return environ


def parse_head(raw: bytes) -> Head:
    """Parse a head, the empty line at its end left off. Raises BadHead."""
    line, _, section = raw.partition(b"\r\n")
    if _CONTROL.search(raw) or b"\t" in line:
        raise BadHead("400 Bad Request", "control character or bare line ending in the head")
    shown = line[:200].decode("latin-1")
    try:
        method, target, version = _parse_request_line(line)
        headers = _parse_headers(section)
        return _check(method, target, version, headers)
    except BadHead as bad:
        bad.request_line = shown
        raise


def check_growing(buffer: bytes, ends_at: int) -> None:
    """Raise BadHead as soon as the head in `buffer` cannot become a good one.

    `ends_at` is where the head ends, -1 while that is not known.
    """
    line_end = buffer.find(b"\r\n", 0, MAX_REQUEST_LINE + 2)
    if line_end < 0 and len(buffer) > MAX_REQUEST_LINE:
        raise BadHead("414 URI Too Long", f"the request line exceeds {MAX_REQUEST_LINE} bytes")
    section_end = ends_at if ends_at >= 0 else len(buffer)
    if line_end >= 0 and section_end - line_end > MAX_HEADER_SECTION:
        raise BadHead(
            "431 Request Header Fields Too Large",
            f"the header section exceeds {MAX_HEADER_SECTION} bytes",
        )
    if not _TOKEN.match(buffer):
        raise BadHead("400 Bad Request", "this is not HTTP (TLS on a plain port?)")


def _parse_request_line(line: bytes) -> tuple[str, str, str]:
    words = line.split(b" ")
    if len(words) == 2:
        raise BadHead("400 Bad Request", "HTTP/0.9 is not spoken here")
    if len(words) != 3:
        raise BadHead("400 Bad Request", "the request line is not: method, target, version")
    method, target, version = words
    if not _TOKEN.fullmatch(method) or not _TARGET.fullmatch(target):
        raise BadHead("400 Bad Request", "the method or the target has characters out of place")
    if not _VERSION.fullmatch(version):
        raise BadHead("400 Bad Request", "the request line does not end in an HTTP version")
    if version not in (b"HTTP/1.1", b"HTTP/1.0"):
        raise BadHead("505 HTTP Version Not Supported", "HTTP/1.1 and HTTP/1.0 are spoken here")
    return method.decode(), target.decode(), version.decode()


def _parse_headers(section: bytes) -> dict[str, str]:
    lines = section.split(b"\r\n") if section else []
    if len(lines) > MAX_HEADERS:
        raise BadHead("431 Request Header Fields Too Large", f"more than {MAX_HEADERS} headers")
    headers: dict[str, str] = {}
    for line in lines:
        raw_name, colon, raw_value = line.partition(b":")
        if not colon or not _TOKEN.fullmatch(raw_name):
            raise BadHead("400 Bad Request", "a header line is folded or its name is not a token")
        if b"_" in raw_name:
            continue  # would look like the same name with a hyphen in the environ
        name, value = raw_name.decode().lower(), raw_value.strip(b" \t").decode("latin-1")
        if name not in headers:
            headers[name] = value
        elif name in _SINGLE:
            raise BadHead("400 Bad Request", f"several {name} headers")
        else:
            headers[name] += ("; " if name == "cookie" else ", ") + value
    headers.pop("proxy", None)  # HTTP_PROXY would be taken for a setting (CVE-2016-5385)
    return headers


def _check(method: str, target: str, version: str, headers: dict[str, str]) -> Head:
    if not target.startswith("/"):
        target = _origin_form(method, target, headers)
    if version == "HTTP/1.1" and "host" not in headers:
        raise BadHead("400 Bad Request", "HTTP/1.1 needs a Host header")
    if headers.get("expect", "100-continue").lower() != "100-continue":
        raise BadHead("417 Expectation Failed", "only 100-continue can be expected")
    length = headers.get("content-length")
    is_chunked = _is_chunked(version, headers)
    if length is not None and not _LENGTH.fullmatch(length):
        raise BadHead("400 Bad Request", "Content-Length is not a number of bytes")
    return Head(
        method, target, version, headers, None if length is None else int(length), is_chunked
    )


def _is_chunked(version: str, headers: dict[str, str]) -> bool:
    coding = headers.get("transfer-encoding")
    if coding is None:
        return False
    if "content-length" in headers:
        raise BadHead("400 Bad Request", "both Content-Length and Transfer-Encoding")
    if version == "HTTP/1.0":
        raise BadHead("400 Bad Request", "Transfer-Encoding in HTTP/1.0")
    if coding.lower() != "chunked":
        raise BadHead("501 Not Implemented", "the only transfer encoding known is chunked")
    return True


def _origin_form(method: str, target: str, headers: dict[str, str]) -> str:
    """Turn an absolute target into path and query; its authority beats Host (RFC 9112, 3.2.2)."""
    if target == "*" and method == "OPTIONS":
        return target
    absolute = _ABSOLUTE.fullmatch(target)
    if absolute is None:
        raise BadHead("400 Bad Request", "the target is neither a path nor an http URL")
    if "host" in headers:
        headers["host"] = absolute[1]
    return (absolute[2] or "/") + (absolute[3] or "")
