"""The C core: digests, and bodies on their way in.

A digest may be used from several threads: calls are serialised, and a thread that waits
for its turn or hashes 2 KiB or more has let go of the GIL. A digest cannot be pickled or
subclassed; its exported state travels instead.
"""

from contextlib import AbstractContextManager
from typing import ClassVar, Self, final

from typing_extensions import Buffer

class _Digest:
    name: ClassVar[str]
    """The algorithm, as digests spell it: `sha256` or `sha512`."""

    @property
    def length(self) -> int:
        """Bytes hashed so far."""

    def update(self, data: Buffer, /) -> None:
        """Hash the bytes of any C-contiguous buffer, in order after the earlier ones.

        Raises TypeError or BufferError for what is no such buffer, and OverflowError
        when the length would reach 2**61 bytes; the digest is as it was then.
        """

    def digest(self) -> bytes:
        """The digest of the bytes so far; more may be hashed afterwards."""

    def hexdigest(self) -> str:
        """`digest()` in lower-case hexadecimal."""

    def export_state(self) -> bytes:
        """The running state, as Go's crypto packages serialise theirs: 108 bytes for
        SHA-256, 204 for SHA-512. The same bytes hashed give the same state."""

    @classmethod
    def restore(cls, state: Buffer, /) -> Self:
        """A digest that goes on where `state` was exported, here or by Go.

        `state` is untrusted: raises ValueError for what no export could have written
        (size, magic, length, padding), as far as the bytes alone can tell.
        """

@final
class Sha256(_Digest): ...

@final
class Sha512(_Digest): ...

@final
class Sink:
    """The end of a file that a body is poured into."""

    def __init__(
        self, file: AbstractContextManager[int], size: int, digest: Sha256 | Sha512 | None, /
    ) -> None:
        """`file` gives its descriptor for the length of a `with` block, and must not close it
        before the block ends. `size` is the file's; `digest` is of as many bytes."""

    @property
    def size(self) -> int:
        """Of the file; the digest has exactly as many bytes. With one, waits for a thread
        that pours."""

    @property
    def failure(self) -> OSError | None:
        """What the last write failed with."""

@final
class Inflow:
    """A body on its way in: the framing, and the bytes that came before they were wanted.

    Not for two threads or greenlets at a time: a call while another one receives raises
    RuntimeError.
    """

    def __init__(self, length: int | None, /) -> None:
        """`length` is what was announced; None for a body in chunks (RFC 9112, 7.1)."""

    @property
    def is_over(self) -> bool:
        """The body has come to its end."""

    @property
    def left(self) -> int | None:
        """Bytes that are still to come, None where only the chunks tell."""

    @property
    def is_dry(self) -> bool:
        """The last call took all that there was."""

    @property
    def received(self) -> int:
        """Bytes that the last call took from the socket, framing and all."""

    @property
    def waited_s(self) -> float:
        """How long the last call waited for them."""

    def put_in_front(self, data: bytes, /) -> None:
        """Take `data` as what came first, ahead of the socket."""

    def take_rest(self) -> bytes:
        """Hand out what was received and belongs behind the body, which must be over."""

    def receive(self, socket: int, buffer: Buffer, /) -> int | None:
        """Receive data into `buffer`, up to its size, without waiting and without giving the
        GIL away; return how many bytes: 0 at the end of the body, None for nothing yet.

        What came before a failure is returned first. Raises ConnectionResetError when the
        client left, OSError(EBADMSG) for chunks that are none.
        """

    def hold(self, socket: int, /) -> None:
        """Keep the socket open for `pour`, whatever happens to this descriptor."""

    def release(self) -> None:
        """End `hold`; a `pour` that is still at it ends it when it returns."""

    def pour(self, sink: Sink, max_bytes: int, /) -> int | None:
        """As `receive`, into a file and its digest, without the GIL: up to `max_bytes`, but
        some megabytes at most. 0 also where the file takes no more.

        Waits for the disk, and for the client a few milliseconds at most. What was written
        is on its way to the disk, not durable. The digest is kept from others meanwhile.
        """

