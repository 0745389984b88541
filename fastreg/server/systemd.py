"""What systemd and its service tell each other: sd_listen_fds(3) and sd_notify(3).

Without systemd there are no variables and nothing happens.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Mapping
from typing import Final

from fastreg.server.listener import ListenError

_FIRST_FD: Final = 3


def listen_sockets(environ: Mapping[str, str]) -> list[socket.socket]:
    """Return the listening sockets that systemd passed to this process; none without it.

    They do not block and are not inherited over exec. Raises ListenError for a socket that
    is not of TCP.
    """
    if environ.get("LISTEN_PID") != str(os.getpid()):
        return []
    sockets = []
    for fd in range(_FIRST_FD, _FIRST_FD + int(environ.get("LISTEN_FDS", "0"))):
        os.set_inheritable(fd, False)
        sock = socket.socket(fileno=fd)
        if sock.family not in (socket.AF_INET, socket.AF_INET6):
            raise ListenError(f"cannot serve systemd's socket {fd - _FIRST_FD}: it is not TCP")
        sock.setblocking(False)
        sockets.append(sock)
    return sockets


class Notifier:
    """Tells systemd how the service is. A message that cannot be sent is lost: the service
    does not depend on it."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._address = environ.get("NOTIFY_SOCKET", "")
        if self._address.startswith("@"):
            self._address = "\0" + self._address[1:]
        is_ours = environ.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
        self._has_watchdog = is_ours and "WATCHDOG_USEC" in environ

    def ready(self) -> None:
        self._send("READY=1")

    def reloading(self) -> None:
        self._send(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def stopping(self) -> None:
        self._send("STOPPING=1")

    def alive(self) -> None:
        """To be told about every second, for a `WatchdogSec` of 2 and more."""
        if self._has_watchdog:
            self._send("WATCHDOG=1")

    def _send(self, state: str) -> None:
        if not self._address:
            return
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
            try:
                sock.sendto(state.encode(), socket.MSG_DONTWAIT, self._address)
            except OSError:
                pass  # systemd is not listening: nobody is told
