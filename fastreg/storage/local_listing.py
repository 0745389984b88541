"""What is stored below a directory; any call may block.

Directories without an object in them (other registries leave such behind) count as absent.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import TYPE_CHECKING

from fastreg.storage.base import is_segment
from fastreg.storage.local_files import RESERVED

if TYPE_CHECKING:
    from os import _ScandirIterator as ScandirIterator


def first_stored(
    directory: str, after: str, count: int
) -> tuple[list[str], list[tuple[str, bool]]]:
    """Return what is stored of the first `count` names after `after`, and the other names
    for `only_stored`: what is small is listed in one call."""
    names = _names_below(directory, after)
    return only_stored(directory, names[:count]), names[count:]


def _names_below(directory: str, after: str) -> list[tuple[str, bool]]:
    """Return what has a valid name that sorts after `after`, sorted, each with whether it
    is an object (else a directory, empty or not)."""
    names = []
    try:
        with os.scandir(directory) as entries:
            for entry in entries:
                if _is_name(entry.name) and entry.name > after:
                    is_object = _is_object(entry)
                    if is_object or _leads_down(entry, directory):
                        names.append((entry.name, is_object))
    except (FileNotFoundError, NotADirectoryError):
        return []
    # Valid names are ASCII: the order of code points is that of the bytes.
    return sorted(names)


def only_stored(directory: str, names: list[tuple[str, bool]]) -> list[str]:
    """Return those of `names` that are objects, or directories with one somewhere below."""
    return [name for name, is_object in names if is_object or _holds(f"{directory}/{name}")]


def _holds(directory: str) -> bool:
    """Whether an object is below `directory`; looks no further than the first one."""
    trail = _scan(directory)
    try:
        while trail:
            entry = next(trail[-1], None)
            if entry is None:
                trail.pop().close()
            elif not _is_name(entry.name):
                continue
            elif _is_object(entry):
                return True
            elif _leads_down(entry, os.path.dirname(entry.path)):
                trail += _scan(entry.path)
    finally:
        for entries in trail:
            entries.close()
    return False


def _is_object(entry: os.DirEntry[str]) -> bool:
    # A link to itself makes entry.is_file() raise.
    return os.path.isfile(entry.path) if entry.is_symlink() else entry.is_file()


def _leads_down(entry: os.DirEntry[str], directory: str) -> bool:
    """Whether the entry of `directory` is a directory: a linked one counts, unless the way
    to it goes through it, which has no end."""
    if not entry.is_symlink():
        return entry.is_dir()
    target = os.path.realpath(entry.path)
    return os.path.isdir(target) and target not in _way_to(directory)


def _way_to(directory: str) -> Iterator[str]:
    """Yield where `directory` and those above it, as its path names them, really are."""
    above = ""
    while directory != above:
        yield os.path.realpath(directory)
        directory, above = os.path.dirname(directory), directory


def _scan(directory: str) -> list[ScandirIterator[str]]:
    """Return the entries' iterator, or nothing where the directory is gone."""
    try:
        return [os.scandir(directory)]
    except (FileNotFoundError, NotADirectoryError):
        return []


def _is_name(name: str) -> bool:
    return is_segment(name) and name != RESERVED
