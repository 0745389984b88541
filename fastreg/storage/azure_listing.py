"""The names below a prefix, in the order of the driver interface.

Azure sorts whole names, where a prefix ends in a slash: `a-b`, `a.b`, then `a/`. So what
comes after a page can only stand before it when it is a stem of the page's last name: those
few are asked for, and a page can be told as soon as it is there.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from typing import Final, NamedTuple

from azure.storage.blob import BlobPrefix, BlobProperties

from fastreg.storage.base import is_segment

_BELOW_SLASH: Final = re.compile(r"(?<!^)[-.]")
"""What can stand in a name, not at its start, and sorts before a slash."""


class Page(NamedTuple):
    names: list[str]
    """As Azure sorts them, prefixes with their slash."""
    is_last: bool


def is_folder(blob: BlobProperties) -> bool:
    """Whether it only stands for a directory, as accounts with a hierarchical namespace and
    some programs keep them."""
    return (blob.metadata or {}).get("hdi_isfolder") == "true"


def names_of(page: Iterable[BlobProperties | BlobPrefix], above: str) -> list[str]:
    """Return what a page has below `above`."""
    cut = len(above)
    blobs = (item for item in page if isinstance(item, BlobPrefix) or not is_folder(item))
    return sorted(item.name[cut:] for item in blobs)


def in_order(pages: Iterable[Page], after: str, is_prefix: Callable[[str], bool]) -> Iterator[str]:
    """Yield the valid names of the pages that sort after `after`, without slash, in order
    and each once. `is_prefix` tells whether something is below a name."""
    told = after
    for names, is_last in pages:
        found = {name.removesuffix("/") for name in names}
        if names and not is_last:
            found.update(stem for stem in _stems(names[-1]) if stem > told and is_prefix(stem))
        for name in sorted(found):
            if name > told and is_segment(name):
                yield (told := name)


def _stems(name: str) -> list[str]:
    """Return the names that sort before `name`, and after it with a slash."""
    return [name[: found.start()] for found in _BELOW_SLASH.finditer(name)]
