"""The storage driver: bytes under keys, with the guarantees every driver gives.

A key is `/`-separated segments below the driver's root and passes `check_key` on its way
in. No call blocks the event loop: a driver that waits for a device does so through the
`OffLoop` that it was made with.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, NamedTuple, Protocol, TypeVar

from fastreg.storage.errors import InvalidKey

T = TypeVar("T")

ABSENT: Final = "absent"
"""The `if_version` of a put that must create: no version of any driver equals it."""

MAX_KEY_BYTES: Final = 3072
MAX_SEGMENT_BYTES: Final = 255
_SEGMENT = re.compile(r"[A-Za-z0-9._-]+\Z")
_COMMON_KEY = re.compile(
    r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,254}(?:/[A-Za-z0-9_-][A-Za-z0-9._-]{0,254})*\Z"
)
"""Keys without a segment that starts with a dot: all but a few, told in a fifth of the time."""


class OffLoop(Protocol):
    """Runs `fn(*args)` where blocking is allowed; returns or raises what it did. What `fn`
    hands over in turn runs where `fn` does: many steps in one call cost one change of place."""

    def __call__(self, fn: Callable[..., T], /, *args: Any) -> T: ...


def run_inline(fn: Callable[..., T], /, *args: Any) -> T:
    """The `OffLoop` of a program without an event loop."""
    return fn(*args)


def is_segment(name: str) -> bool:
    """Whether `name` can stand between two slashes of a key."""
    return (
        _SEGMENT.match(name) is not None
        and name not in (".", "..")
        and len(name) <= MAX_SEGMENT_BYTES
    )


def check_key(key: str) -> str:
    """Return `key`, or raise InvalidKey: the one gate that every key passes."""
    if len(key) > MAX_KEY_BYTES:
        raise InvalidKey(key[:80], f"longer than {MAX_KEY_BYTES} bytes")
    if _COMMON_KEY.match(key):
        return key
    for segment in key.split("/"):
        if not is_segment(segment):
            raise InvalidKey(key[:200], f"{segment[:80]!r} is not a valid key segment")
    return key


@dataclass(frozen=True, slots=True)
class Stat:
    size: int
    modified: float
    """Unix seconds."""
    version: str
    """Opaque; differs after every put under the same key."""


class Witness(NamedTuple):
    """A file, and the identity without which it is no longer what it was. A plain tuple for
    code that knows no driver."""

    path: bytes
    """Absolute; no longer than the system lets a path be."""
    device: int
    inode: int
    mtime_ns: int
    ctime_ns: int
    size: int


class Generation(NamedTuple):
    """A counter that every change of the object on this machine moves on, and how long
    changes made elsewhere need not be looked for."""

    counter: int
    """Its place in `Generations.memory`."""
    value: int
    until: float
    """On the clock of `time.monotonic`."""


Segment = bytes | tuple[int, int, int]
"""Bytes, or what a file has of them: (descriptor, offset, length)."""
_SEGMENT_BYTES: Final = 256 << 10


class Readable(AbstractContextManager["Readable"], ABC):
    """An open object, or a range of one. Reads what was there when it was opened, also
    after the key is deleted or replaced."""

    size: int
    """Bytes of the whole object, not of the range."""
    offset: int
    length: int
    """The range, cut to the object's end."""

    @abstractmethod
    def read(self, max_bytes: int) -> bytes:
        """Return the next 1..max_bytes bytes of the range, b"" at its end."""

    @abstractmethod
    def fileno(self) -> int | None:
        """The file descriptor whose bytes offset..offset+length are the range, for
        `sendfile`; None where no file has all of them yet. Closed by `close`."""

    def segments(self) -> Iterator[Segment]:
        """Yield the range in order, each piece when it is there; nothing was `read` before,
        nothing is after. Waits between, without blocking the event loop. Raises StorageError
        where it cannot be brought to its end."""
        fd = self.fileno()
        if fd is not None:
            yield fd, self.offset, self.length
        else:
            yield from iter(partial(self.read, _SEGMENT_BYTES), b"")

    @abstractmethod
    def close(self) -> None:
        """Release the object; closing twice is fine."""

    def __exit__(self, *exc: object) -> None:
        self.close()


