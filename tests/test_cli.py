"""The command line: which configuration it takes, what it prints and how it ends."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import click.testing
import pytest
import yaml
from click.testing import CliRunner

from fastreg import bootstrap, cli
from fastreg.config import Config, ConfigError, load
from fastreg.server.listener import ListenError


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Callable[..., click.testing.Result]:
    for name in [name for name in os.environ if name.startswith("REGISTRY_")]:
        monkeypatch.delenv(name)

    def run_cli(*args: object, **environ: str) -> click.testing.Result:
        return CliRunner().invoke(cli.main, [str(arg) for arg in args], env=environ)

    return run_cli


@pytest.fixture
def config_file(tmp_path: Path) -> Path:
    path = tmp_path / "config.yml"
    path.write_text("version: 0.1\nhttp: {addr: ':1234'}\nredis: {db: 1}\n")
    return path


Run = Callable[..., click.testing.Result]


def test_check_config_prints_what_is_in_force_and_what_has_no_effect(
    run: Run, config_file: Path
) -> None:
    result = run("check-config", config_file, REGISTRY_CATALOG_MAXENTRIES="5")
    assert result.exit_code == 0
    printed = yaml.safe_load(result.stdout)
    assert printed["http"]["addr"] == ":1234"
    assert printed["catalog"]["maxentries"] == 5
    assert result.stderr == "fastreg: redis has no effect\n"


def test_what_check_config_prints_is_a_configuration(
    run: Run, config_file: Path, tmp_path: Path
) -> None:
    printed = tmp_path / "printed.yml"
    printed.write_text(run("check-config", config_file).stdout)
    assert load(printed, {}) == load(printed, {"REGISTRY_HTTP_ADDR": ":1234"})


def test_check_config_hides_secrets_and_names_todays_variables(run: Run) -> None:
    result = run(
        "check-config",
        SETTINGS_FLAVOR="azureblob",
        AZURE_STORAGE_ACCOUNT_NAME="account",
        AZURE_STORAGE_ACCOUNT_KEY="aHVudGVyMg==",
    )
    assert result.exit_code == 0
    assert yaml.safe_load(result.stdout)["storage"]["azure"]["accountkey"] == "***"
    assert "aHVudGVyMg==" not in result.output
    said = "AZURE_STORAGE_ACCOUNT_KEY is understood; its name today is "
    assert said + "REGISTRY_STORAGE_AZURE_ACCOUNTKEY\n" in result.stderr


@pytest.mark.parametrize("command", ["serve", "check-config"])
def test_a_wrong_configuration_ends_with_status_2_and_one_line(
    run: Run, config_file: Path, command: str
) -> None:
    result = run(command, config_file, REGISTRY_HTTP_ADR="x")
    assert result.exit_code == 2
    assert result.stdout == ""
    [line] = result.stderr.splitlines()
    assert line.startswith("fastreg: http.adr (set by REGISTRY_HTTP_ADR): unknown key")


def test_a_missing_file_ends_with_status_2_and_one_line(run: Run, tmp_path: Path) -> None:
    missing = tmp_path / "missing.yml"
    result = run("check-config", missing)
    assert result.exit_code == 2
    assert result.stderr == f"fastreg: {missing}: cannot be read: No such file or directory\n"


def test_the_environment_names_the_file_where_the_call_does_not(
    run: Run, config_file: Path, tmp_path: Path
) -> None:
    by_variable = run("check-config", REGISTRY_CONFIGURATION_PATH=str(config_file))
    assert yaml.safe_load(by_variable.stdout)["http"]["addr"] == ":1234"
    by_both = run("check-config", config_file, REGISTRY_CONFIGURATION_PATH="/nowhere")
    assert by_both.exit_code == 0
    by_none = run("check-config", REGISTRY_CONFIGURATION_PATH="")
    assert yaml.safe_load(by_none.stdout)["http"]["addr"] == "127.0.0.1:5000"


def test_serve_hands_over_the_configuration_and_the_way_to_load_it_again(
    run: Run, config_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Config] = []

    def serve(config: Config, reload: Callable[[], Config]) -> int:
        config_file.write_text("version: 0.1\nhttp: {addr: ':4321'}\n")
        seen.extend((config, reload()))
        return 3

    monkeypatch.setattr(bootstrap, "serve", serve)
    assert run("serve", config_file).exit_code == 3
    assert [config.http.addr for config in seen] == [":1234", ":4321"]


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (ListenError("cannot listen on :80: not permitted"), 1),
        (OSError("storage.filesystem.rootdirectory /x: Permission denied"), 1),
        (ConfigError("http.addr: wrong"), 2),
        (OSError("two\nlines"), 1),
    ],
)
def test_a_start_that_fails_is_told_in_one_line(
    run: Run, monkeypatch: pytest.MonkeyPatch, error: Exception, status: int
) -> None:
    def serve(config: Config, reload: Callable[[], Config]) -> int:
        raise error

    monkeypatch.setattr(bootstrap, "serve", serve)
    result = run("serve")
    assert result.exit_code == status
    assert result.stderr == f"fastreg: {' '.join(str(error).split())}\n"


def test_the_version_is_printed(run: Run) -> None:
    result = run("--version")
    assert result.exit_code == 0
    assert result.stdout.startswith("fastreg ")


def test_an_unknown_command_ends_with_status_2(run: Run) -> None:
    assert run("sevre").exit_code == 2


def test_the_package_runs_as_a_module(config_file: Path) -> None:
    environ = {k: v for k, v in os.environ.items() if not k.startswith("REGISTRY_")}
    done = subprocess.run(
        [sys.executable, "-m", "fastreg", "check-config", config_file],
        env={**environ, "PYTHONPATH": str(Path(cli.__file__).parents[1])},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "fastreg: redis has no effect\n")
    assert yaml.safe_load(done.stdout)["http"]["addr"] == ":1234"
