"""What a reload must pass before a worker runs it."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from socket import socket
from typing import Any

import pytest
import structlog

from fastreg import bootstrap
from fastreg.config import load
from fastreg.server.process import Plan


@pytest.fixture(autouse=True)
def logs_as_before() -> Iterator[None]:
    yield
    structlog.reset_defaults()


def config(root: Path, **overrides: str) -> Any:
    return load(
        None,
        {
            "REGISTRY_HTTP_ADDR": "127.0.0.1:0",
            "REGISTRY_STORAGE_FILESYSTEM_ROOTDIRECTORY": str(root),
            **overrides,
        },
    )


def plans(monkeypatch: pytest.MonkeyPatch, *configs: Any) -> Iterator[Plan]:
    """Serve the first configuration, then reload each of the others."""
    given: list[Any] = []

    class Supervisor:
        def __init__(self, sockets: Sequence[socket], plan: Plan, *args: Any) -> None:
            given.extend([plan, args[2]])
            for sock in sockets:
                sock.close()

        def run(self) -> int:
            return 0

    rest = iter(configs[1:])
    monkeypatch.setattr(bootstrap, "Supervisor", Supervisor)
    assert bootstrap.serve(configs[0], lambda: next(rest)) == 0
    plan, reload = given
    yield plan
    for _ in configs[1:]:
        yield reload()


def test_a_reload_refuses_a_root_that_a_start_refuses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "file"
    file.write_text("not a directory")
    served = plans(monkeypatch, config(tmp_path / "data"), config(file / "below"))
    next(served)
    with pytest.raises(OSError, match="rootdirectory"):
        next(served)


def test_a_plan_drains_as_its_configuration_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    longer = config(tmp_path, REGISTRY_HTTP_DRAINTIMEOUT="20s")
    first, second = plans(monkeypatch, config(tmp_path), longer)
    assert (first.drain_timeout_s, second.drain_timeout_s) == (30, 20)


def test_a_reload_leaves_the_log_as_it_is_until_it_is_adopted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    as_json = config(tmp_path, REGISTRY_LOG_FORMATTER="json")
    _, second = plans(monkeypatch, config(tmp_path), as_json)
    bootstrap.log.error("one")
    assert "msg=one" in capfd.readouterr().err
    second.adopt()
    bootstrap.log.error("two")
    assert '"msg": "two"' in capfd.readouterr().err


def test_a_reload_that_waits_for_its_store_says_that_it_lives(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    beats: list[None] = []

    def prepare(config: Any) -> None:
        deadline = time.monotonic() + 30
        while len(beats) < 2 and time.monotonic() < deadline:
            time.sleep(0.001)

    monkeypatch.setattr(bootstrap, "_BEAT_S", 0.01)
    monkeypatch.setattr(bootstrap.Notifier, "alive", lambda notifier: beats.append(None))
    served = plans(monkeypatch, config(tmp_path), config(tmp_path))
    next(served)
    monkeypatch.setattr(bootstrap.stores, "prepare", prepare)
    assert next(served).drain_timeout_s == 30
    assert len(beats) >= 2
