"""The C core's digests.

A digest may be used from several threads: calls are serialised, and a thread that waits
for its turn or hashes 2 KiB or more has let go of the GIL. A digest cannot be pickled or
subclassed; its exported state travels instead.
"""

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
