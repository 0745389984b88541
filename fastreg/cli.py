"""The command line. The only importer of `bootstrap`.

Exit status: 0 done, 1 the start failed, 2 the configuration or the call is wrong.
"""

from __future__ import annotations

import os
import sys
from importlib import metadata
from pathlib import Path
from typing import NoReturn

import click
import yaml

from fastreg.config import PATH_VARIABLE, Config, ConfigError, dump, load

EXIT_FAILED = 1
EXIT_CONFIG = 2

_config_argument = click.argument(
    "path", metavar="[CONFIG.yml]", required=False, type=click.Path(path_type=Path)
)


def _print_version(ctx: click.Context, _param: click.Parameter, wanted: bool) -> None:
    if wanted:
        click.echo(f"fastreg {_version()}")
        ctx.exit()


def _version() -> str:
    try:
        return metadata.version("fastreg")
    except metadata.PackageNotFoundError:
        return "(not installed)"


@click.group()
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_print_version,
    help="Show the version and exit.",
)
def main() -> None:
    """A Docker/OCI registry.

    CONFIG.yml is the reference registry's configuration file; without one, the file that
    REGISTRY_CONFIGURATION_PATH names, else the defaults. REGISTRY_A_B_C=value sets the
    key a.b.c over it.
    """


@main.command()
@_config_argument
def serve(path: Path | None) -> None:
    """Serve the registry until SIGTERM."""
    config = _load(path)
    # The server's libraries take longer to import than the other commands take to run.
    from fastreg import bootstrap

    try:
        status = bootstrap.serve(config, lambda: load(_chosen(path), os.environ))
    except ConfigError as error:
        _fail(str(error), EXIT_CONFIG)
    except (bootstrap.ListenError, OSError) as error:
        _fail(str(error), EXIT_FAILED)
    sys.exit(status)


@main.command("check-config")
@_config_argument
def check_config(path: Path | None) -> None:
    """Print the effective configuration, as YAML that can be used again.

    Secrets are printed as ***.
    """
    config = _load(path)
    for key in config.ignored:
        click.echo(f"fastreg: {key} has no effect", err=True)
    for older, today in config.renamed.items():
        click.echo(f"fastreg: {older} is understood; its name today is {today}", err=True)
    click.echo(yaml.safe_dump(dump(config), sort_keys=False, allow_unicode=True), nl=False)


def _load(path: Path | None) -> Config:
    try:
        return load(_chosen(path), os.environ)
    except ConfigError as error:
        _fail(str(error), EXIT_CONFIG)


def _chosen(path: Path | None) -> Path | None:
    from_environment = os.environ.get(PATH_VARIABLE)
    return Path(from_environment) if path is None and from_environment else path


def _fail(message: str, status: int) -> NoReturn:
    click.echo(f"fastreg: {' '.join(message.split())}", err=True)
    sys.exit(status)
