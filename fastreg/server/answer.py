"""One answer, from the application's `start_response` to its last byte on the wire.

Head and first bytes leave together; the length that was announced is the length sent, or
the connection is cut. Validating headers and closing the result is `gevent.pywsgi`'s.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from email.utils import formatdate
from itertools import chain
from typing import Any, Final

from gevent.pywsgi import WSGIHandler

from fastreg.server.sending import (
    Segment,
    Segments,
    segment_length,
    send_all,
    send_segments,
)
from fastreg.server.settings import Settings

_COPIED_WITH_HEAD: Final = 64 << 10


class Answer(WSGIHandler):
    """The half of a connection that sends."""

    settings: Settings
    # What the parent keeps in these is bytes.
    status: bytes  # type: ignore[assignment]
    response_headers: list[tuple[bytes, bytes]]  # type: ignore[assignment]
    _orig_status: str | None
    _unsent_head = b""

    def can_keep_alive(self) -> bool:
        """Tell whether the next request can be found on this connection."""
        raise AssertionError("the connection knows")

    def publish(self, head: bytes) -> None:
        """Take note of an answer's head before it is sent; the whole of it is in `result`."""
        raise AssertionError("the connection knows")

    def _forget_answer(self) -> None:
        self.result = None
        self.status = b""
        self._orig_status = None
        self.code = 0
        self.response_headers = []
        self.headers_sent = self.response_use_chunked = False
        self.provided_content_length = None
        self.response_length = 0
        self._unsent_head = b""

    def start_response(self, status: str, headers: Any, exc_info: Any = None) -> Any:
        """WSGI's; a length on a bodyless answer is left out (RFC 9110, 8.6)."""
        if status[:3] in ("204", "304"):
            headers = [(k, v) for k, v in headers if k.lower() != "content-length"]
        return super().start_response(status, headers, exc_info)

    def process_result(self) -> None:
        """Send what the application returned."""
        result: Any = self.result
        if hasattr(result, "segments"):
            self._write_segments(result)
            return
        for data in self.result or ():
            if data:
                self.write(data)
            if self.headers_sent and self.command == "HEAD":
                break
        if not self.headers_sent:
            self.write(b"")
        if self.response_use_chunked:
            self._sendall(b"0\r\n\r\n")
        self._check_length()

    def _write_segments(self, result: Segments) -> None:
        if self.code in (204, 304):
            self.write(b"")
            return
        length = len(result)
        if self.provided_content_length is None:
            self.provided_content_length = str(length)
            self.response_headers.append((b"Content-Length", b"%d" % length))
        if self.command == "HEAD" or not length:
            self.write(b"")
            return
        if length != int(self.provided_content_length):
            raise self.ApplicationError("Content-Length is not the length of the segments")
        segments: Iterator[Segment] = filter(None, result.segments())
        first = next(segments, b"")  # before the head, which waits for it
        if isinstance(first, bytes) and len(first) == length:
            self.write(first)
            return
        self._prepare_head()
        self._send(self._counted(chain([first], segments)), length)

    def _counted(self, segments: Iterable[Segment]) -> Iterator[Segment]:
        for segment in segments:
            yield segment
            self.response_length += segment_length(segment)

    def _write_with_headers(self, data: bytes) -> None:
        self._prepare_head()
        if data and self.command != "HEAD":
            self._write(data)
        else:
            self._sendall(b"")

    def _write(self, data: bytes) -> None:
        announced = self.provided_content_length
        if announced is not None and self.response_length + len(data) > int(announced):
            raise self.ApplicationError("the body is longer than its Content-Length")
        if self.response_use_chunked:
            self._sendall(b"%x\r\n%b\r\n" % (len(data), data))
        else:
            self._sendall(data)
        self.response_length += len(data)

    def _sendall(self, data: bytes) -> None:
        if len(data) <= _COPIED_WITH_HEAD:
            send_all(self.socket, self._take_head() + data, self.settings.send_timeout_s)
        else:
            self._send([data], len(data))

    def _send(self, segments: Iterable[Segment], length: int) -> None:
        head = self._take_head()
        whole = chain([head], segments)
        send_segments(self.socket, whole, len(head) + length, self.settings.send_timeout_s)

    def _prepare_head(self) -> None:
        self.finalize_headers()
        if not self.can_keep_alive():
            self.close_connection = True
        lines = [b"HTTP/1.1 " + self.status]
        lines += [
            b"%b: %b" % (k, v) for k, v in self.response_headers if k.lower() != b"connection"
        ]
        if self.close_connection:
            lines.append(b"Connection: close")
        elif self.request_version == "HTTP/1.0":
            lines.append(b"Connection: keep-alive")
        self._unsent_head = b"\r\n".join([*lines, b"", b""])
        self.headers_sent = True
        self.publish(self._unsent_head)

    def _take_head(self) -> bytes:
        head, self._unsent_head = self._unsent_head, b""
        return head

    def finalize_headers(self) -> None:
        """Add Date and the framing of the body."""
        if self.command == "HEAD":
            # The framing of the body that is not sent is the application's to know.
            if self.provided_date is None:
                self.response_headers.append((b"Date", formatdate(usegmt=True).encode()))
            return
        had_length = self.provided_content_length is not None
        super().finalize_headers()
        if not had_length and self.response_headers[-1][0] == b"Content-Length":
            self.provided_content_length = self.response_headers[-1][1].decode()
        elif not had_length and not self.response_use_chunked and self.code not in (204, 304):
            self.close_connection = True  # HTTP/1.0: only the end of the connection ends it

    def _check_length(self) -> None:
        announced = self.provided_content_length
        if announced is None or self.command == "HEAD" or self.code in (204, 304):
            return
        if self.response_length != int(announced):
            raise self.ApplicationError("the body is shorter than its Content-Length")
