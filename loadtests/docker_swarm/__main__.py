"""`python -m loadtests.docker_swarm`: roll an image out to real Docker daemons, in turns from
fastreg and from docker-registry, and print how soon every node had it."""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path

import click

from loadtests.bench.programs import SOURCES, find
from loadtests.client.failures import Failure
from loadtests.docker_swarm.engine import EngineError
from loadtests.docker_swarm.network import MAX_NODES, enter_bridge
from loadtests.docker_swarm.remains import Interrupted, own_directory
from loadtests.docker_swarm.report import Report, Settings
from loadtests.docker_swarm.rollouts import RolloutError
from loadtests.docker_swarm.stand import measure
from loadtests.images.catalog import NAMES
from loadtests.options import SCALE

RESULTS = SOURCES / "loadtests" / "results"
PACKAGES = {
    "dockerd": "docker.io",
    "docker-registry": "docker-registry",
    "ip": "iproute2",
    "mount": "mount",
    "unshare": "util-linux",
}
CANNOT_RUN = 2


@click.command(help=__doc__)
@click.option("--nodes", default=5, show_default=True, type=click.IntRange(1, MAX_NODES))
@click.option(
    "--rounds",
    default=3,
    show_default=True,
    type=click.IntRange(1),
    help="Rollouts from each registry",
)
@click.option(
    "--image",
    default="herd",
    show_default=True,
    type=click.Choice(NAMES),
    help="Whose layers' sizes are taken",
)
@click.option(
    "--scale",
    default=1.0,
    show_default=True,
    type=SCALE,
    help="Size of the layers; 1 is that of the real image",
)
@click.option("--one-by-one", is_flag=True, help="Tell every daemon by itself: no Docker swarm")
@click.option(
    "--directory",
    type=click.Path(path_type=Path, file_okay=False, exists=True),
    help="Where nodes and registries keep their data (default: $TMPDIR)",
)
@click.option(
    "--results",
    type=click.Path(path_type=Path, file_okay=False),
    default=RESULTS,
    help="Where the JSON goes (default: loadtests/results)",
)
def main(directory: Path | None, results: Path, **settings: object) -> None:
    if reason := why_not():
        print(reason, file=sys.stderr)
        sys.exit(CANNOT_RUN)
    report = run(directory, Settings(**settings))  # type: ignore[arg-type]
    path = results / f"docker-swarm-{time.strftime('%Y%m%d-%H%M%S')}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(report.as_json(), indent=1, ensure_ascii=False) + "\n")
    print(report.text())
    print(f"\nEvery rollout is in {path}")


def why_not() -> str | None:
    """Enter the bridge's network; return why nothing can be measured here, in one line."""
    if os.geteuid() != 0:
        return "Docker daemons and network namespaces need root: run this as root."
    if missing := [package for name, package in PACKAGES.items() if find(name) is None]:
        return f"Something is missing: apt-get install {' '.join(missing)}"
    if not enter_bridge():
        return "No network namespace with a bridge can be had here; a container must be privileged."
    return None


def run(directory: Path | None, settings: Settings) -> Report:
    """Measure; end with a line that says why, where that fails."""
    try:
        with own_directory(directory) as workdir:
            return measure(workdir, settings)
    except Interrupted as interrupted:
        print(f"Ended by {interrupted}; nothing is left of it.", file=sys.stderr)
        sys.exit(interrupted.exit_code)
    except (RolloutError, EngineError, Failure, RuntimeError, OSError) as error:
        sys.exit(f"Not measured: {error}")


if __name__ == "__main__":
    main()
