"""`python -m loadtests.compare`: registries under the pulls of a swarm, compared."""

from __future__ import annotations

import contextlib
import json
import resource
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.progress import Progress

from loadtests.bench.accounts import HERE, account_at
from loadtests.bench.machine import describe
from loadtests.bench.network import enter_own_network, systems_network
from loadtests.bench.programs import SOURCES
from loadtests.bench.servers import REFERENCE
from loadtests.bench.table import table
from loadtests.client.failures import Failure
from loadtests.compare import bars, report
from loadtests.compare.contenders import (
    ACCOUNT,
    CONTENDERS,
    ELSEWHERE,
    Contender,
    Field,
    elsewhere,
    from_url,
)
from loadtests.compare.matrix import FULL, PARTS, QUICK, SHAPES, Settings, cases, turns
from loadtests.compare.results import Comparison, told
from loadtests.compare.runs import measure
from loadtests.compare.store import seed, seeded
from loadtests.images.catalog import NAMES, catalog
from loadtests.options import SCALE

ANY = click.Choice([contender.name for contender in CONTENDERS])
CONSOLE = Console(stderr=True)


def some_of(known: Sequence[str]) -> Callable[..., tuple[str, ...] | None]:
    """Return what takes an option of several words with commas between."""

    def parse(_: click.Context, __: click.Parameter, value: str | None) -> tuple[str, ...] | None:
        if value is None:
            return None
        given = tuple(word.strip() for word in value.split(","))
        if unknown := [word for word in given if word not in known]:
            raise click.BadParameter(f"there is no {unknown[0]!r}, but {', '.join(known)}")
        return given

    return parse


def numbers(_: click.Context, __: click.Parameter, value: str | None) -> tuple[int, ...] | None:
    if value is None:
        return None
    try:
        found = sorted({int(word) for word in value.split(",")})
    except ValueError:
        found = [0]
    if found[0] < 1:
        raise click.BadParameter("numbers from 1 with commas between, as 10,50,200")
    return tuple(found)


def registries(_: click.Context, __: click.Parameter, urls: tuple[str, ...]) -> list[Contender]:
    try:
        return [from_url(url) for url in urls]
    except Failure as failure:
        raise click.BadParameter(f"{failure} (as https://registry.example:5000)") from None


@click.command()
@click.option("--rounds", type=click.IntRange(1), help="Turns of every contender (default 2).")
@click.option("--nodes", callback=numbers, help="Sizes of the herds (default 10,50,100,200,500).")
@click.option("--images", callback=some_of(NAMES), help="Images to compare by (default: all six).")
@click.option(
    "--shapes",
    callback=some_of(SHAPES),
    help=f"Shapes, of {','.join(SHAPES)} (default: all but the first).",
)
@click.option("--part", "parts", multiple=True, type=click.Choice(PARTS), help="Only this part.")
@click.option("--only", multiple=True, type=ANY, help="Only this contender.")
@click.option("--scale", type=SCALE, help="Shrinks every layer (default 1).")
@click.option(
    "--registry",
    "others",
    multiple=True,
    callback=registries,
    metavar="URL",
    help="Compare this registry too (http://user:password@host:port); the images are pushed to it.",
)
@click.option(
    "--azure-reference",
    default=REFERENCE,
    metavar="PROGRAM",
    help="A reference registry with the azure driver, which Debian's lacks.",
)
@click.option("--quick", is_flag=True, help="Small and once: a first impression.")
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    default=SOURCES / "loadtests" / "results",
    help="Where JSON, report and pictures go (default loadtests/results).",
)
@click.option("--directory", type=click.Path(path_type=Path, exists=True), help="For the data.")
def main(
    only: tuple[str, ...],
    others: list[Contender],
    azure_reference: str,
    quick: bool,
    out: Path,
    directory: Path | None,
    **given: Any,
) -> None:
    """Compare registries under the pulls of a swarm: fastreg, docker-registry, nginx and others,
    in turns on this machine."""
    settings = replace(
        QUICK if quick else FULL, **{name: value for name, value in given.items() if value}
    )
    contenders = [one for one in CONTENDERS if not only or one.name in only] + others
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    allow_many_files()
    network = systems_network() if others else enter_own_network()
    out.mkdir(parents=True, exist_ok=True)
    path = out / f"swarm-{time.strftime('%Y%m%d-%H%M%S')}.json"
    with tempfile.TemporaryDirectory(prefix="fastreg-swarm-", dir=directory) as name:
        comparison = Comparison(describe(Path(name), network), settings)
        try:
            compare(Path(name), comparison, contenders, azure_reference)
        finally:
            if comparison.runs:
                comparison.save(path)
    if not comparison.runs:
        sys.exit("nothing was measured")
    click.echo("\n".join(summary(comparison)))
    page = report.render(json.loads(path.read_text()), path.with_suffix(""))
    click.echo(f"\nEvery run is in {path}, the report is {page}")


