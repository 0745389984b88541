"""The corpus of raw requests."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

CORPUS = Path(__file__).parent / "corpus"


def sample_names(kind: str) -> list[str]:
    return sorted(path.stem for path in (CORPUS / kind).glob("*.http"))


def load_sample(kind: str, name: str) -> tuple[bytes, Any]:
    """Return what is sent, and what is expected."""
    text = (CORPUS / kind / f"{name}.http").read_text("ascii").replace("\n", "")
    expected = json.loads((CORPUS / kind / f"{name}.json").read_text())
    return text.encode().decode("unicode_escape").encode("latin-1"), expected
