"""The Azure variables of the older registry that was written in Python.

They count where nobody names a storage driver by today's names.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from fastreg.config.reference import drivers_in
from fastreg.config.source import Source

_FLAVOR: Final = "SETTINGS_FLAVOR"
_KEYS: Final = {
    "AZURE_STORAGE_ACCOUNT_NAME": "accountname",
    "AZURE_STORAGE_ACCOUNT_KEY": "accountkey",
    "AZURE_STORAGE_CONTAINER": "container",
}
_DEFAULT_CONTAINER: Final = "registry"


@dataclass(frozen=True, slots=True)
class Older:
    """Which older variables were given, and what became of them."""

    ignored: tuple[str, ...] = ()
    renamed: dict[str, str] = field(default_factory=dict)
    """Today's name of each that counts."""


def take_over(source: Source, environ: Mapping[str, str]) -> Older:
    """Write into the tree what `SETTINGS_FLAVOR=azureblob` and the variables with it say."""
    if environ.get(_FLAVOR) != "azureblob":
        return Older()
    if drivers_in(source.tree):
        return Older(ignored=(_FLAVOR,))
    storage = source.tree.setdefault("storage", {})
    if not isinstance(storage, dict):
        return Older()
    azure = storage["azure"] = {"container": _DEFAULT_CONTAINER}
    renamed = {_FLAVOR: "REGISTRY_STORAGE=azure"}
    for variable, key in _KEYS.items():
        if environ.get(variable):
            azure[key] = environ[variable]
            source.variables[("storage", "azure", key)] = variable
            renamed[variable] = f"REGISTRY_STORAGE_AZURE_{key.upper()}"
    return Older(renamed=renamed)