def allow_many_files() -> None:
    """Raise the limit of open files to the most that is allowed; whatever is started inherits
    it. 500 nodes have 2,000 connections."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def compare(
    workdir: Path,
    comparison: Comparison,
    contenders: Sequence[Contender],
    azure_reference: str,
) -> None:
    """Run everything; whatever ends it, what was measured until then stays."""
    settings = comparison.settings
    with contextlib.suppress(KeyboardInterrupt), contextlib.ExitStack() as stack:
        stand = stack.enter_context(standing(workdir, settings, contenders, azure_reference))
        ready = [one for one in contenders if is_ready(stand, one, comparison)]
        todo = list(turns(cases(settings), ready, settings.rounds))
        comparison.planned = len(todo)
        progress = stack.enter_context(Progress(console=CONSOLE))
        for number, case, contender in progress.track(todo, description="runs"):
            run = measure(stand, contender, case, number)
            comparison.runs.append(run)
            progress.console.print(told(run), highlight=False, soft_wrap=True)


@contextlib.contextmanager
def standing(
    workdir: Path, settings: Settings, contenders: Sequence[Contender], azure_reference: str
) -> Iterator[Field]:
    """Prepare what the contenders stand on: the images on the disk and, if need be, in an
    account; elsewhere as well."""
    names = list(dict.fromkeys(case.image for case in cases(settings)))
    images = {image.name: image for image in catalog(settings.scale, names)}
    store = seeded(workdir, settings.scale, list(images.values()))
    for contender in contenders:
        if contender.storage == ELSEWHERE:
            other = elsewhere(contender)
            seed(other.url, settings.scale, names, other.user, other.password)
    with contextlib.ExitStack() as stack:
        account = None
        if any(contender.storage == ACCOUNT for contender in contenders):
            account = stack.enter_context(account_at(HERE, workdir))
            account.publish(store)
        yield Field(workdir, store, images, account, azure_reference)


def is_ready(stand: Field, contender: Contender, comparison: Comparison) -> bool:
    """Start a contender for once, and note what it is, or why it is left out."""
    about = {"name": contender.name, "storage": contender.storage}
    comparison.contenders.append(about | {"version": stand.version(contender)})
    try:
        with stand.serving(contender, next(iter(stand.images.values()))):
            return True
    except (OSError, RuntimeError, Failure) as error:
        reason = why(str(error))
    comparison.contenders[-1]["left_out"] = reason
    CONSOLE.print(f"{contender.name} is left out: {reason}", highlight=False, soft_wrap=True)
    return False


def why(error: str) -> str:
    """Return the line of a log that says it: of Go the panic, else the last."""
    lines = [line for line in error.splitlines() if line.strip()]
    return next((line for line in lines if line.startswith("panic:")), ["?", *lines][-1])


def summary(comparison: Comparison) -> Iterator[str]:
    """Yield the table of the bars, and what went wrong."""
    if not comparison.is_complete:
        done = f"{len(comparison.runs)} of {comparison.planned or 'its'} runs"
        yield f"It was ended early, after {done}."
    yield from table(bars.lines(comparison.runs))
    left_out = [one for one in comparison.contenders if "left_out" in one]
    yield from (f"- {one['name']} was left out: {one['left_out']}" for one in left_out)
    yield from (f"- {told(run)}" for run in comparison.runs if run.error is not None)


if __name__ == "__main__":
    main()