@final
class Handover:
    """A connection that leaves the lane because of what it has sent."""

    fd: int
    """The receiver's to close."""
    address: str
    """The client's IP address."""
    listener: int
    """As given to `accept` or `adopt`."""
    data: bytes
    """All that was received and not answered; never empty."""
    has_served: bool
    waited_s: float
    """How long ago the request began to arrive; for a first one: the connection."""

@final
class ColdRead:
    """A piece of a file that must be in the page cache before it can be sent."""

    fd: int
    """Stays open until `resume`."""
    offset: int
    length: int
    ahead: int
    """How many bytes after it will be wanted next."""

@final
class Lane:
    """A worker's connections while they are idle, bring a head, or take a published answer.

    To be used from one thread. No call waits. `turn`, `tick` and `resume` return what is to
    be done elsewhere: a request to be served, a piece of a file to be read.
    """

    def __init__(
        self,
        *,
        head_timeout_s: float,
        idle_timeout_s: float,
        send_timeout_s: float,
        logs_access: bool,
        generations: Buffer | None = None,
    ) -> None:
        """`generations` are 64-bit counters that other processes may move on; kept until
        `close`."""

    def fileno(self) -> int:
        """The descriptor that is readable when `turn` has something to do."""

    @property
    def connections(self) -> int: ...
    @property
    def answered(self) -> int:
        """How many requests the lane has answered."""

    @property
    def published(self) -> int:
        """How many answers it could give."""

    @property
    def lines_size(self) -> int:
        """Bytes that `take_lines` would return."""

    def accept(self, socket: int, listener: int) -> bool:
        """Accept a connection on a listening socket, and return whether there was one.
        Raises OSError when descriptors or memory are short."""

    def adopt(self, fd: int, address: str, listener: int, data: bytes, has_served: bool) -> None:
        """Take over a connection with what was received of it. Raises OSError, and the
        descriptor stays the caller's."""

    def turn(self) -> list[Handover | ColdRead]:
        """Answer what can be answered now."""

    def tick(self) -> list[Handover | ColdRead]:
        """Look after timeouts, once a second."""

    def resume(self, read: ColdRead, /) -> list[Handover | ColdRead]:
        """Go on after a read."""

    def publish(
        self,
        request: bytes,
        head: bytes,
        segments: list[bytes | tuple[int, int, int]],
        witnesses: tuple[tuple[bytes, int, int, int, int, int] | tuple[int, int, float], ...],
        until: float | None = None,
    ) -> bool:
        """Answer the request of this head with the same from now on, for as long as every
        witness (path, device, inode, mtime_ns, ctime_ns, size) is the status of its file, or
        (counter, value, …) the value of that counter, and until a time of `time.monotonic`,
        some of which before one such request is handed over, for the answer to be published
        anew. Return whether that is possible: the request must be one that the lane
        recognises, the body one segment at most.

        An answer holds only for the same method, target, Authorization and If-None-Match;
        one of a single range holds for every single range of the same file.
        """

    def take_lines(self) -> bytes:
        """Return the access log of what the lane answered, in whole lines."""

    def take_lost(self) -> int:
        """Return how many lines there was no memory for, since the last call."""

    def drain(self) -> None:
        """Hand every further request over."""

    def drop_idle(self, grace_s: float) -> None:
        """End the connections that have been idle for `grace_s`; what they have sent
        already is received all the same."""

    def cut_sending(self) -> None:
        """Before `close`: log the answers that are not sent yet, and cut their connections."""

    def close(self) -> None:
        """Close every connection; closing twice is fine."""

def is_resident(fd: int, offset: int, length: int) -> bool:
    """Tell whether some bytes of a file, one at least, are in the page cache, as far as a few
    of their pages tell. Reads nothing. The kernel says so of any file that is neither the
    process's own nor its to write."""
