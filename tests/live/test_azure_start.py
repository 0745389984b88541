"""Starts and reloads over a storage account: what is enough, what is told, what is refused."""

from __future__ import annotations

import os
import signal
import socket
from pathlib import Path

import pytest

from tests.azurite import ACCOUNT, KEY, Azurite
from tests.live.client import noise
from tests.live.conftest import Start
from tests.live.processes import Registry, wait_until
from tests.live.test_start import EXIT_CONFIG, EXIT_FAILED, fail_to_start

pytestmark = pytest.mark.live


def account(azurite: Azurite, container: str) -> dict[str, str]:
    return {
        "storage.azure.accountname": ACCOUNT,
        "storage.azure.accountkey": KEY,
        "storage.azure.container": container,
        "storage.azure.serviceurl": azurite.service_url,
        "storage.azure.max_retries": "-1",
    }


def new_name(azurite: Azurite) -> str:
    return azurite.settings().container


def test_the_environment_alone_is_enough_and_a_missing_container_is_made(
    start: Start, azurite: Azurite
) -> None:
    container = new_name(azurite)
    settings = account(azurite, container) | {"storage.redirect.disable": "true"}
    registry = start({"storage": "azure", **settings})
    client = registry.client()
    client.push_image("app", "1", noise("azure", 100_000))
    client.pull_image("app", "1")
    assert f'msg="container made" account={ACCOUNT} container={container}' in registry.log()
    assert KEY not in registry.log()


def test_the_older_registrys_variables_are_understood(
    start: Start, azurite: Azurite, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SETTINGS_FLAVOR", "azureblob")
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_NAME", ACCOUNT)
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_KEY", KEY)
    monkeypatch.setenv("AZURE_STORAGE_CONTAINER", container := new_name(azurite))
    registry = start({"storage.azure.serviceurl": azurite.service_url})
    registry.client().push_image("app", "1", noise("older", 10_000))
    said = registry.log()
    assert f"container={container}" in said
    assert 'variable=SETTINGS_FLAVOR today="REGISTRY_STORAGE=azure"' in said
    assert "today=REGISTRY_STORAGE_AZURE_ACCOUNTKEY" in said
    assert KEY not in said


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"accountkey": "d3Jvbmc="}, "accountkey"),
        ({"serviceurl": "http://127.0.0.1:1/devstoreaccount1"}, "cannot be reached"),
    ],
)
def test_an_account_that_cannot_be_used_ends_the_start(
    azurite: Azurite, wrong: dict[str, str], said: str
) -> None:
    settings = account(azurite, new_name(azurite))
    settings |= {f"storage.azure.{key}": value for key, value in wrong.items()}
    status, line = fail_to_start(settings)
    assert status == EXIT_FAILED
    assert line.startswith("fastreg: storage.azure")
    assert said in line
    assert KEY not in line


def test_a_container_that_is_not_named_ends_the_start(azurite: Azurite) -> None:
    status, line = fail_to_start(account(azurite, ""))
    assert (status, line[:42]) == (EXIT_CONFIG, "fastreg: storage.azure.container: missing;")


def test_a_cache_directory_that_cannot_be_made_ends_the_start(
    azurite: Azurite, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("not a directory")
    settings = account(azurite, azurite.new_container().container)
    settings["storage.cache.path"] = str(tmp_path / "file" / "cache")
    status, line = fail_to_start(settings)
    assert status == EXIT_FAILED
    assert f"storage.cache.path {tmp_path}/file/cache: " in line


def test_the_cache_is_nobody_elses_to_read(start: Start, azurite: Azurite, workdir: Path) -> None:
    cache = workdir / "new" / "cache"
    start(account(azurite, new_name(azurite)) | {"storage.cache.path": str(cache)})
    assert cache.stat().st_mode & 0o777 == 0o700


def test_the_start_leaves_no_thread_and_no_connection_to_be_forked(
    start: Start, azurite: Azurite
) -> None:
    registry = start(account(azurite, new_name(azurite)))
    registry.wait_for_workers()
    assert len(os.listdir(f"/proc/{registry.pid}/task")) == 1
    sockets = [
        target
        for fd in Path(f"/proc/{registry.pid}/fd").iterdir()
        if (target := os.readlink(fd)).startswith("socket:")
    ]
    assert len(sockets) == 1, "the one that it listens on"


def configure(path: Path, azurite: Azurite, container: str, cache: Path) -> None:
    path.write_text(f"""
version: 0.1
storage:
  azure:
    accountname: {ACCOUNT}
    accountkey: {KEY}
    container: {container}
    serviceurl: {azurite.service_url}
    max_retries: -1
  cache:
    path: {cache}
""")


def test_a_reload_serves_another_container_and_the_first_again(
    start: Start, azurite: Azurite, workdir: Path
) -> None:
    config = workdir / "config.yml"
    first, second = new_name(azurite), new_name(azurite)
    configure(config, azurite, first, workdir / "cache")
    registry = start({"storage.azure.skipverify": "false"}, config=config)
    registry.client().push_image("app", "1", noise("reload", 50_000))
    registry.client().pull_image("app", "1")
    for container, status in ((second, 404), (first, 200)):
        configure(config, azurite, container, workdir / "cache")
        registry.signal(signal.SIGHUP)
        wait_for_status(registry, status)
    assert registry.client().manifest("app", "1").status == 200


def wait_for_status(registry: Registry, status: int) -> None:
    """Wait until `app` is answered so by the workers that a reload began."""

    def is_answered() -> bool:
        return registry.client().manifest("app", "1").status == status

    wait_until(is_answered, f"the reload is seen by a {status}")


def test_a_reload_that_cannot_reach_the_account_changes_nothing(
    start: Start, azurite: Azurite, workdir: Path
) -> None:
    config = workdir / "config.yml"
    configure(config, azurite, new_name(azurite), workdir / "cache")
    registry = start({"storage.azure.skipverify": "false"}, config=config)
    registry.client().push_image("app", "1", noise("reload", 50_000))
    with socket.create_server(("127.0.0.1", 0)) as nobody:
        address = f"http://127.0.0.1:{nobody.getsockname()[1]}/{ACCOUNT}"
    config.write_text(config.read_text().replace(azurite.service_url, address))
    registry.signal(signal.SIGHUP)
    wait_until(lambda: 'msg="reload failed"' in registry.log(), "the reload is given up")
    assert f"at {address}: " in registry.log()
    registry.client().pull_image("app", "1")
