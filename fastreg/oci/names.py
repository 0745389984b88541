"""Repository names, tags and upload ids: one gate each.

distribution-spec, "Pulling manifests": the grammars of `<name>` and `<reference>`.
"""

from __future__ import annotations

import re
from typing import Final

MAX_NAME_CHARS: Final = 255
_COMPONENT = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_NAME = re.compile(rf"{_COMPONENT}(?:/{_COMPONENT})*\Z")
_TAG = re.compile(r"[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}\Z")
_UPLOAD_ID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\Z")


class InvalidName(ValueError):
    """The text is not a repository name or a tag; the message says what one looks like."""


def check_name(name: str) -> str:
    """Return `name`, or raise InvalidName."""
    if len(name) > MAX_NAME_CHARS:
        raise InvalidName(f"repository name longer than {MAX_NAME_CHARS} characters")
    if not _NAME.match(name):
        raise InvalidName(
            f"{name[:MAX_NAME_CHARS]!r}: components are lower-case letters and digits, separated "
            "by one '.', one or two '_', or '-', and joined by '/'"
        )
    return name


def is_name(name: str) -> bool:
    return len(name) <= MAX_NAME_CHARS and _NAME.match(name) is not None


def check_tag(tag: str) -> str:
    """Return `tag`, or raise InvalidName."""
    if not _TAG.match(tag):
        raise InvalidName(
            f"{tag[:130]!r}: a tag is 1 to 128 of letters, digits, '_', '.', '-', "
            "and starts with none of '.', '-'"
        )
    return tag


def is_tag(tag: str) -> bool:
    return _TAG.match(tag) is not None


def is_upload_id(text: str) -> bool:
    return _UPLOAD_ID.match(text) is not None
