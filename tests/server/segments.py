"""What an application answers instead of an iterable of bytes."""

from __future__ import annotations

from collections.abc import Iterator

from fastreg.server.sending import Segment, segments_length


class Segments:
    """Segments that are there from the start. What may be given again has witnesses."""

    def __init__(
        self,
        files: list[Segment],
        witnesses: tuple[tuple[int | bytes | float, ...], ...] | None = None,
        until: float | None = None,
    ) -> None:
        self.files: list[Segment] | None = files
        self.witnesses = witnesses
        self.until = until
        self.is_closed = False
        self._length = segments_length(files)
        self._segments = files

    def __len__(self) -> int:
        return self._length

    def __iter__(self) -> Iterator[bytes]:
        raise AssertionError("the server sends the segments itself")

    def segments(self) -> Iterator[Segment]:
        return iter(self._segments)

    def close(self) -> None:
        self.is_closed = True
