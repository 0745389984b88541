"""One request on its way through the proxy, and what can be done with it."""

from __future__ import annotations

import http.client
import os
import socket
import struct
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from typing import Protocol

from tests.faulty.seen import Seen

PIECE_BYTES = 64 << 10
TIMEOUT_S = 60
NO_LINGER = struct.pack("ii", 1, 0)


class Way(Protocol):
    """Where the request comes through."""

    account: tuple[str, int]

    def wait_for_the_end(self) -> None: ...


@dataclass
class Answer:
    """The account's answer, its head read; `read` gives the body."""

    status: int
    reason: str
    headers: list[tuple[str, str]]
    read: Callable[[int], bytes]


@dataclass
class Exchange:
    """One request, to be brought to an end by passing it on or by something worse."""

    way: Way
    handler: BaseHTTPRequestHandler
    seen: Seen
    body: bytes
    opened: list[http.client.HTTPConnection] = field(default_factory=list)

    def forward(self) -> Answer:
        """Send the request to the account and return its answer."""
        upstream = http.client.HTTPConnection(*self.way.account, timeout=TIMEOUT_S)
        self.opened.append(upstream)
        upstream.putrequest(
            self.handler.command, self.handler.path, skip_host=True, skip_accept_encoding=True
        )
        for name, value in self.handler.headers.items():
            upstream.putheader(name, value)
        upstream.endheaders(self.body or None)
        response = upstream.getresponse()

        def read(max_bytes: int) -> bytes:
            data = response.read1(max_bytes)
            self.seen.fetched_bytes += len(data)
            return data

        return Answer(response.status, response.reason, response.getheaders(), read)

    def deliver(self) -> Answer:
        """Have the account carry the request out, its answer read to the end."""
        answer = self.forward()
        while answer.read(PIECE_BYTES):
            pass
        return answer

    def pass_on(self) -> None:
        """What happens without a fault."""
        self.send(self.forward())

    def send(self, answer: Answer, *, until: int | None = None, pause_s: float = 0) -> None:
        """Give the client the answer; with `until`, reset after that many bytes of the body."""
        is_chunked = self._send_head(answer)
        while until is None or self.seen.sent_bytes < until:
            left = PIECE_BYTES if until is None else until - self.seen.sent_bytes
            data = answer.read(min(left, PIECE_BYTES))
            if not data:
                break
            self._write(b"%x\r\n%s\r\n" % (len(data), data) if is_chunked else data)
            self.seen.sent_bytes += len(data)
            time.sleep(pause_s)
        if until is not None and self.seen.sent_bytes >= until:
            self.reset()
        elif is_chunked:
            self._write(b"0\r\n\r\n")

    def _send_head(self, answer: Answer) -> bool:
        self.seen.status = answer.status
        lines = [f"HTTP/1.1 {answer.status} {answer.reason}"]
        lines += [f"{name}: {value}" for name, value in answer.headers]
        self._write("\r\n".join([*lines, "", ""]).encode())
        names = {name.lower(): value for name, value in answer.headers}
        return names.get("transfer-encoding") == "chunked" and self.seen.method != "HEAD"

    def _write(self, data: bytes) -> None:
        self.handler.wfile.write(data)

    def answer(self, status: int, code: str, headers: Mapping[str, str] | None = None) -> None:
        """Answer as the account would, with an error's code."""
        error = f"<Error><Code>{code}</Code><Message>{code}, by the proxy.</Message></Error>"
        head = {"Content-Type": "application/xml", "x-ms-error-code": code}
        self.say(
            status, f'<?xml version="1.0" encoding="utf-8"?>{error}', head | dict(headers or {})
        )

    def say(self, status: int, body: str, headers: Mapping[str, str]) -> None:
        """Answer whatever it is."""
        pieces = iter([b"" if self.seen.method == "HEAD" else body.encode()])
        head = {"Content-Length": str(len(body))} | dict(headers)
        self.send(Answer(status, "By The Proxy", list(head.items()), lambda _: next(pieces, b"")))

    def reset(self) -> None:
        """End the connection as a machine does that knows nothing of it."""
        self.handler.close_connection = True
        self.handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, NO_LINGER)
        os.close(self.handler.connection.detach())
