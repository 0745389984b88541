"""Where a configuration comes from: the YAML file, and `REGISTRY_A_B_C` on top of it.

The result is a plain tree of maps, lists and texts. Nothing here knows a key's meaning:
`true`, `5` and `168h` stay the texts that they are written as.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import yaml

from fastreg.config.values import MASK, ConfigError

PREFIX: Final = "REGISTRY_"
PATH_VARIABLE: Final = "REGISTRY_CONFIGURATION_PATH"
"""Names the file; the command line reads it."""

# What Kubernetes puts into every container next to a service `registry` or `registry-…`.
_KUBERNETES: Final = re.compile(
    r"REGISTRY(_[A-Z0-9_]+)?_"
    r"(SERVICE_HOST|SERVICE_PORT(_[A-Z0-9_]+)?|PORT(_[0-9]+_(TCP|UDP|SCTP)(_(ADDR|PORT|PROTO))?)?)"
)
# Sections that may be a text instead of a map: the name of the one driver in them.
_NAMED_BY_TEXT: Final = ("storage", "auth")

_SECRET: Final = re.compile("secret|password|token|key|connectionstring")

_TAG: Final = "tag:yaml.org,2002:"
_NULL: Final = (_TAG + "null", re.compile(r"(?:~|null|Null|NULL|)\Z"))
_MERGE: Final = (_TAG + "merge", re.compile(r"<<\Z"))


@dataclass(frozen=True, slots=True)
class Source:
    """What was configured, and which environment variable set what of it."""

    tree: dict[str, Any]
    variables: dict[tuple[str, ...], str] = field(default_factory=dict)

    def label(self, path: Sequence[object]) -> str:
        """Return the key as an error names it: dotted, with the variable that set it."""
        keys = tuple(map(str, path))
        name = self._variable(keys)
        dotted = one_line(".".join(keys))
        return f"{dotted} (set by {one_line(name)})" if name else dotted

    def _variable(self, keys: tuple[str, ...]) -> str | None:
        for end in range(len(keys), 0, -1):
            if name := self.variables.get(keys[:end]):
                return name
        below = (name for path, name in self.variables.items() if path[: len(keys)] == keys)
        return next(below, None)


def read(
    path: Path | None,
    environ: Mapping[str, str],
    sections: Collection[str],
    compounds: Collection[str] = (),
) -> Source:
    """Return the file's tree with the environment's variables applied to it.

    `sections` are the known top-level keys, `compounds` the known keys with a `_` in them.
    Raises ConfigError.
    """
    # The copy that _without_nulls makes gives every YAML alias a map of its own to override.
    source = Source(_without_nulls(_name_drivers(_read_file(path))) if path else {})
    for name in sorted(environ):
        if name.startswith(PREFIX) and name != PATH_VARIABLE:
            keys = _keys_of(name, compounds)
            if keys[0].lower() in sections or not _KUBERNETES.fullmatch(name):
                _override(source, name, keys, environ[name])
    return Source(_without_nulls(source.tree), source.variables)


def _keys_of(variable: str, compounds: Collection[str]) -> list[str]:
    """Divide the variable's name at each `_` that is not within a key."""
    parts, keys = variable.split("_")[1:], []
    while parts:
        lengths = (n for n in range(len(parts), 1, -1) if "_".join(parts[:n]).lower() in compounds)
        length = next(lengths, 1)
        keys.append("_".join(parts[:length]))
        del parts[:length]
    return keys


def one_line(text: object) -> str:
    """Return `text` with its control characters and line breaks escaped, and cut to 200."""
    escaped = "".join(c if c.isprintable() else repr(c)[1:-1] for c in str(text)[:200])
    return escaped if len(str(text)) <= 200 else escaped + "…"


class _Loader(yaml.SafeLoader):
    """YAML whose plain scalars stay texts, and in which a key stands once in its map."""

    yaml_implicit_resolvers = {  # noqa: RUF012 - the name and kind are PyYAML's
        **{first: [_NULL] for first in ("", "~", "n", "N")},
        "<": [_MERGE],
    }

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            if key.tag not in (_TAG + "str", _TAG + "merge"):
                raise yaml.MarkedYAMLError(
                    problem="a key that is no text", problem_mark=key.start_mark
                )
            if key.value in seen:
                raise yaml.MarkedYAMLError(
                    problem=f"the key {key.value!r} stands twice", problem_mark=key.start_mark
                )
            seen.add(key.value)
        return super().construct_mapping(node, deep=deep)


