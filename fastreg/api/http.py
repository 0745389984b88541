"""A request read from a WSGI environ, and the answer to it. No protocol of registries."""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Final, Protocol, TypeVar
from urllib.parse import parse_qsl

from fastreg.errors import BodyIncomplete, BodyTimeout, LengthRequired, RequestInvalid

T = TypeVar("T")
Headers = list[tuple[str, str]]
_MAX_QUERY_FIELDS: Final = 200
_ITERATE_BYTES: Final = 256 << 10
_NOT_THE_CLIENT: Final = (errno.EMFILE, errno.ENFILE, errno.ENOMEM)
"""What a server lacks for receiving: no 400, with which a client would give up."""


class RequestBody:
    """The body as a source of bytes; a client that fails raises the error it deserves.

    Not every WSGI server ends the body by itself: nothing is read past `length`.
    """

    def __init__(self, source: Any, length: int | None) -> None:
        self._source = source
        self._left = length

    def read(self, max_bytes: int, /) -> bytes:
        """Return 1..max_bytes bytes, b"" at the true end.

        Raises BodyTimeout and BodyIncomplete; nothing is made up for what did not come.
        """
        wanted = max_bytes if self._left is None else min(max_bytes, self._left)
        data: bytes = _receive(self._source.read, wanted) if wanted else b""
        if self._left is not None:
            if wanted and not data:
                raise BodyIncomplete(f"{self._left} bytes are missing")
            self._left -= len(data)
        return data


class PouringBody(RequestBody):
    """A body whose server can bring it into a file by itself, and knows where it ends."""

    def pour(self, sink: Any, max_bytes: int, /) -> int:
        """Pour up to `max_bytes` into the file of `sink`, and return how many. Raises as
        `read`; what the file does not take is told by `sink`."""
        count: int = _receive(self._source.pour, sink, max_bytes)
        if self._left is not None:
            self._left -= count
        return count


def _receive(receive: Callable[..., Any], *args: Any) -> Any:
    try:
        return receive(*args)
    except TimeoutError:
        raise BodyTimeout("send the body without pauses") from None
    except OSError as e:
        if e.errno in _NOT_THE_CLIENT:
            raise
        raise BodyIncomplete(e.strerror or str(e)) from None


class Request:
    def __init__(self, environ: Mapping[str, Any]) -> None:
        self.environ = environ
        self.method: str = environ["REQUEST_METHOD"]
        self.path: str = environ.get("PATH_INFO", "")

    @cached_property
    def body(self) -> RequestBody:
        source = self.environ["wsgi.input"]
        kind = PouringBody if hasattr(source, "pour") else RequestBody
        return kind(source, self.content_length)

    def header(self, name: str) -> str:
        """Return the header's value, several joined by commas, "" where there is none."""
        value: str = self.environ.get("HTTP_" + name.upper().replace("-", "_"), "")
        return value

    @property
    def content_type(self) -> str:
        value: str = self.environ.get("CONTENT_TYPE", "")
        return value

    @property
    def content_length(self) -> int | None:
        """The announced length; None for a chunked body. Raises RequestInvalid and
        LengthRequired."""
        text: str = self.environ.get("CONTENT_LENGTH") or ""
        if not text:
            if "HTTP_TRANSFER_ENCODING" not in self.environ:
                return 0
            if not self.environ.get("wsgi.input_terminated"):
                raise LengthRequired("this server does not tell where a chunked body ends")
            return None
        if not (text.isascii() and text.isdecimal() and len(text) < 19):
            raise RequestInvalid(f"Content-Length {text[:40]!r} is not a number")
        return int(text)

    @property
    def has_body(self) -> bool:
        return self.content_length != 0

    @cached_property
    def query(self) -> dict[str, list[str]]:
        try:
            pairs = parse_qsl(
                self.environ.get("QUERY_STRING", ""),
                keep_blank_values=True,
                max_num_fields=_MAX_QUERY_FIELDS,
            )
        except ValueError as e:
            raise RequestInvalid(f"query string: {e}") from None
        fields: dict[str, list[str]] = {}
        for name, value in pairs:
            fields.setdefault(name, []).append(value)
        return fields

    def parameter(self, name: str) -> str:
        """Return the query parameter's first value, "" where there is none."""
        return self.query.get(name, [""])[0]


Segment = bytes | tuple[int, int, int]
"""Bytes, or what a file has of them: (descriptor, offset, length)."""


class Readable(Protocol):
    """An open range of stored bytes, as the domain hands it out."""

    offset: int
    length: int

    def read(self, max_bytes: int) -> bytes: ...
    def fileno(self) -> int | None: ...
    def segments(self) -> Iterator[Segment]: ...
    def close(self) -> None: ...


Witness = tuple[bytes, int, int, int, int, int] | tuple[int, int, float]
"""A file and what identifies it: path, device, inode, mtime and ctime in ns, size. Or a counter,
its value, and until when it tells of every change."""


class Body:
    """Bytes and open ranges, one after the other: what the application returns.

    A server that knows `segments` sends the files' bytes without reading them, `len` of them
    in all; for any other this iterates to the same bytes. Whoever sends it calls `close`.
    """

    witnesses: tuple[Witness, ...] | None = None
    """Where not None, the answer is also that to every later request with the same method,
    target, `Authorization`, `If-None-Match` and `Range`, and without `If-Range`, as long as
    each of these files is there with this identity, and each counter has this value."""

    until: float | None = None
    """When the answer ends to be that all the same, on the clock of `time.monotonic`; None for
    never."""

    tell: Callable[[Exception], None] | None = None
    """Is told what reading raises, and may raise something else."""

    def __init__(self, pieces: list[bytes | Readable]) -> None:
        self._pieces = pieces

    def segments(self) -> Iterator[Segment]:
        """Yield the bytes in order, each piece when it is there. Raises what reading does:
        then the answer must not end as if whole. ConnectionAbortedError was told already."""
        return self._telling(self._segments())

    def _segments(self) -> Iterator[Segment]:
        for piece in self._pieces:
            if isinstance(piece, bytes):
                yield piece
            else:
                yield from piece.segments()

    def _telling(self, items: Iterator[T]) -> Iterator[T]:
        try:
            yield from items
        except Exception as error:
            if self.tell is not None:
                self.tell(error)
            raise

    @property
    def files(self) -> list[Segment] | None:
        """The same as a list, where all of it is there already; else None."""
        segments: list[Segment] = []
        for piece in self._pieces:
            if isinstance(piece, bytes):
                segments.append(piece)
            elif (fd := piece.fileno()) is not None:
                segments.append((fd, piece.offset, piece.length))
            elif piece.length:
                return None
        return segments

    def __len__(self) -> int:
        """Bytes of the whole body."""
        return sum(len(p) if isinstance(p, bytes) else p.length for p in self._pieces)

    def __iter__(self) -> Iterator[bytes]:
        return self._telling(self._bytes())

    def _bytes(self) -> Iterator[bytes]:
        for piece in self._pieces:
            if isinstance(piece, bytes):
                yield piece
                continue
            while data := piece.read(_ITERATE_BYTES):
                yield data

    def close(self) -> None:
        for piece in self._pieces:
            if not isinstance(piece, bytes):
                piece.close()


@dataclass(slots=True)
class Response:
    """`Content-Length` is the body's, unless the headers already say otherwise."""

    status: int
    headers: Headers = field(default_factory=list)
    body: bytes | Body = b""
    lasts: bool = False
    """Whether nothing decides it but what `Body.witnesses` names and what was read of the
    store."""
    witnesses: tuple[Witness, ...] | None = None
    until: float | None = None
    """See `Body`, for both."""
