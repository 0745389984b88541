"""Into which blocks an object is divided: by the offset alone, so that any two writers agree.

A blob has 50,000 blocks at most. They are small where nearly all blobs end, so that little
memory is used and little is sent again, and grow beyond: 5.6 TiB fit.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

_MIB: Final = 1 << 20
_ZONES: Final = (
    (4 * _MIB, 10_000),
    (16 * _MIB, 10_000),
    (64 * _MIB, 10_000),
    (256 * _MIB, 20_000),
)
"""Bytes of a block, and how many of that size."""
FIRST_BLOCK_BYTES: Final = _ZONES[0][0]


_NAME: Final = re.compile(r"[0-9a-f]{32}\Z")


class Block(NamedTuple):
    number: int
    start: int
    end: int


def block_at(offset: int) -> Block:
    """Return the block that the byte at `offset` belongs to."""
    first = base = 0
    for size, count in _ZONES:
        if offset < base + size * count:
            break
        first += count
        base += size * count
    past = (offset - base) // size
    return Block(first + past, base + past * size, base + (past + 1) * size)


def block_id(start: int, end: int, writer: str) -> str:
    """Return the name of a block: no two of other bytes have the same, so that neither a
    second writer nor a request that arrives late or twice puts other bytes in its place.
    `writer` is 8 hexadecimal digits; all names have the same length, as Azure demands."""
    return f"{start:016x}{end - start:08x}{writer}"


def are_names(names: list[str]) -> bool:
    """Whether all of `names` are of our form."""
    return all(_NAME.match(name) for name in names)


def is_divided(sizes: list[int]) -> bool:
    """Whether blocks of these sizes are ours; the last one may be shorter."""
    offset = 0
    for number, size in enumerate(sizes, 1):
        due = block_at(offset).end - offset
        if size > due or (size < due and number < len(sizes)):
            return False
        offset += size
    return True
