"""Layers as real ones are: tar.gz streams that unpack, made anew whenever they are read.

Their bytes follow from their name and size alone, on every machine. Nothing holds a layer.
"""

from __future__ import annotations

import hashlib
import struct
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache, partial
from itertools import accumulate

from loadtests.images import archive
from loadtests.images.archive import (
    BLOCK_BYTES,
    ENTRY_BYTES,
    FILE_BYTES,
    PACKED_UNIT_BYTES,
    Entry,
    Piece,
)

LAYER_TYPE = "application/vnd.oci.image.layer.v1.tar+gzip"
CHUNK_BYTES = 1 << 20
MAX_FILES = 120
"""A real base layer has thousands, and unpacking them would be what is measured."""

_KINDS = (
    ("etc", ".conf", 0o644),
    ("usr/bin", "", 0o755),
    ("usr/lib/{}", ".so.1", 0o644),
    ("usr/share/{}", ".dat", 0o644),
    ("usr/share/doc/{}", ".txt", 0o644),
    ("var/lib/{}", ".db", 0o600),
)

Chunks = Callable[[], Iterator[bytes]]
Pieces = Callable[[], Iterator[Piece]]
Files = Mapping[str, tuple[int, bytes]]
"""Path → (mode, content)."""


@dataclass(frozen=True)
class Blob:
    """A config or a layer. `chunks()` makes its content, the same every time."""

    media_type: str
    digest: str
    size: int
    chunks: Chunks = field(repr=False, compare=False)


@dataclass(frozen=True)
class Layer:
    blob: Blob
    diff_id: str


@cache
def make_layer(name: str, size: int) -> Layer:
    """Return the layer of this name, within 2 KB of `size`; the least has 2.6 KB.

    It is made once, to be measured: 30 MB take 0.1 s.
    """
    return _measure(partial(_pieces_of, name, size))


def layer_of(files: Files) -> Layer:
    """Return a layer of these files, stored as they are; they stay in memory."""

    def pieces() -> Iterator[Piece]:
        return archive.pack(
            Entry(path.strip("/"), mode, len(content), archive.unchanged(content))
            for path, (mode, content) in files.items()
        )

    return _measure(pieces)


def _measure(pieces: Pieces) -> Layer:
    packed, plain, size, length, checksum = hashlib.sha256(), hashlib.sha256(), 0, 0, 0
    for piece in pieces():
        packed.update(piece.packed)
        plain.update(piece.plain)
        checksum = zlib.crc32(piece.plain, checksum)
        size += len(piece.packed)
        length += len(piece.plain)
    trailer = struct.pack("<II", checksum, length % (1 << 32))
    packed.update(trailer)
    digest, diff_id = (f"sha256:{hasher.hexdigest()}" for hasher in (packed, plain))
    chunks = partial(_chunks, pieces, trailer)
    return Layer(Blob(LAYER_TYPE, digest, size + len(trailer), chunks), diff_id)


def _chunks(pieces: Pieces, trailer: bytes) -> Iterator[bytes]:
    pending: list[bytes] = []
    size = 0
    for piece in pieces():
        pending.append(piece.packed)
        size += len(piece.packed)
        if size >= CHUNK_BYTES:
            yield b"".join(pending)
            pending, size = [], 0
    yield b"".join([*pending, trailer])


def _pieces_of(name: str, size: int) -> Iterator[Piece]:
    return archive.pack(_entries(name, size))


def _entries(name: str, size: int) -> Iterator[Entry]:
    """Yield files of all lengths that come to `size` when packed."""
    numbers = _numbers(name, max(1, min(MAX_FILES, size // (32 << 10))))
    files = [_file(name, index) for index in range(len(numbers))]
    directories = {above for path, _ in files for above in archive.directories_of(path)}
    room = size - archive.FRAME_BYTES - ENTRY_BYTES * len(directories)
    weights = list(accumulate((number % 30 + 1) ** 3 for number in numbers))
    done = 0
    for (path, mode), number, weight in zip(files, numbers, weights, strict=True):
        left = room * weight // weights[-1] - done - FILE_BYTES
        units, rest = divmod(max(0, left), PACKED_UNIT_BYTES)
        blocks = max(1, rest // BLOCK_BYTES)
        noise_bytes = blocks * BLOCK_BYTES - number % BLOCK_BYTES
        content = archive.mixed(units, noise_bytes, number)
        yield Entry(path, mode, units * archive.UNIT_BYTES + noise_bytes, content)
        done += FILE_BYTES + units * PACKED_UNIT_BYTES + blocks * BLOCK_BYTES


def _file(name: str, index: int) -> tuple[str, int]:
    """Return a path that no layer of another name has, and its mode."""
    directory, suffix, mode = _KINDS[index % len(_KINDS)]
    slug = name.replace("/", "-")
    return f"{directory.format(slug)}/{slug}-{index}{suffix}", mode


def _numbers(name: str, count: int) -> tuple[int, ...]:
    """Return numbers that follow from the name, in every version of Python."""
    return struct.unpack(f"<{count}I", hashlib.shake_128(name.encode()).digest(4 * count))
