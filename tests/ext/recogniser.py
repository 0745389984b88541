"""The C recogniser, called from Python: what it understands as plain values."""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path

from tests.ext.compiling import EXT, compile_c


class Result(IntEnum):
    RECOGNISED = 0
    PARTIAL = 1
    OTHER = 2


class Route(IntEnum):
    NONE = 0
    VERSION = 1
    MANIFEST = 2
    BLOB = 3


class _Slice(ctypes.Structure):
    _fields_ = (("data", ctypes.c_void_p), ("size", ctypes.c_size_t))

    def text(self) -> str:
        return ctypes.string_at(self.data, self.size).decode("ascii") if self.size else ""


class _Head(ctypes.Structure):
    _fields_ = (
        ("method", ctypes.c_int),
        *((name, _Slice) for name in ("target", "authorization", "if_none_match")),
        *((name, _Slice) for name in ("user_agent", "referer")),
        ("has_range", ctypes.c_int),
        ("range_first", ctypes.c_uint64),
        ("range_last", ctypes.c_uint64),
        ("closes", ctypes.c_int),
    )


@dataclass(frozen=True)
class Recognised:
    used: int
    method: str
    target: str
    headers: dict[str, str]
    """Of the four that the C hands on as text, those that were sent."""
    range: tuple[int, int | None] | None
    closes: bool


class Recogniser:
    def __init__(self, compiler: str, directory: Path) -> None:
        sources = [EXT / "request_head.c", EXT / "routes.c"]
        compile_c(compiler, "-shared", "-fPIC", *sources, "-o", "it.so", directory=directory)
        self._library = ctypes.CDLL(str(directory / "it.so"))

    def parse(self, data: bytes) -> Recognised | Result:
        head, used = _Head(), ctypes.c_size_t()
        result = Result(
            self._library.fr_request_head_parse(
                data, ctypes.c_size_t(len(data)), ctypes.byref(head), ctypes.byref(used)
            )
        )
        return _recognised(head, used.value) if result is Result.RECOGNISED else result

    def route(self, target: str) -> Route:
        raw = target.encode("ascii")
        address = ctypes.cast(ctypes.c_char_p(raw), ctypes.c_void_p)
        return Route(self._library.fr_route_find(_Slice(address, len(raw))))


def _recognised(head: _Head, used: int) -> Recognised:
    texts = {
        "authorization": head.authorization.text(),
        "if-none-match": head.if_none_match.text(),
        "user-agent": head.user_agent.text(),
        "referer": head.referer.text(),
    }
    last = None if head.range_last == 2**64 - 1 else head.range_last
    return Recognised(
        used,
        ("GET", "HEAD")[head.method],
        head.target.text(),
        {name: text for name, text in texts.items() if text},
        (head.range_first, last) if head.has_range else None,
        bool(head.closes),
    )
