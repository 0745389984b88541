"""The configuration: the reference registry's YAML keys as a model, and `load`.

Rule: a key that is neither in the model nor in `reference` ends the start.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterator, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, Final, Literal, get_args

from pydantic import AfterValidator, BaseModel, Field, PrivateAttr, SecretStr, ValidationError
from pydantic_core import ErrorDetails

from fastreg.config import values
from fastreg.config.azure import Azure
from fastreg.config.fields import (
    Directory,
    Duration,
    Flag,
    HeaderName,
    HeaderValue,
    Integer,
    Level,
    Secret,
    Section,
    Share,
    Size,
    Url,
    at_least,
    within,
)
from fastreg.config.older import take_over
from fastreg.config.reference import IGNORED, REFUSED, take_out
from fastreg.config.source import Source, read, shown
from fastreg.config.values import ConfigError, wrong


def _limit(value: int) -> int:
    return value if value > 0 else 1000


def _limit_not_negative(value: int) -> int:
    if value < 0:
        raise wrong("an integer of at least 0")
    return _limit(value)


class AccessLog(Section):
    disabled: Flag = False


class Log(Section):
    level: Level = "info"
    formatter: Literal["text", "json", "logstash"] = "text"
    fields: dict[str, str] = Field(default_factory=dict)
    """Added to every line of the application's log."""
    accesslog: AccessLog = AccessLog()


class Filesystem(Section):
    rootdirectory: Directory = Path("/var/lib/registry")


class Delete(Section):
    enabled: Flag = False


class UploadPurging(Section):
    enabled: Flag = True
    age: Annotated[Duration, at_least(timedelta(minutes=1))] = timedelta(hours=168)
    interval: Annotated[Duration, at_least(timedelta(seconds=1))] = timedelta(hours=24)
    dryrun: Flag = False


class ReadOnly(Section):
    enabled: Flag = False


class Maintenance(Section):
    uploadpurging: UploadPurging = UploadPurging()
    readonly: ReadOnly = ReadOnly()


class Cache(Section):
    path: Directory | None = None
    """None: nothing is cached."""
    maxsize: Size = 0.8
    revalidate: Annotated[Duration, at_least(timedelta())] = timedelta(seconds=1)
    sampling: Share = 0.01
    """Of the openings of a cached blob, those that have its digest verified again."""
    prefetch: Flag = False


class Redirect(Section):
    disable: Flag | None = None
    """None: redirect where nothing is cached."""


class Storage(Section):
    filesystem: Filesystem = Filesystem(rootdirectory=Path("data"))
    """Where nobody names a driver, a directory below the working directory."""
    azure: Azure | None = None
    """Where it is given, the driver; else `filesystem` is."""
    cache: Cache = Cache()
    redirect: Redirect = Redirect()
    delete: Delete = Delete()
    maintenance: Maintenance = Maintenance()

    @property
    def redirects(self) -> bool:
        """Whether clients are sent to the store for a blob's content."""
        disabled = self.redirect.disable
        if disabled is None:
            disabled = self.cache.path is not None
        return self.azure is not None and not disabled


class HTTP(Section):
    addr: Annotated[str, AfterValidator(values.parse_address)] = "127.0.0.1:5000"
    host: Url = ""
    """The URL that clients see, without `/` at its end; empty: from each request."""
    relativeurls: Flag = False
    secret: Secret = SecretStr("")
    """Empty: sessions do not go on in a reference registry. fastreg itself needs none."""
    headers: dict[HeaderName, tuple[HeaderValue, ...]] = Field(default_factory=dict)
    prefix: Annotated[str, AfterValidator(values.parse_prefix)] = "/"
    """Begins and ends with `/`."""
    draintimeout: Annotated[Duration, at_least(timedelta())] = timedelta(seconds=30)
    workers: Annotated[Integer, within(1, 1024)] = Field(
        default_factory=lambda: len(os.sched_getaffinity(0))
    )


class Catalog(Section):
    maxentries: Annotated[Integer, AfterValidator(_limit)] = 1000


class Tags(Section):
    maxtags: Annotated[Integer, AfterValidator(_limit_not_negative)] = 1000


class Config(Section):
    """A checked configuration. `Config()` is the defaults."""

    version: Literal["0.1"] = "0.1"
    log: Log = Log()
    storage: Storage = Storage()
    http: HTTP = Field(default_factory=HTTP)
    catalog: Catalog = Catalog()
    tags: Tags = Tags()
    _ignored: tuple[str, ...] = PrivateAttr(())
    _renamed: dict[str, str] = PrivateAttr(default_factory=dict)

    @property
    def ignored(self) -> tuple[str, ...]:
        """The keys and variables that were given and have no effect."""
        return self._ignored

    @property
    def renamed(self) -> Mapping[str, str]:
        """The older names of variables that were understood, and today's."""
        return self._renamed


def load(path: Path | None, environ: Mapping[str, str]) -> Config:
    """Return the configuration of a file, or the defaults, under the environment's
    `REGISTRY_*` variables. Raises ConfigError. Touches nothing but the file."""
    source = read(path, environ, _SECTIONS, _COMPOUNDS)
    ignored = take_out(source)
    older = take_over(source, environ)
    _move_loglevel(source)
    try:
        config = Config.model_validate(source.tree)
    except ValidationError as error:
        raise ConfigError(_explain(error.errors()[0], source)) from None
    config._ignored = (*ignored, *older.ignored, *_unused(config.storage))
    config._renamed = older.renamed
    return config


def _unused(storage: Storage) -> Iterator[str]:
    """Yield the keys that were given and are for another driver than the one in use."""
    for name in ("cache", "redirect") if storage.azure is None else ():
        given = getattr(storage, name).model_fields_set
        yield from (f"storage.{name}.{key}" for key in sorted(given))


def dump(config: Config) -> dict[str, Any]:
    """Return the effective configuration as plain values, with secrets masked; without
    any, `load` reads it as the same."""
    storage = config.storage
    unused = {"filesystem"} if storage.azure else {"azure", "cache", "redirect"}
    return config.model_dump(mode="json", exclude={"storage": unused}, exclude_none=True)


def known_keys(model: type[BaseModel] = Config, parent: str = "") -> Iterator[str]:
    """Yield the dotted name of every key of the model that holds a value."""
    for name, info in model.model_fields.items():
        if section := _section(info.annotation):
            yield from known_keys(section, f"{parent}{name}.")
        else:
            yield parent + name


def _section(annotation: Any) -> type[BaseModel] | None:
    """Return the section that an annotation is, or is next to None."""
    kinds = (kind for kind in (annotation, *get_args(annotation)) if isinstance(kind, type))
    return next((kind for kind in kinds if issubclass(kind, BaseModel)), None)


_SECTIONS: Final = frozenset(
    [*Config.model_fields, "loglevel", *(key.split(".")[0] for key in IGNORED)]
)
_COMPOUNDS: Final = frozenset(
    part for key in (*known_keys(), *IGNORED) for part in key.split(".") if "_" in part
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
    if error["type"] == "amiss":
        return f"{'.'.join(map(str, path))}.{error['ctx']['key']}: {error['ctx']['what']}"
    key, value = source.label(path), shown(path, error["input"])
    if error["type"] == "extra_forbidden":
        return f"{key}: unknown key, with the value {value}; {_nearest(tuple(map(str, path)))}"
    return f"{key}: expected {_expected(error)}, got {value}"


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
