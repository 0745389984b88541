"""The Azure variables of the older registry that was written in Python.

They count where today's names say nothing else.
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
    storage = source.tree.setdefault("storage", {})
    if environ.get(_FLAVOR) != "azureblob" or not isinstance(storage, dict):
        return Older()
    if drivers_in(source.tree) not in ([], ["azure"]):
        return Older(ignored=(_FLAVOR,))
    azure = storage.setdefault("azure", {})
    if not isinstance(azure, dict):
        return Older()
    renamed = {_FLAVOR: "REGISTRY_STORAGE=azure"}
    for variable, key in _KEYS.items():
        if environ.get(variable) and key not in azure:
            azure[key] = environ[variable]
            source.variables[("storage", "azure", key)] = variable
            renamed[variable] = f"REGISTRY_STORAGE_AZURE_{key.upper()}"
    azure.setdefault("container", _DEFAULT_CONTAINER)
    return Older(renamed=renamed)
