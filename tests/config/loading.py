"""Configurations as files and environments, and the one line that says what is wrong."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from fastreg.config import ConfigError, load


def environment(**variables: str) -> dict[str, str]:
    return {f"REGISTRY_{name}": value for name, value in variables.items()}


def error_of(path: Path | None, environ: Mapping[str, str] = {}) -> str:
    with pytest.raises(ConfigError) as caught:
        load(path, environ)
    message = str(caught.value)
    assert message.isprintable(), "one line, and nothing that moves a terminal's cursor"
    assert len(message) < 500
    return message
