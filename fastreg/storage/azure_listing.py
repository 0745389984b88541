"""The names below a prefix, in the order of the driver interface.

Azure sorts whole names, where a prefix ends in a slash: `a-b`, `a.b`, then `a/`. So a name
is held back until no prefix can come any more that is to stand before it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from heapq import heappop, heappush
from typing import Final

from azure.storage.blob import BlobPrefix, BlobProperties

from fastreg.storage.base import is_segment

_BELOW_SLASH: Final = re.compile(r"[-.]")
"""What can stand in a name and sorts before a slash."""


def is_folder(blob: BlobProperties) -> bool:
    """Whether it only stands for a directory, as accounts with a hierarchical namespace and
    some programs keep them."""
    return (blob.metadata or {}).get("hdi_isfolder") == "true"


def names_of(page: Iterable[BlobProperties | BlobPrefix], above: str) -> list[str]:
    """Return what a page has below `above`, sorted; prefixes with their slash."""
    cut = len(above)
    blobs = (item for item in page if isinstance(item, BlobPrefix) or not is_folder(item))
    return sorted(item.name[cut:] for item in blobs)


def in_order(pages: Iterable[list[str]], after: str) -> Iterator[str]:
    """Yield the valid names of Azure's sorted pages that sort after `after`, without slash,
    in order and each once."""
    held: list[str] = []
    told = after
    for page in pages:
        for name in page:
            bare = name.removesuffix("/")
            if bare > after and is_segment(bare):
                heappush(held, bare)
        while held and page and not _may_follow_before(held[0], page[-1]):
            name = heappop(held)
            if name > told:
                yield (told := name)
    while held:
        name = heappop(held)
        if name > told:
            yield (told := name)


def _may_follow_before(name: str, last: str) -> bool:
    """Whether a prefix that sorts before `name` may come after `last` in Azure's order."""
    found = _BELOW_SLASH.search(name, 1)
    return found is not None and f"{name[: found.start()]}/" > last
