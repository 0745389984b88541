"""What can be wrong with what a registry answers."""

from __future__ import annotations


class Failure(Exception):
    """A request did not bring what it should have."""

    kind = ""
    """What it has in common with others, where the text has figures of its own."""


class Disconnected(Failure):
    """The connection was refused, reset, or silent for too long."""


class Refused(Failure):
    """The answer has another status than those that are expected."""

    def __init__(self, name: str, status: int, reason: str, target: str = "") -> None:
        asked = f"{name} of {target}" if target else name
        super().__init__(f"{asked} was answered {status} {reason}".rstrip())
        self.status = status
        self.kind = f"{name} was answered {status} {reason}".rstrip()


class Unauthorized(Refused):
    """The registry, or its token server, does not accept these credentials."""


class Truncated(Failure):
    """The connection ended in the middle of a body."""

    kind = "the body ended too early"


class WrongLength(Failure):
    """A body is longer or shorter than its descriptor says."""

    kind = "the body has another length than its descriptor says"


class WrongHeader(Failure):
    """Docker-Content-Digest is not the digest that was asked for."""


class DigestMismatch(Failure):
    """The bytes are not those of the digest."""

    kind = "the bytes are not those of the digest"


class Cut(Exception):
    """Not a failure: the client broke the connection on purpose."""
