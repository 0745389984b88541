"""The kinds of keys that the model's sections are made of."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    PlainSerializer,
    SecretStr,
)

from fastreg.config import values
from fastreg.config.values import MASK, wrong


class Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=False)


def at_least(least: timedelta) -> AfterValidator:
    def check(value: timedelta) -> timedelta:
        if value < least:
            raise wrong(f"a duration of at least {values.format_duration(least)}")
        return value

    return AfterValidator(check)


def within(least: int, most: int) -> AfterValidator:
    def check(value: int) -> int:
        if not least <= value <= most:
            raise wrong(f"an integer of {least} to {most}")
        return value

    return AfterValidator(check)


def _lower(value: object) -> object:
    return value.lower() if isinstance(value, str) else value


def _no_mask(value: object) -> object:
    """What `check-config` prints must not become a secret by being used again."""
    if value == MASK:
        raise wrong(f"the secret itself, not the {MASK} that stands for it")
    return value


def _masked(value: SecretStr) -> str:
    return MASK if value else ""


def secret_of(parse: Callable[[str], str]) -> AfterValidator:
    """Have `parse` look at a secret's text."""

    def check(value: SecretStr) -> SecretStr:
        return SecretStr(parse(value.get_secret_value()))

    return AfterValidator(check)


Flag = Annotated[bool, BeforeValidator(values.parse_flag)]
Integer = Annotated[int, BeforeValidator(values.parse_integer)]
Duration = Annotated[
    timedelta,
    BeforeValidator(values.parse_duration),
    PlainSerializer(values.format_duration),
]
Directory = Annotated[Path, BeforeValidator(values.parse_path), PlainSerializer(str)]
Size = Annotated[
    int | float, BeforeValidator(values.parse_size), PlainSerializer(values.format_size)
]
"""Bytes; or, as a float, a share of what a disk has free."""
Share = Annotated[float, BeforeValidator(values.parse_share)]
Secret = Annotated[SecretStr, BeforeValidator(_no_mask), PlainSerializer(_masked)]
Url = Annotated[str, AfterValidator(values.parse_url)]
HeaderName = Annotated[str, AfterValidator(values.parse_header_name)]
HeaderValue = Annotated[str, AfterValidator(values.parse_header_value)]
Level = Annotated[Literal["error", "warn", "info", "debug"], BeforeValidator(_lower)]
