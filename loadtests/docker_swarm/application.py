"""The image that is rolled out: as heavy as one of the catalogue, and it runs without a network."""

from __future__ import annotations

import platform
import struct

from loadtests.images.catalog import layer_sizes
from loadtests.images.image import Image, image_with

PROGRAM = "sleep-forever"
_LOADED_AT = 0x400000
_HEAD_BYTES, _SEGMENT_BYTES = 64, 56
_EXECUTABLE, _LOADED, _READ_AND_RUN = 2, 1, 5
_MACHINE_AND_CODE = {
    # pause() in a loop: mov eax, 34; syscall; jmp
    "x86_64": (62, "b822000000 0f05 ebf7"),
    # ppoll(nothing, for ever) in a loop: mov x8, 73; mov x0 … x3, 0; svc; b
    "aarch64": (183, "280980d2 000080d2 010080d2 020080d2 030080d2 010000d4 fbffff17"),
}


def application(name: str, scale: float) -> Image:
    """Return an image with layers as long as those of the catalogue's `name`, and a program."""
    files = {PROGRAM: (0o755, program_that_sleeps(platform.machine()))}
    return image_with(name, layer_sizes(name, scale), files, [f"/{PROGRAM}"])


def program_that_sleeps(machine: str) -> bytes:
    """Return a static ELF program of one segment, which needs nothing and takes no time."""
    number, code_text = _MACHINE_AND_CODE[machine]
    code = bytes.fromhex(code_text)
    start = _HEAD_BYTES + _SEGMENT_BYTES
    size = start + len(code)
    head = b"\x7fELF\x02\x01\x01".ljust(16, b"\0") + struct.pack(
        "<HHIQQQIHHHHHH",
        *(_EXECUTABLE, number, 1, _LOADED_AT + start, _HEAD_BYTES, 0, 0),
        *(_HEAD_BYTES, _SEGMENT_BYTES, 1, 0, 0, 0),
    )
    segment = struct.pack(
        "<IIQQQQQQ", _LOADED, _READ_AND_RUN, 0, _LOADED_AT, _LOADED_AT, size, size, 0x1000
    )
    return head + segment + code
