"""Lists in pages: `n`, `last`, and the `Link` to the next page.

distribution-spec, "Listing Tags"; RFC 8288 for the link.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice
from typing import TypeVar

from fastreg.api.call import Call
from fastreg.api.http import Headers
from fastreg.errors import PaginationNumberInvalid

T = TypeVar("T")


def page_size(call: Call, default: int) -> int:
    """Return the `n` asked for, `default` without one. Raises PaginationNumberInvalid."""
    text = call.request.parameter("n")
    if "n" not in call.request.query:
        return default
    if not (text.isascii() and text.isdecimal() and len(text) < 19):
        raise PaginationNumberInvalid({"n": text[:40], "expected": "0 to 18 digits"})
    return int(text)


def take(items: Iterable[T], n: int) -> tuple[list[T], bool]:
    """Return the first `n` items, and whether there are more."""
    if n == 0:
        return [], False
    taken = list(islice(items, n + 1))
    return taken[:n], len(taken) > n


def link_next(call: Call, path: str, **query: str | int) -> Headers:
    return [("Link", f'<{call.path(path, **query)}>; rel="next"')]