class Writer(AbstractContextManager["Writer"], ABC):
    """The one open writer of a key; leaving the `with` block closes it, bytes kept."""

    size: int
    """Bytes under the key, those of earlier writers included."""
    keeps_bytes: bool = True
    """False: only `commit` keeps any; `sync` gives them up, and `size` falls to what is kept."""

    @abstractmethod
    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Append all of `data`. Raises NoSpace, with `size` telling what was kept."""

    @property
    @abstractmethod
    def file(self) -> AbstractContextManager[int] | None:
        """Gives the descriptor of the file, for the length of a `with` block, to who appends
        at `size` himself and tells with `wrote`; None where the driver has no files."""

    @property
    @abstractmethod
    def room(self) -> int:
        """How many bytes at most are appended to the file before `wrote` is called."""

    @abstractmethod
    def wrote(self, size: int, failure: OSError | None) -> None:
        """Take note that the file has `size` bytes now, and raise what `failure` means:
        what the next write failed with. May wait, without blocking the event loop, for what
        was written before. Raises NoSpace."""

    @abstractmethod
    def sync(self) -> None:
        """Make the `size` bytes durable. A failure may have lost any of them: `size` tells
        what is kept, also after `commit`. Raises Busy when another writer was faster."""

    @abstractmethod
    def commit(self, final_key: str) -> None:
        """Move the bytes under `final_key`, atomically and durably, and close.

        What is already there is replaced: it may be damaged, and these bytes are verified.
        """

    @abstractmethod
    def abort(self) -> None:
        """Delete the key, and close."""

    @abstractmethod
    def close(self) -> None:
        """Release the key for other writers, bytes kept; closing twice is fine."""

    def __exit__(self, *exc: object) -> None:
        self.close()


class Driver(ABC):
    """Objects under keys. Every method may raise StorageError and InvalidKey."""

    def at_once(self, *calls: Callable[[], Any]) -> list[Any]:
        """Make calls to this driver of which none needs another's outcome; return those
        outcomes, or raise what one of them did, when the others may or may not have been
        made. One after another, unless a driver waits so long that it is worth more."""
        return [call() for call in calls]

    @abstractmethod
    def stat(self, key: str) -> Stat:
        """Describe the object. Raises NotFound."""

    def witness(self, key: str) -> Witness | Generation | None:
        """Return what tells, without the driver, that the object is still the one that is
        there now; whoever takes it before he reads the object knows what he read.

        None where there is no object, nothing that tells, or where a change at this moment
        could go unnoticed.
        """
        return None

    def for_reading(self) -> Driver:
        """Return the driver for questions alone: what it tells of an object that exists may
        be as old as the driver is allowed to remember. A change asks this one."""
        return self

    def signed_url(self, key: str, lifetime_s: int) -> str | None:
        """Return a URL where anyone can read the object for that long; None where the driver
        has none to give. The object need not exist."""
        return None

    def prefetch(self, key: str) -> None:
        """Bring the object nearer, if that makes the next reading faster. Returns at once,
        and tells no failure."""
        return

    @abstractmethod
    def get(self, key: str, max_bytes: int) -> bytes:
        """Return a small object whole. Raises NotFound, and StorageError when it is
        larger than `max_bytes`."""

    @abstractmethod
    def put(
        self, key: str, data: bytes, *, if_version: str | None = None, durable: bool = True
    ) -> None:
        """Store `data` under `key`, atomically: readers see the old object or the new one.

        Durable when it returns, unless `durable` is false: for a state that can be rebuilt.
        With `if_version`, the object must have that version (`ABSENT`: must not exist)
        at the moment of the change, else Conflict. Raises NoSpace, nothing changed.
        """

    @abstractmethod
    def delete(self, key: str, *, if_version: str | None = None, durable: bool = True) -> None:
        """Delete the object. Raises NotFound, and Conflict as `put` does.

        Durable when it returns, unless `durable` is false: for what may as well come back.
        """

    @abstractmethod
    def sync(self, key: str) -> None:
        """Make the object durable, whoever stored it and did not wait. Raises NotFound."""

    @abstractmethod
    def list(self, prefix: str, after: str = "") -> Iterator[str]:
        """Yield the names directly below `prefix` that sort after `after`, bytewise
        sorted, each once: `a/b` and `a/c/d` give `b` and `c` below `a`. None for a
        prefix under which nothing is stored. The empty prefix is the driver's root."""

    @abstractmethod
    def open(self, key: str, offset: int = 0, length: int | None = None) -> Readable:
        """Open the object, or `length` bytes of it from `offset`. Raises NotFound."""

    @abstractmethod
    def writer(self, key: str, *, append: bool, destination: str | None = None) -> Writer:
        """Open the key's only writer: on what is there with `append` (NotFound when
        nothing is), else on a new, empty object. Raises Busy while another is open; a driver
        that cannot tell lets the first of two `sync` or `commit`, and the other raises Busy
        then. A writer is released when its process dies, whatever the way.

        `destination` is the one key that `commit` may be called with. A driver that would
        have to copy may bring the bytes there at once, where nobody sees them before.
        """
