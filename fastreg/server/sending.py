"""Bytes and file segments onto a non-blocking socket.

A timeout counts from the last byte the client took. Failures are `ClientGone` (nobody's
fault) or `FileTruncated` (the answer cannot be finished: the connection must be cut).
"""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence
from socket import MSG_MORE
from typing import Final

import gevent
from gevent.socket import socket as GeventSocket
from gevent.socket import wait_write

from fastreg.fastlane import is_resident
from fastreg.server.offloop import read_in_thread

WINDOW: Final = 1 << 20
_SCRATCH: Final = 256 << 10

Segment = bytes | tuple[int, int, int]
"""Bytes, or (fd, offset, length)."""


class ClientGone(ConnectionError):
    """The client left, or stopped taking bytes."""


class FileTruncated(Exception):
    """A file ended before the announced length."""


def send_all(sock: GeventSocket, data: bytes, timeout_s: float, flags: int = 0) -> None:
    """Send `data` whole. Raises ClientGone."""
    sock.settimeout(timeout_s)
    view = memoryview(data)
    try:
        sent = sock.send(view, flags)
        while sent < len(view):
            sent += sock.send(view[sent:], flags)
    except OSError as error:
        raise ClientGone(str(error)) from error


def segments_length(segments: Sequence[Segment]) -> int:
    """Return how many bytes the segments are."""
    return sum(len(s) if isinstance(s, bytes) else s[2] for s in segments)


def send_segments(sock: GeventSocket, segments: Sequence[Segment], timeout_s: float) -> None:
    """Send all segments. Raises ClientGone and FileTruncated."""
    last = len(segments) - 1
    for number, segment in enumerate(segments):
        if isinstance(segment, bytes):
            send_all(sock, segment, timeout_s, 0 if number == last else MSG_MORE)
        else:
            send_file(sock, *segment, timeout_s)


def send_file(sock: GeventSocket, fd: int, offset: int, length: int, timeout_s: float) -> None:
    """Send `length` bytes of an open file. The loop never waits for the disk.

    Window by window: what is not in the page cache is read by a thread first. After a
    window the other connections get their turn, however fast this client is.
    """
    end = offset + length
    while offset < end:
        window = min(WINDOW, end - offset)
        if not is_resident(fd, offset, window):
            read_in_thread(load, fd, offset, window, min(WINDOW, end - offset - window))
        _send_window(sock, fd, offset, window, timeout_s)
        offset += window
        if offset < end:
            gevent.sleep(0)


def _send_window(sock: GeventSocket, fd: int, offset: int, length: int, timeout_s: float) -> None:
    out = sock.fileno()
    end = offset + length
    while offset < end:
        try:
            sent = os.sendfile(out, fd, offset, end - offset)
        except BlockingIOError:
            try:
                wait_write(out, timeout_s)
            except OSError as error:
                raise ClientGone(str(error)) from error
            continue
        except (ConnectionError, TimeoutError) as error:
            raise ClientGone(str(error)) from error
        if sent == 0:
            raise FileTruncated(f"the file ends at {offset}, announced were {end - offset} more")
        offset += sent


def load(fd: int, offset: int, length: int, ahead: int) -> None:
    """Bring a window into the page cache, and ask for `ahead` bytes after it. Blocks."""
    os.posix_fadvise(fd, offset, length + ahead, os.POSIX_FADV_WILLNEED)
    end = offset + length
    while offset < end:
        count = os.preadv(fd, [memoryview(_scratch())[: end - offset]], offset)
        if count == 0:
            return  # shorter than announced; sendfile finds out
        offset += count


_thread = threading.local()


def _scratch() -> bytearray:
    """Return a buffer of the calling thread's own, whose content nobody looks at."""
    if not hasattr(_thread, "scratch"):
        _thread.scratch = bytearray(_SCRATCH)
    scratch: bytearray = _thread.scratch
    return scratch
