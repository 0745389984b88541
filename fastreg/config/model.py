"""The configuration: the reference registry's YAML keys as a model, and `load`.

Rule: a key that is neither in the model nor in `reference` ends the start.
"""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Iterator, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    PrivateAttr,
    ValidationError,
)
from pydantic_core import ErrorDetails

from fastreg.config import values
from fastreg.config.reference import IGNORED, REFUSED, take_out
from fastreg.config.source import Source, describe, read
from fastreg.config.values import ConfigError, wrong


def _at_least(least: timedelta) -> AfterValidator:
    def check(value: timedelta) -> timedelta:
        if value < least:
            raise wrong(f"a duration of at least {values.format_duration(least)}")
        return value

    return AfterValidator(check)


def _limit(value: int) -> int:
    return value if value > 0 else 1000


def _limit_not_negative(value: int) -> int:
    if value < 0:
        raise wrong("an integer of at least 0")
    return _limit(value)


def _worker_count(value: int) -> int:
    if not 1 <= value <= 1024:
        raise wrong("an integer of 1 to 1024")
    return value


def _lower(value: object) -> object:
    return value.lower() if isinstance(value, str) else value


Flag = Annotated[bool, BeforeValidator(values.parse_flag)]
Integer = Annotated[int, BeforeValidator(values.parse_integer)]
Duration = Annotated[
    timedelta,
    BeforeValidator(values.parse_duration),
    PlainSerializer(values.format_duration),
]
Directory = Annotated[Path, BeforeValidator(values.parse_path), PlainSerializer(str)]
HeaderName = Annotated[str, AfterValidator(values.parse_header_name)]
HeaderValue = Annotated[str, AfterValidator(values.parse_header_value)]
Level = Annotated[Literal["error", "warn", "info", "debug"], BeforeValidator(_lower)]


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=False)


class AccessLog(_Section):
    disabled: Flag = False


class Log(_Section):
    level: Level = "info"
    formatter: Literal["text", "json", "logstash"] = "text"
    fields: dict[str, str] = Field(default_factory=dict)
    """Added to every line of the application's log."""
    accesslog: AccessLog = AccessLog()


class Filesystem(_Section):
    rootdirectory: Directory = Path("/var/lib/registry")


class Delete(_Section):
    enabled: Flag = False


class UploadPurging(_Section):
    enabled: Flag = True
    age: Annotated[Duration, _at_least(timedelta(minutes=1))] = timedelta(hours=168)
    interval: Annotated[Duration, _at_least(timedelta(seconds=1))] = timedelta(hours=24)
    dryrun: Flag = False


class ReadOnly(_Section):
    enabled: Flag = False


class Maintenance(_Section):
    uploadpurging: UploadPurging = UploadPurging()
    readonly: ReadOnly = ReadOnly()


class Storage(_Section):
    filesystem: Filesystem = Filesystem(rootdirectory=Path("data"))
    """Where nobody names a driver, a directory below the working directory."""
    delete: Delete = Delete()
    maintenance: Maintenance = Maintenance()


class HTTP(_Section):
    addr: Annotated[str, AfterValidator(values.parse_address)] = "127.0.0.1:5000"
    host: Annotated[str, AfterValidator(values.parse_url)] = ""
    """The URL that clients see, without `/` at its end; empty: from each request."""
    relativeurls: Flag = False
    secret: str = ""
    """Empty: sessions do not go on in a reference registry. fastreg itself needs none."""
    headers: dict[HeaderName, tuple[HeaderValue, ...]] = Field(default_factory=dict)
    prefix: Annotated[str, AfterValidator(values.parse_prefix)] = "/"
    """Begins and ends with `/`."""
    draintimeout: Annotated[Duration, _at_least(timedelta())] = timedelta(seconds=30)
    workers: Annotated[Integer, AfterValidator(_worker_count)] = Field(
        default_factory=lambda: len(os.sched_getaffinity(0))
    )


class Catalog(_Section):
    maxentries: Annotated[Integer, AfterValidator(_limit)] = 1000


