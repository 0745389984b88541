"""The documentation says what the code does: every key, and none that is not there. So do the
examples in deploy/."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from fastreg.config import Config, dump, known_keys, load
from fastreg.config.azure import Azure
from fastreg.config.model import Storage
from fastreg.config.reference import IGNORED, OTHER_DRIVERS, REFUSED

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "configuration.md").read_text()


STORAGE = Storage.model_construct(azure=Azure.model_construct())


def rows(heading: str) -> list[list[str]]:
    """The rows of the table below a heading, as lists of cells."""
    section = PAGE.split(f"\n## {heading}\n", 1)[1].split("\n## ", 1)[0]
    lines = [line for line in section.splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines[1:]]


def quoted(cells: list[str]) -> set[str]:
    return {key for cell in cells for key in re.findall(r"`([^`]+)`", cell)}


def test_every_key_is_documented_and_every_documented_key_exists() -> None:
    documented = [cells[0].strip("`") for cells in rows("Keys")]
    assert sorted(documented) == sorted(known_keys())


def test_every_key_has_its_variable() -> None:
    wrong = [
        cells[3]
        for cells in rows("Keys")
        if cells[3] != f"`REGISTRY_{cells[0].strip('`').upper().replace('.', '_')}`"
    ]
    assert wrong == []


@pytest.mark.parametrize("cells", rows("Keys"), ids=lambda cells: cells[0].strip("`"))
def test_a_documented_default_is_the_models(cells: list[str]) -> None:
    value = dump(Config()) | {"storage": STORAGE.model_dump(mode="json")}
    for part in cells[0].strip("`").split("."):
        value = value[part]
    computed = {
        "http.workers": "one a core",
        "http.host": "from each request",
        "storage.redirect.disable": "true` with `storage.cache.path`, else `false",
    }
    nothing = "none" if value in ({}, "", None) else plain(value)
    expected = computed.get(cells[0].strip("`"), nothing)
    assert cells[1].split(";")[0].strip("`").removeprefix("./") == expected


def plain(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def test_every_ignored_key_is_documented_and_no_other() -> None:
    documented = quoted([cells[0] for cells in rows("Accepted without effect")])
    assert documented == set(IGNORED)


def test_every_refused_key_is_documented_and_no_other() -> None:
    documented = quoted([cells[0] for cells in rows("Refused")])
    drivers = {f"storage.{driver}" for driver in OTHER_DRIVERS}
    assert documented == {refused.key for refused in REFUSED} | drivers


def unit_environment(*names: str) -> dict[str, str]:
    """The variables that systemd sets, given these files one after the other."""
    text = "\n".join((ROOT / "deploy" / name).read_text() for name in names)
    environ = dict(re.findall(r"^Environment=(REGISTRY_\w+)=(.*)$", text, re.M))
    for name in re.findall(r"^UnsetEnvironment=(\w+)$", text, re.M):
        del environ[name]
    return environ


def test_the_unit_keeps_its_images_in_its_directory() -> None:
    config = load(None, unit_environment("fastreg.service"))
    assert str(config.storage.filesystem.rootdirectory) == "/var/lib/fastreg"


def test_the_units_drop_in_keeps_them_in_a_container_and_caches_them() -> None:
    storage = load(None, unit_environment("fastreg.service", "fastreg-azure.conf")).storage
    assert storage.azure
    assert (storage.azure.container, str(storage.cache.path)) == ("registry", "/var/cache/fastreg")


def test_the_settings_for_app_service_are_a_configuration() -> None:
    settings = json.loads((ROOT / "deploy" / "azure-app-service.json").read_text())
    config = load(None, {entry["name"]: entry["value"] for entry in settings})
    assert config.storage.azure
    assert config.http.addr == ":5000"
