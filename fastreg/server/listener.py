"""Listening sockets from an address as people write it. Knows nothing of gevent."""

from __future__ import annotations

import errno
import os
import re
import socket
from typing import Any, Final

DEFAULT_BACKLOG: Final = 1024

_ADDRESS = re.compile(
    r"(?:\[(?P<v6>[0-9A-Fa-f:.%a-z]+)\]|(?P<host>[^\[\]:]*)):(?P<port>[0-9]{1,5})"
)
_ABSENT: Final = (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL)
"""What a machine without IPv6 says to an IPv6 address."""


class ListenError(Exception):
    """An address that cannot be listened on; one line that says what to do."""


def bind(address: str, backlog: int = DEFAULT_BACKLOG) -> list[socket.socket]:
    """Listen on `host:port`, `[v6]:port` or `:port` (every interface, IPv4 and IPv6).

    A name gets one socket for each of its addresses. The sockets do not block, and are
    not inherited over exec. Raises ListenError with nothing left open.
    """
    host, port = _parse(address)
    if host is None:
        return [_bind_everywhere(address, port, backlog)]
    sockets: list[socket.socket] = []
    refused: OSError | None = None
    for family, sockaddr in _resolve(address, host, port):
        if sockets and port == 0:
            # One port for all addresses, whichever the first was given.
            sockaddr = (sockaddr[0], sockets[0].getsockname()[1], *sockaddr[2:])
        try:
            sockets.append(_listen(family, sockaddr, backlog, dual_stack=False))
        except OSError as error:
            refused = error
            if error.errno not in _ABSENT:
                break
    if sockets and (refused is None or refused.errno in _ABSENT):
        return sockets
    for sock in sockets:
        sock.close()
    raise _explain(address, refused)


def _parse(address: str) -> tuple[str | None, int]:
    match = _ADDRESS.fullmatch(address.strip())
    if match is None or int(match["port"]) > 65535:
        raise ListenError(
            f"cannot listen on {address!r}: expected host:port, :port or [IPv6 address]:port"
        )
    return match["v6"] or match["host"] or None, int(match["port"])


def _resolve(address: str, host: str, port: int) -> list[tuple[int, tuple[Any, ...]]]:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except OSError as error:
        raise ListenError(
            f"cannot listen on {address}: {host!r} has no address here ({error.strerror})"
        ) from error
    # IPv4 first, and each once: a name may stand in /etc/hosts several times.
    return sorted({(int(entry[0]), entry[4]) for entry in found})


def _bind_everywhere(address: str, port: int, backlog: int) -> socket.socket:
    try:
        return _listen(socket.AF_INET6, ("::", port), backlog, dual_stack=True)
    except OSError as error:
        if error.errno not in _ABSENT:
            raise _explain(address, error) from error
    try:
        return _listen(socket.AF_INET, ("0.0.0.0", port), backlog, dual_stack=False)
    except OSError as error:
        raise _explain(address, error) from error


def _listen(
    family: int, sockaddr: tuple[Any, ...], backlog: int, *, dual_stack: bool
) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, not dual_stack)
        sock.bind(sockaddr)
        sock.listen(backlog)
        sock.setblocking(False)
    except OSError:
        sock.close()
        raise
    return sock


def _explain(address: str, error: OSError | None) -> ListenError:
    number = error.errno if error is not None else None
    if number == errno.EADDRINUSE:
        why = "the address is in use; stop the other program (`ss -ltnp` names it) or change it"
    elif number in (errno.EACCES, errno.EPERM):
        why = "not permitted; take a port above 1023 or grant CAP_NET_BIND_SERVICE"
    elif number == errno.EADDRNOTAVAIL:
        why = "no interface of this machine has that address"
    else:
        why = os.strerror(number) if number else "it has no address"
    return ListenError(f"cannot listen on {address}: {why}")
