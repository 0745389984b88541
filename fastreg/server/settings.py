"""What may be set about serving, and what is told to the outside.

Values only: every module of `server` may import this one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Settings:
    """Limits of one worker. The timeouts of bodies count waiting, not the whole."""

    head_timeout_s: float = 30.0
    """From a request's first byte (or the accept) to the end of its head."""
    idle_timeout_s: float = 75.0
    body_timeout_s: float = 60.0
    """The waiting within which a body must bring `body_pace_bytes`, or all that is left."""
    body_pace_bytes: int = 1024
    """Low enough for any line that works; a byte a minute would hold an upload for ever."""
    send_timeout_s: float = 120.0
    linger_timeout_s: float = 2.0
    """How long a connection that ends early may go on sending before it is cut."""
    linger_max_bytes: int = 1 << 20
    """How much such a connection may send."""
    small_rest_bytes: int = 64 << 10
    """An unread body with this much left or less is read to keep the connection."""
    max_connections: int = 50_000
    headers: tuple[tuple[str, str], ...] = ()
    """Of the answers that the server gives by itself."""
    drain_grace_s: float = 1.0
    """How long a drain waits for the next request of a connection that is in use."""


@dataclass(frozen=True, slots=True)
class AccessRecord:
    """One answered (or broken off) request."""

    remote_addr: str
    method: str
    target: str
    protocol: str
    status: int
    """0 when nothing was answered."""
    bytes_sent: int
    """Bytes of the body; head and framing not counted."""
    user_agent: str
    referer: str


class AccessLog(Protocol):
    def __call__(self, record: AccessRecord, /) -> None: ...

    def write_lines(self, lines: bytes, /) -> None:
        """Write whole lines in the Combined Log Format."""


class ErrorLog(Protocol):
    """Receives an event's name and its fields. Must not raise and must not block."""

    def __call__(self, event: str, fields: dict[str, object], /) -> None: ...


def no_error_log(event: str, fields: dict[str, object], /) -> None:
    """The `ErrorLog` that keeps nothing."""