class Tags(_Section):
    maxtags: Annotated[Integer, AfterValidator(_limit_not_negative)] = 1000


class Config(_Section):
    """A checked configuration. `Config()` is the defaults."""

    version: Literal["0.1"] = "0.1"
    log: Log = Log()
    storage: Storage = Storage()
    http: HTTP = Field(default_factory=HTTP)
    catalog: Catalog = Catalog()
    tags: Tags = Tags()
    _ignored: tuple[str, ...] = PrivateAttr(())

    @property
    def ignored(self) -> tuple[str, ...]:
        """The keys of the reference registry that were given and have no effect."""
        return self._ignored


def load(path: Path | None, environ: Mapping[str, str]) -> Config:
    """Return the configuration of a file, or the defaults, under the environment's
    `REGISTRY_*` variables. Raises ConfigError. Touches nothing but the file."""
    source = read(path, environ, _SECTIONS)
    ignored = take_out(source)
    _move_loglevel(source)
    try:
        config = Config.model_validate(source.tree)
    except ValidationError as error:
        raise ConfigError(_explain(error.errors()[0], source)) from None
    config._ignored = ignored
    return config


def dump(config: Config) -> dict[str, Any]:
    """Return the effective configuration as plain values; `load` reads it as the same."""
    return config.model_dump(mode="json")


def known_keys(model: type[BaseModel] = Config, parent: str = "") -> Iterator[str]:
    """Yield the dotted name of every key of the model that holds a value."""
    for name, info in model.model_fields.items():
        if isinstance(info.annotation, type) and issubclass(info.annotation, BaseModel):
            yield from known_keys(info.annotation, f"{parent}{name}.")
        else:
            yield parent + name


_SECTIONS: Final = frozenset(
    [*Config.model_fields, "loglevel", *(key.split(".")[0] for key in IGNORED)]
)


def _move_loglevel(source: Source) -> None:
    """`loglevel`, the old name of `log.level`, counts where that is not set."""
    level = source.tree.pop("loglevel", None)
    log = source.tree.setdefault("log", {})
    if level is not None and isinstance(log, dict) and "level" not in log:
        log["level"] = level
        source.variables[("log", "level")] = source.variables.get(("loglevel",), "loglevel")


def _explain(error: ErrorDetails, source: Source) -> str:
    path = [part for part in error["loc"] if part != "[key]"]
    key, value = source.label(path), _shown(path, error["input"])
    if error["type"] == "extra_forbidden":
        return f"{key}: unknown key, with the value {value}; {_nearest(tuple(map(str, path)))}"
    return f"{key}: expected {_expected(error)}, got {value}"


def _shown(path: list[str | int], value: object) -> str:
    is_secret = re.search("secret|password|token|accountkey|accesskey", str(path).lower())
    return "***" if is_secret and isinstance(value, str) else describe(value)


def _expected(error: ErrorDetails) -> str:
    if error["type"] in ("wrong", "literal_error"):
        return str(error["ctx"]["expected"]).replace("'", "")
    expected = {"string_type": "a text", "tuple_type": "a list of texts"}
    return expected.get(error["type"], "a map of keys")


def _nearest(path: tuple[str, ...]) -> str:
    """Name the known key that was meant, or those that could have been."""
    known = [*known_keys(), *IGNORED, *(refused.key for refused in REFUSED)]
    *parents, name = path
    siblings = {
        key.split(".")[len(parents)]: None
        for key in known
        if key.split(".")[: len(parents)] == parents and key.count(".") >= len(parents)
    }
    by_last = {key.rpartition(".")[2]: key for key in reversed(known)}
    if near := difflib.get_close_matches(name.lower(), siblings, 1):
        return f"nearest known key: {'.'.join([*parents, near[0]])}"
    if near := difflib.get_close_matches(name.lower(), by_last, 1, cutoff=0.8):
        return f"nearest known key: {by_last[near[0]]}"
    if near := difflib.get_close_matches(".".join(path).lower(), known, 1, cutoff=0.8):
        return f"nearest known key: {near[0]}"
    return f"known here: {', '.join(sorted(siblings))}"
