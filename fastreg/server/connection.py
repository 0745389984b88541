"""One client's connection, for as long as a request needs more than the lane.

Read `handle` and `handle_one_request` first: they are the whole life.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
import traceback
from typing import Any, Final, Literal, Protocol

from gevent.socket import socket as GeventSocket

from fastreg.fastlane import Handover, Lane
from fastreg.server.answer import Answer
from fastreg.server.body import Body
from fastreg.server.head import BadHead, Head, parse_head
from fastreg.server.inbound import Inbound
from fastreg.server.patience import Deadline, Pace
from fastreg.server.refusal import render_refusal
from fastreg.server.sending import ClientGone, segments_length, send_all
from fastreg.server.settings import AccessLog, AccessRecord, ErrorLog, Settings

_CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"
_RESET_ON_CLOSE: Final = struct.pack("ii", 1, 0)


class Host(Protocol):
    """The server, as its connections know it."""

    settings: Settings
    application: Any
    access_log: AccessLog | None
    report: ErrorLog
    lane: Lane
    is_draining: bool

    def get_environ(self, listener: int, /) -> dict[str, Any]: ...
    def leave(self, connection: Connection, /) -> None: ...


class Connection(Answer):
    """Serves one request that the lane handed over, and gives the connection back to it."""

    server: Host  # type: ignore[assignment]

    def __init__(self, taken: Handover, server: Host) -> None:
        # Not the parent's: it would wrap the socket in a second buffer.
        self.socket = GeventSocket(socket.AF_INET, socket.SOCK_STREAM, 0, fileno=taken.fd)
        self.server = server
        self.settings = server.settings
        self.inbound = Inbound(self.socket, taken.data)
        self.remote_addr = taken.address
        self._listener = taken.listener
        self._head_deadline = Deadline(self.settings.head_timeout_s - taken.waited_s)
        self._lingers = False

    def handle(self) -> None:
        """Serve one request; raises nothing."""
        try:
            if self.handle_one_request():
                self._give_back()
            elif self._lingers:
                self._linger()
        except OSError:
            pass  # the client left: not an event
        finally:
            self.socket.close()
            self.server.leave(self)

    def _give_back(self) -> None:
        pending = bytes(self.inbound.take(self.inbound.pending))
        fd = self.socket.detach()
        try:
            self.server.lane.adopt(fd, self.remote_addr, self._listener, pending, True)
        except OSError:
            os.close(fd)  # no memory, or no descriptor to watch it with
            raise

    def handle_one_request(self) -> Literal[True] | None:
        """Answer a request; None when the connection must close."""
        self._forget_request()
        if not self.inbound.await_first_byte(self._head_deadline):
            return None
        try:
            self._read_head()
            self.run_application()
            self._settle_body()
        except BadHead as bad:
            self.requestline = bad.request_line
            self._refuse(bad.status, bad.message)
        except ClientGone:
            self._cut()
        except Exception as error:  # the connection's edge
            self._fail(error)
        finally:
            self._log_access()
        return None if self.close_connection else True

    # --- the request

    def _forget_request(self) -> None:
        self.head: Head | None = None
        self.body = Body(self.inbound, Deadline(0), None, 0)
        self.environ = None
        self.requestline = self.command = ""
        self.close_connection = False
        self._forget_answer()

    def _read_head(self) -> None:
        self._raw_head = self.inbound.read_head(self._head_deadline)
        self.head = head = parse_head(self._raw_head)
        self.command, self.request_version = head.method, head.version
        self.requestline = f"{head.method} {head.target} {head.version}"
        self.close_connection = not head.keeps_alive
        self.body = self._make_body(head)
        self.application = self.server.application
        self.environ = self.get_environ()

    def _make_body(self, head: Head) -> Body:
        pace = Pace(self.settings.body_timeout_s, self.settings.body_pace_bytes)
        length = None if head.is_chunked else head.content_length or 0
        send_continue = self._send_continue if head.expects_continue and length != 0 else None
        return Body(self.inbound, pace, send_continue, length)

    def get_environ(self) -> dict[str, Any]:
        """Return the WSGI environ; `RAW_URI` is the target before decoding."""
        assert self.head is not None
        environ = self.server.get_environ(self._listener)
        environ.update(self.head.environ())
        environ["REMOTE_ADDR"] = self.remote_addr
        environ["wsgi.input"] = self.body
        environ["wsgi.input_terminated"] = True
        return environ

    def _send_continue(self) -> None:
        if not self.headers_sent:
            send_all(self.socket, _CONTINUE, self.settings.send_timeout_s)

    def publish(self, head: bytes) -> None:
        """Let the lane give this answer to the same request again, if the application says
        what must hold for that."""
        result: Any = self.result
        witnesses = getattr(result, "witnesses", None)
        asked_to_close = self.head is not None and not self.head.keeps_alive
        if witnesses is None or self.close_connection != asked_to_close:
            return
        segments = [] if self.command == "HEAD" or self.code == 304 else result.files
        if segments is None:
            return  # not all of it is there yet
        if segments and str(segments_length(segments)) != self.provided_content_length:
            return
        request = self._raw_head + b"\r\n\r\n"
        self.server.lane.publish(request, head, segments, witnesses, result.until)

    # --- the end of a request

    def can_keep_alive(self) -> bool:
        return not self.server.is_draining and self._can_finish_body()

    def _can_finish_body(self) -> bool:
        """Tell whether what is unread of the body is worth reading for the next request."""
        if self.body.is_complete:
            return True
        left = self.body.left()
        return (
            left is not None
            and left <= self.settings.small_rest_bytes
            and self.body.failure is None
            and not self.body.awaits_continue
        )

    def _settle_body(self) -> None:
        if self.body.is_complete:
            self._lingers = self.close_connection and self.inbound.pending > 0
            return
        if self.close_connection or not self._can_finish_body():
            self.close_connection = True
            self._lingers = self.body.failure is None and not self.body.awaits_continue
            return
        try:
            self.body.read()
        except OSError:
            self.close_connection = True

    def _fail(self, error: Exception) -> None:
        failure = self.body.failure
        if self.head is None or (error is failure and isinstance(error, ConnectionResetError)):
            self._cut()
        elif error is failure and isinstance(error, TimeoutError):
            self._refuse("408 Request Timeout", "the body stopped arriving")
        elif isinstance(error, OSError) and error is failure and error.errno == errno.EBADMSG:
            self._refuse("400 Bad Request", str(error.strerror))
        elif isinstance(error, ConnectionAbortedError):
            self._refuse("503 Service Unavailable", "the answer cannot be brought to its end")
        else:
            text = "".join(traceback.format_exception(error))
            request = {"method": self.head.method, "target": self.head.target}
            self.server.report("request failed", {**request, "error": repr(error), "trace": text})
            self._refuse("500 Internal Server Error", "the request could not be served")

    def _refuse(self, status: str, detail: str) -> None:
        """Answer an error and close; just cut where an answer has begun."""
        self.close_connection = True
        if self.headers_sent:
            self._cut()
            return
        self._orig_status, self.headers_sent = status, True
        answer = render_refusal(status, detail, self.settings.headers)
        self.response_length = len(answer) - answer.index(b"\r\n\r\n") - 4
        try:
            send_all(self.socket, answer, self.settings.send_timeout_s)
        except ClientGone:
            return
        self._lingers = not self.body.awaits_continue

    def _cut(self) -> None:
        """Close such that no client takes what it got for the whole."""
        self.close_connection = True
        try:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
        except OSError:
            pass  # the client was faster

    def _linger(self) -> None:
        """Take a bounded amount of what the client still sends.

        To close at once would reset the connection, and the reset can overtake the answer.
        """
        self.socket.shutdown(socket.SHUT_WR)
        room = self.settings.linger_max_bytes
        deadline = Deadline(self.settings.linger_timeout_s)
        self.inbound.take(self.inbound.pending)
        while room > 0:
            room -= len(self.inbound.receive(64 << 10, deadline))

    def _log_access(self) -> None:
        log, head, status = self.server.access_log, self.head, self._orig_status
        if log is None or (head is None and status is None):
            return
        words = (self.requestline or "").split(" ")
        headers = head.headers if head is not None else {}
        log(
            AccessRecord(
                remote_addr=self.remote_addr,
                method=words[0],
                target=words[1] if len(words) > 1 else "",
                protocol=words[2] if len(words) > 2 else "",
                status=int(status[:3]) if status else 0,
                bytes_sent=self.response_length,
                user_agent=headers.get("user-agent", ""),
                referer=headers.get("referer", ""),
            )
        )
