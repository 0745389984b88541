"""A tar.gz put together from pieces that are known both plain and deflated.

No compressor runs: zlib's output differs from version to version, and it would be what limits
the speed. There is noise in stored blocks, and a text that was deflated once.
"""

from __future__ import annotations

import hashlib
import tarfile
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath
from typing import NamedTuple

BLOCK_BYTES = tarfile.BLOCKSIZE
TRAILER_BYTES = 8
"""Checksum and length, which are not pieces but follow from them."""

_MODIFIED = 1_673_395_200  # 11 January 2023
_GZIP_HEAD = bytes.fromhex("1f8b08000000000000ff")
_STORED_HEAD_BYTES = 5
_MAX_STORED_BYTES = 0xFFFF

# What is spent, packed, on a directory, on a file besides its units and blocks, on the rest.
ENTRY_BYTES = _STORED_HEAD_BYTES + BLOCK_BYTES
FILE_BYTES = ENTRY_BYTES + 2 * _STORED_HEAD_BYTES
FRAME_BYTES = len(_GZIP_HEAD) + _STORED_HEAD_BYTES + 2 * BLOCK_BYTES + TRAILER_BYTES

# 64 KiB of this project's C, Python and prose, by zlib at level 9. It ends with an empty stored
# block, so that anything may follow, and is longer than deflate's window: a layer that is
# compressed again does not shrink to one copy of it.
_PACKED_TEXT = Path(__file__).with_name("text.deflate").read_bytes()
_TEXT = zlib.decompressobj(-zlib.MAX_WBITS).decompress(_PACKED_TEXT)

# Noise and text in turns come to 2.6 bytes for each packed one, as base images do.
_NOISE_BYTES = 15 * BLOCK_BYTES
_NOISE_SPAN = 1 << 20
_NOISE = hashlib.shake_128(b"noise").digest(_NOISE_SPAN + _MAX_STORED_BYTES)

UNIT_BYTES = _NOISE_BYTES + len(_TEXT)
PACKED_UNIT_BYTES = _STORED_HEAD_BYTES + _NOISE_BYTES + len(_PACKED_TEXT)


class Piece(NamedTuple):
    plain: bytes
    packed: bytes


class Entry(NamedTuple):
    """A file. Its content's pieces have `size` plain bytes."""

    path: str
    mode: int
    size: int
    content: Iterable[Piece]


def pack(entries: Iterable[Entry]) -> Iterator[Piece]:
    """Yield a tar.gz of the entries and their directories, up to its trailer."""
    yield Piece(b"", _GZIP_HEAD)
    made: set[str] = set()
    for entry in entries:
        for directory in directories_of(entry.path):
            if directory not in made:
                made.add(directory)
                yield _stored(_head(directory, 0o755, 0, tarfile.DIRTYPE))
        yield _stored(_head(entry.path, entry.mode, entry.size, tarfile.REGTYPE))
        yield from entry.content
        yield _stored(bytes(-entry.size % BLOCK_BYTES))
    yield _stored(bytes(2 * BLOCK_BYTES), is_last=True)


def directories_of(path: str) -> list[str]:
    """Return the directories above a path, the outermost first."""
    return [str(parent) for parent in PurePosixPath(path).parents][-2::-1]


def mixed(units: int, noise_bytes: int, seed: int) -> Iterator[Piece]:
    """Yield `units` of noise and text, and `noise_bytes` (at most 64 KiB - 1) of noise alone."""
    for index in range(units):
        yield _stored(_noise(seed + index * 104_729, _NOISE_BYTES))
        yield Piece(_TEXT, _PACKED_TEXT)
    yield _stored(_noise(seed, noise_bytes))


def unchanged(content: bytes) -> Iterator[Piece]:
    for start in range(0, len(content), _MAX_STORED_BYTES):
        yield _stored(content[start : start + _MAX_STORED_BYTES])


def _noise(seed: int, size: int) -> bytes:
    start = seed % _NOISE_SPAN
    return _NOISE[start : start + size]


def _stored(content: bytes, *, is_last: bool = False) -> Piece:
    """Return a stored block (RFC 1951, 3.2.4). It begins where the one before it ends: whole."""
    size = len(content)
    head = bytes([is_last]) + size.to_bytes(2, "little") + (size ^ 0xFFFF).to_bytes(2, "little")
    return Piece(content, head + content)


def _head(path: str, mode: int, size: int, kind: bytes) -> bytes:
    info = tarfile.TarInfo(path)
    info.mode, info.size, info.type, info.mtime = mode, size, kind, _MODIFIED
    info.uname = info.gname = "root"
    return info.tobuf(tarfile.USTAR_FORMAT)
