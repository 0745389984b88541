"""Bytes and file segments onto a non-blocking socket.

A timeout counts from the last byte the client took. Failures are `ClientGone` (nobody's
fault) or `WrongLength` (the answer cannot be finished: the connection must be cut).
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable, Iterator, Sequence
from socket import MSG_MORE
from typing import Final, Protocol

import gevent
from gevent.socket import socket as GeventSocket
from gevent.socket import wait_write

from fastreg.fastlane import is_resident
from fastreg.server.offloop import read_in_thread

WINDOW: Final = 1 << 20
_SCRATCH: Final = 256 << 10

_PACKET: Final = 1400
"""Less than this waits for what follows it, though no longer than the kernel lets it."""

Segment = bytes | tuple[int, int, int]
"""Bytes, or (fd, offset, length)."""


class Segments(Protocol):
    """What an application may return instead of an iterable of bytes."""

    def __len__(self) -> int:
        """Return how many bytes all segments are."""

    def segments(self) -> Iterator[Segment]:
        """Yield them in order, each when it is there."""


class ClientGone(ConnectionError):
    """The client left, or stopped taking bytes."""


class WrongLength(Exception):
    """There is less to send than announced, or more."""


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


def segment_length(segment: Segment) -> int:
    return len(segment) if isinstance(segment, bytes) else segment[2]


def segments_length(segments: Sequence[Segment]) -> int:
    """Return how many bytes the segments are."""
    return sum(map(segment_length, segments))


def send_segments(
    sock: GeventSocket, segments: Iterable[Segment], length: int, timeout_s: float
) -> None:
    """Send segments, `length` bytes in all, each when it comes. Raises ClientGone,
    WrongLength, and what the segments raise."""
    sent, next_turn = 0, WINDOW
    for segment in segments:
        size = segment_length(segment)
        sent += size
        if sent > length:
            raise WrongLength(f"more than the {length} bytes announced")
        if isinstance(segment, bytes):
            waits = size < _PACKET and sent < length
            send_all(sock, segment, timeout_s, MSG_MORE if waits else 0)
        else:
            send_file(sock, *segment, timeout_s)
        if next_turn <= sent < length:
            next_turn = sent + WINDOW
            gevent.sleep(0)
    if sent < length:
        raise WrongLength(f"{sent} bytes, announced were {length}")


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
            raise WrongLength(f"the file ends at {offset}, announced were {end - offset} more")
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
