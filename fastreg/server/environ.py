"""The part of the WSGI environ that every request of a listening socket shares (PEP 3333)."""

from __future__ import annotations

import io
import socket
from typing import Any

from fastreg.server.settings import ErrorLog


def base_environ(sock: socket.socket, report: ErrorLog) -> dict[str, Any]:
    """Return what does not depend on the request. No name is looked up for it."""
    host, port = sock.getsockname()[:2]
    return {
        "GATEWAY_INTERFACE": "CGI/1.1",
        "SCRIPT_NAME": "",
        "SERVER_NAME": host,
        "SERVER_PORT": str(port),
        "SERVER_SOFTWARE": "fastreg",
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": "http",
        "wsgi.errors": _ErrorStream(report),
        "wsgi.multithread": True,
        "wsgi.multiprocess": True,
        "wsgi.run_once": False,
    }


class _ErrorStream(io.TextIOBase):
    """`wsgi.errors`."""

    def __init__(self, report: ErrorLog) -> None:
        self._report = report

    def write(self, text: str, /) -> int:
        if text.strip():
            self._report("wsgi errors", {"text": text.rstrip()})
        return len(text)
