"""The values of a configuration: how a text of the file becomes what the model holds.

Rule: the file's scalars arrive as they are written, and the key that they stand under
decides what they mean. A parser raises `wrong(…)`, which says what was expected.
"""

from __future__ import annotations

import re
from datetime import timedelta
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from pydantic_core import PydanticCustomError

MASK: Final = "***"
"""Stands for a secret wherever a configuration or an error is shown."""


class ConfigError(Exception):
    """The configuration cannot be used; the message is one line that names the key."""


def wrong(expected: str) -> PydanticCustomError:
    """Return the error of a value that is not what its key expects; a ValueError."""
    return PydanticCustomError("wrong", "expected {expected}", {"expected": expected})


def amiss(key: str, what: str) -> PydanticCustomError:
    """Return the error of a section in which a key is missing, or does not fit the others;
    a ValueError."""
    return PydanticCustomError("amiss", "{key}: {what}", {"key": key, "what": what})


# yaml.org/type/bool: what the reference registry's parser takes for a truth value.
_FLAGS: Final = {
    **dict.fromkeys(("true", "yes", "on", "y"), True),
    **dict.fromkeys(("false", "no", "off", "n"), False),
}
_INTEGER: Final = re.compile(r"[+-]?[0-9]{1,18}", re.ASCII)
_DURATION: Final = re.compile(r"([0-9]+\.?[0-9]*|\.[0-9]+)(ns|us|µs|μs|ms|s|m|h)", re.ASCII)
_NANOSECONDS: Final = {
    "ns": 1,
    "us": 1_000,
    "µs": 1_000,
    "μs": 1_000,
    "ms": 1_000_000,
    "s": 1_000_000_000,
    "m": 60_000_000_000,
    "h": 3_600_000_000_000,
}
_MAX_NANOSECONDS: Final = 2**63 - 1
_A_DURATION: Final = "a duration with its unit, such as 30s, 1h30m or 168h"
_UNITS: Final = {
    f"{prefix}{unit}": base ** (power + 1)
    for unit, base in (("iB", 1024), ("B", 1000))
    for power, prefix in enumerate("KMGT")
}
_SIZE: Final = re.compile(rf"([0-9]{{1,15}}(?:\.[0-9]{{1,9}})?)(%|B|{'|'.join(_UNITS)})", re.ASCII)
_A_SIZE: Final = "a size with its unit, such as 50GiB or 20GB, or a percentage up to 100%"
_AN_ADDRESS: Final = "an address such as 127.0.0.1:5000, [::1]:5000 or :5000"
_ADDRESS: Final = re.compile(r"(?:[A-Za-z0-9._-]*|\[[0-9A-Fa-f:.%a-z]+\]):([0-9]{1,5})", re.ASCII)
_A_URL: Final = "a URL such as https://registry.example.org"
_HOST: Final = re.compile(r"[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\]", re.ASCII)
_URL_PATH: Final = re.compile(r"/(?:[A-Za-z0-9._~-]+/)*", re.ASCII)
_TOKEN: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", re.ASCII)
_FIELD_VALUE: Final = re.compile(r"[\t\x20-\x7e\x80-\xff]*")
# A fixed value of one of these would break the framing of every answer (RFC 9110, 9112).
_FRAMING: Final = frozenset(
    ("connection", "content-length", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade")
)


def parse_flag(value: object) -> bool:
    """Return the truth value that `value` is, or is written as in YAML 1.1."""
    if isinstance(value, bool):
        return value
    flag = _FLAGS.get(value.lower()) if isinstance(value, str) else None
    if flag is None:
        raise wrong("true or false")
    return flag


def parse_integer(value: object) -> int:
    """Return the integer that `value` is, or is written as in decimal."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if not isinstance(value, str) or not _INTEGER.fullmatch(value):
        raise wrong("an integer")
    return int(value)


def parse_duration(value: object) -> timedelta:
    """Return the duration that `value` is, or is written as for Go's time.ParseDuration.

    A number without a unit is refused, as there, except 0. What is below a microsecond
    is cut off.
    """
    if isinstance(value, timedelta):
        return value
    if not isinstance(value, str):
        raise wrong(_A_DURATION)
    negative, text = value.startswith("-"), value[1:] if value[:1] in ("+", "-") else value
    nanoseconds = 0 if text == "0" else _nanoseconds(text)
    return timedelta(microseconds=nanoseconds // 1_000) * (-1 if negative else 1)


def _nanoseconds(text: str) -> int:
    total, at = 0, 0
    while at < len(text) or not at:
        # Go's own durations stay below 20 digits; the bound keeps int() cheap.
        part = _DURATION.match(text, at) if len(text) < 200 else None
        if not part:
            raise wrong(_A_DURATION)
        whole, _, fraction = part[1].partition(".")
        unit = _NANOSECONDS[part[2]]
        total += int(whole or "0") * unit + int(fraction or "0") * unit // 10 ** len(fraction)
        at = part.end()
    if total > _MAX_NANOSECONDS:
        raise wrong("a duration below 292 years")
    return total


def format_duration(value: timedelta) -> str:
    """Return `value` as `parse_duration` reads it: `1h30m`, `168h`, `0s`."""
    left = value // timedelta(microseconds=1)
    text, left = ("-", -left) if left < 0 else ("", left)
    for unit in ("h", "m", "s", "ms", "us"):
        count, left = divmod(left, _NANOSECONDS[unit] // 1_000)
        text += f"{count}{unit}" if count else ""
    return text if text.strip("-") else "0s"


def parse_size(value: object) -> int | float:
    """Return the bytes that `value` is written for, or the share of a whole, as a float."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return value
    size = _SIZE.fullmatch(value) if isinstance(value, str) else None
    if not size or not float(size[1]) or (size[2] == "%" and float(size[1]) > 100):
        raise wrong(_A_SIZE)
    if size[2] == "%":
        return float(size[1]) / 100
    return int(float(size[1]) * _UNITS.get(size[2], 1))


def format_size(value: int | float) -> str:
    """Return `value` as `parse_size` reads it: `50GiB`, `1500MB`, `80%`."""
    if isinstance(value, float):
        return f"{value * 100:.9g}%"
    fitting = (unit for unit, size in _UNITS.items() if value % size == 0)
    unit = max(fitting, key=_UNITS.__getitem__, default="B")
    return f"{value // _UNITS.get(unit, 1)}{unit}"


def parse_share(value: object) -> float:
    """Return the number of 0 to 1 that `value` is or is written as."""
    try:
        share = float(value) if isinstance(value, str | int | float) else -1.0
    except ValueError:
        share = -1.0
    if not 0 <= share <= 1:
        raise wrong("a number of 0 to 1, such as 0.01")
    return share


def parse_address(value: str) -> str:
    """Return `value` when it is `host:port`, `[IPv6]:port` or `:port`."""
    address = _ADDRESS.fullmatch(value)
    if not address:
        raise wrong(_AN_ADDRESS)
    if int(address[1]) > 65535:
        raise wrong("a port of 0 to 65535")
    return value


def parse_path(value: object) -> Path:
    """Return the path of a file or directory that `value` is or names."""
    if isinstance(value, Path):
        return value
    if not isinstance(value, str) or not value or "\0" in value:
        raise wrong("a path")
    return Path(value)


def parse_url(value: str) -> str:
    """Return an http(s) URL of a host, a port and a path, without a `/` at its end; an
    empty text stays one."""
    if not value:
        return value
    try:
        url = urlsplit(value)
        has_port = url.port is not None
    except ValueError:
        raise wrong(_A_URL) from None
    host = url.netloc.removesuffix(f":{url.port}") if has_port else url.netloc
    if url.scheme not in ("http", "https") or not _HOST.fullmatch(host):
        raise wrong(_A_URL)
    if "?" in value or "#" in value or not _URL_PATH.fullmatch(url.path.rstrip("/") + "/"):
        raise wrong(f"{_A_URL}, without query and fragment")
    return value.rstrip("/")


def parse_prefix(value: str) -> str:
    """Return a URL path that begins and ends with `/`."""
    path = value if value.endswith("/") else value + "/"
    if not _URL_PATH.fullmatch(path) or "/./" in path or "/../" in path:
        raise wrong("a URL path that begins with /, such as /registry/")
    return path


def parse_header_name(value: str) -> str:
    """Return `value` when it is a header's name that an answer may carry unchanging."""
    if not _TOKEN.fullmatch(value):
        raise wrong("the name of an HTTP header")
    if value.lower() in _FRAMING:
        raise wrong("a header other than those that the server itself sets")
    return value


def parse_header_value(value: str) -> str:
    """Return `value` when it is one line that can be sent as a header's value."""
    if not _FIELD_VALUE.fullmatch(value):
        raise wrong("one line of Latin-1 text without control characters")
    return value