def _parse(text: str | bytes, where: str) -> Any:
    try:
        loader = _Loader(text)
        # Children first: a node that contains itself is then an error, not a loop.
        loader.deep_construct = True
        return loader.get_single_data()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = f"line {mark.line + 1}: " if mark else ""
        what = ", ".join(filter(None, (error.context, error.problem)))
        raise ConfigError(one_line(f"{where}: {place}{what}")) from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        what = " ".join(str(error).split())
        raise ConfigError(one_line(f"{where}: cannot be read as YAML: {what}")) from None


def _read_file(path: Path) -> dict[str, Any]:
    try:
        content = path.read_bytes()
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise ConfigError(one_line(f"{path}: cannot be read: {reason}")) from None
    tree = _parse(content, str(path))
    if not isinstance(tree, dict):
        found = "nothing" if tree is None else describe(tree)
        raise ConfigError(one_line(f"{path}: expected a map of keys such as http, got {found}"))
    version = tree.get("version")
    if version is None:
        raise ConfigError(one_line(f"{path}: version: missing; expected 0.1"))
    return tree


def describe(value: object) -> str:
    """Return a value as an error shows it: short, on one line."""
    if isinstance(value, dict):
        return "a map"
    if isinstance(value, list | tuple):
        return "a list"
    shown = repr(value)
    return shown if len(shown) <= 80 else shown[:77] + "…" + shown[-1]


def shown(path: Sequence[object], value: object) -> str:
    """Return a key's value as an error shows it: a text that may hold a secret does not."""
    is_text = isinstance(value, str)
    may_be_secret = is_text and _SECRET.search(f"{path} {value}".lower())
    return MASK if may_be_secret else describe(value)


def _override(source: Source, name: str, segments: list[str], text: str) -> None:
    """Set the value at the variable's path, as the reference registry does: found keys in
    whatever case they are written, new keys in lower case."""
    value = _parse_variable(text)
    node: Any = source.tree
    path: tuple[str, ...] = ()
    for segment, following in zip(segments, [*segments[1:], None], strict=True):
        key = _key_in(node, segment, name)
        path = (*path, str(key))
        if following is None:
            node[key] = value
            break
        if node[key] is None:
            node[key] = [] if following == "0" else {}
        elif not isinstance(node[key], dict | list):
            have = f"{'.'.join(path)} has the value {shown(path, node[key])}"
            raise ConfigError(
                one_line(f"{name}: expected a map to set {following.lower()} in, but {have}")
            )
        node = node[key]
    _name_drivers(source.tree)
    for covered in [known for known in source.variables if known[: len(path)] == path]:
        del source.variables[covered]
    source.variables[path] = name


def _parse_variable(text: str) -> Any:
    """Return the YAML value of `text`, or `text` where it is none: `[::1]:5000` and a
    password that begins with @ need no quotes in a variable."""
    try:
        return _parse(text, "")
    except ConfigError:
        return text


def _key_in(node: dict[str, Any] | list[Any], segment: str, name: str) -> Any:
    """Return the key or index in `node` that `segment` means, made when it is not there."""
    if isinstance(node, list):
        index = int(segment) if re.fullmatch("[0-9]{1,6}", segment) else -1
        if not 0 <= index <= len(node):
            raise ConfigError(
                one_line(f"{name}: expected an index of 0 to {len(node)}, got {segment!r}")
            )
        if index == len(node):
            node.append(None)
        return index
    found = (key for key in node if key.lower() == segment.lower())
    key = next(found, segment.lower())
    node.setdefault(key, None)
    return key


def _name_drivers(tree: dict[str, Any]) -> dict[str, Any]:
    """Turn `storage: filesystem` into `storage: {filesystem: {}}`, and say that a driver
    without parameters is named."""
    for section in _NAMED_BY_TEXT:
        if isinstance(named := tree.get(section), str):
            tree[section] = {named: {}}
        elif isinstance(named, dict):
            tree[section] = {key: {} if value is None else value for key, value in named.items()}
    return tree


def _without_nulls(node: Any) -> Any:
    """A key without a value is a key that is not there."""
    if isinstance(node, dict):
        return {key: _without_nulls(value) for key, value in node.items() if value is not None}
    if isinstance(node, list):
        return [_without_nulls(value) for value in node]
    return node
