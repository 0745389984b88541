"""Keys of the reference registry that fastreg does not have.

A key whose absence costs nothing is taken out of the tree and reported; one that protects
or promises something is refused, so that nobody serves without it unknowingly.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from fastreg.config.source import Source
from fastreg.config.values import ConfigError

DRIVERS: Final = ("filesystem", "azure")
OTHER_DRIVERS: Final = frozenset(("gcs", "inmemory", "oss", "s3", "s3aws", "swift"))


@dataclass(frozen=True, slots=True)
class Refused:
    key: str
    is_used: Callable[[Any], bool]
    reason: str


def _is_set(value: Any) -> bool:
    """True where any text stands in `value`."""
    if isinstance(value, dict):
        return any(map(_is_set, value.values()))
    if isinstance(value, list):
        return any(map(_is_set, value))
    return bool(value)


def _has_enabled(value: Any) -> bool:
    """True for entries of which one is not `disabled: true`."""
    if isinstance(value, list):
        return any(map(_has_enabled, value))
    return _is_set(value) and not (
        isinstance(value, dict) and str(value.get("disabled")).lower() == "true"
    )


def _is_protected(auth: Any) -> bool:
    return not isinstance(auth, dict) or any(name.lower() != "none" for name in auth)


def _has_hooks(middleware: Any) -> bool:
    if isinstance(middleware, dict):
        return any(map(_has_enabled, middleware.values()))
    return _is_set(middleware)


_NO_TLS: Final = "TLS is not supported yet: refusing to serve in the clear what is to be encrypted"
_NO_URL_RULES: Final = (
    "rules for URLs in manifests are not supported yet: "
    "refusing to accept what the configuration forbids"
)

REFUSED: Final = (
    Refused(
        "auth",
        _is_protected,
        "authentication is not supported yet: "
        "refusing to serve unprotected what the configuration protects",
    ),
    Refused("http.tls.certificate", _is_set, _NO_TLS),
    Refused("http.tls.key", _is_set, _NO_TLS),
    Refused("http.tls.clientcas", _is_set, _NO_TLS),
    Refused("http.tls.letsencrypt", _is_set, _NO_TLS),
    Refused(
        "http.net",
        lambda net: net != "tcp",
        "only tcp is supported: refusing to listen elsewhere than configured",
    ),
    Refused(
        "proxy.remoteurl",
        _is_set,
        "pull-through mirroring is not supported yet: refusing to serve without the upstream",
    ),
    Refused(
        "notifications.endpoints",
        _has_enabled,
        "notifications are not supported yet: refusing to drop events that somebody waits for",
    ),
    Refused(
        "middleware",
        _has_hooks,
        "middleware is not supported: refusing to serve without what it does",
    ),
    Refused("validation.manifests.urls.allow", _is_set, _NO_URL_RULES),
    Refused("validation.manifests.urls.deny", _is_set, _NO_URL_RULES),
)
"""The keys that end the start when they are used."""

IGNORED: Final = (
    "auth",
    "compatibility",
    "health",
    "http.debug",
    "http.h2c",
    "http.http2",
    "http.net",
    "http.tls",
    "log.hooks",
    "log.reportcaller",
    "middleware",
    "notifications",
    "policy",
    "proxy",
    "redis",
    "reporting",
    "storage.azure.copy_status_poll_delay",
    "storage.azure.copy_status_poll_max_retry",
    "storage.cache.blobdescriptor",
    "storage.cache.blobdescriptorsize",
    "storage.cache.layerinfo",
    "storage.filesystem.maxthreads",
    "storage.tag",
    "validation",
)
"""The keys that are accepted with everything below them, and have no effect."""


def take_out(source: Source) -> tuple[str, ...]:
    """Remove the ignored keys from the tree and return those that were there.

    Raises ConfigError for a refused key and for another storage driver.
    """
    _check_driver(source)
    for refused in REFUSED:
        value = _find(source.tree, refused.key)
        if value is not None and refused.is_used(value):
            raise ConfigError(f"{source.label(refused.key.split('.'))}: {refused.reason}")
    return tuple(key for key in IGNORED if _remove(source.tree, key))


def drivers_in(tree: dict[str, Any]) -> list[str]:
    """Return the storage drivers that a configuration names."""
    storage = tree.get("storage")
    named = storage if isinstance(storage, dict) else {}
    return sorted(key for key in named if key in DRIVERS or key in OTHER_DRIVERS)


def _check_driver(source: Source) -> None:
    named = drivers_in(source.tree)
    if len(named) > 1:
        raise ConfigError(
            f"{source.label(['storage'])}: expected one driver, got {', '.join(named)}"
        )
    if named and named[0] not in DRIVERS:
        raise ConfigError(
            f"{source.label(['storage', *named])}: "
            f"driver {named[0]} is not supported; known: {', '.join(DRIVERS)}"
        )


def _find(tree: dict[str, Any], dotted: str) -> Any:
    node: Any = tree
    for key in dotted.split("."):
        node = node.get(key) if isinstance(node, dict) else None
    return node


def _remove(tree: dict[str, Any], dotted: str) -> bool:
    *parents, last = dotted.split(".")
    node = _find(tree, ".".join(parents)) if parents else tree
    return isinstance(node, dict) and node.pop(last, None) is not None
