"""Push the images that load tests pull: `python -m loadtests.seed --help`.

What a registry has already is left alone, so a push that was broken off is gone on with.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial

import click
from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

from fastreg.oci.names import is_name
from loadtests.client.auth import Credentials
from loadtests.client.failures import Disconnected, Failure, Refused, Unauthorized
from loadtests.client.registry import Registry
from loadtests.images import NAMES, Blob, Image, catalog
from loadtests.images.image import INDEX_TYPE
from loadtests.options import SCALE

PREFIX = "swarm"
AT_ONCE = 3
"""Blobs that are pushed side by side: as many as docker does."""

Tell = Callable[[int], object]
"""Takes how many more bytes are on their way."""
Watch = Callable[[int], Tell]
"""Takes how many bytes there are to send, and returns what is told of each."""


def unwatched(size: int) -> Tell:
    return lambda size: None


@dataclass
class Told:
    """A blob that tells what of it is sent, and takes that back where it begins anew."""

    blob: Blob
    tell: Tell
    _told: int = field(default=0, init=False)

    @property
    def digest(self) -> str:
        return self.blob.digest

    @property
    def size(self) -> int:
        return self.blob.size

    def chunks(self) -> Iterator[bytes]:
        self.tell(-self._told)
        self._told = 0
        for chunk in self.blob.chunks():
            self._told += len(chunk)
            self.tell(len(chunk))
            yield chunk


def push_image(registry: Registry, repository: str, image: Image, watch: Watch = unwatched) -> int:
    """Push what a repository lacks of an image, for all platforms; return the bytes of blobs.

    With the first failure all ends, and the registry's connections are closed.
    """
    lacking = [blob for blob in image.blobs if not registry.head_blob(repository, blob.digest)]
    size = sum(blob.size for blob in lacking)
    tell = watch(size)
    _push_blobs(registry, repository, [Told(blob, tell) for blob in lacking])
    _push_manifests(registry, repository, image)
    return size


def _push_blobs(registry: Registry, repository: str, blobs: Sequence[Told]) -> None:
    def push(blob: Told) -> None:
        registry.push_blob_whole(repository, blob)

    with ThreadPoolExecutor(AT_ONCE) as threads:
        try:
            list(threads.map(push, blobs))
        except BaseException:
            registry.close()
            raise


def _push_manifests(registry: Registry, repository: str, image: Image) -> None:
    for manifest in image.platforms.values():
        if not registry.head_manifest(repository, manifest.digest):
            registry.push_manifest(
                repository, manifest.digest, manifest.media_type, manifest.content
            )
    if not _is_tagged(registry, repository, image):
        registry.push_manifest(repository, image.tag, INDEX_TYPE, image.index)


def _is_tagged(registry: Registry, repository: str, image: Image) -> bool:
    if not registry.head_manifest(repository, image.tag):
        return False
    return registry.manifest(repository, image.tag).digest == image.index_digest


def explain(error: Failure, host: str) -> str:
    """Return in one line what is wrong, and what to do."""
    match error:
        case Disconnected():
            return f"{host} does not answer ({error}). Is the registry running, and --host right?"
        case Unauthorized():
            return f"{host} does not accept who pushes: give --user and --password ({error})."
        case Refused(status=403):
            return f"This user may not push there: give another --user or --prefix ({error})."
        case Refused(status=404):
            return f"{host} is no registry, or not at its root ({error})."
        case Refused(status=405):
            return f"{host} takes no pushes: is it read-only, or a mirror? ({error})"
        case Refused(status=507):
            return f"The registry's disk is full: make room, or push less by --scale ({error})."
    return str(error)


def parse_names(context: click.Context, parameter: click.Parameter, value: str) -> list[str]:
    names = [name.strip() for name in value.split(",") if name.strip()]
    if not names:
        raise click.BadParameter(f"names none of {', '.join(NAMES)}")
    if unknown := sorted(set(names) - set(NAMES)):
        raise click.BadParameter(f"there is no {', '.join(unknown)}, but {', '.join(NAMES)}")
    return names


def parse_prefix(context: click.Context, parameter: click.Parameter, value: str) -> str:
    prefix = value.strip("/")
    if prefix and not is_name(prefix):
        raise click.BadParameter(f"{value!r} cannot begin a repository's name, as swarm can")
    return prefix


@click.command(help="Push the images that load tests pull. What is there already is left alone.")
@click.option("--host", required=True, help="The registry's address, as http://127.0.0.1:5000")
@click.option("--user", help="Who pushes, where the registry asks for it")
@click.option("--password", envvar="SEED_PASSWORD", help="Or in SEED_PASSWORD")
@click.option(
    "--prefix",
    default=PREFIX,
    show_default=True,
    callback=parse_prefix,
    help="Comes before the images' names",
)
@click.option(
    "--images",
    default=",".join(NAMES),
    show_default=True,
    callback=parse_names,
    help="Which, with commas",
)
@click.option(
    "--scale",
    default=1.0,
    show_default=True,
    type=SCALE,
    help="Size of the layers; 1 is that of the real images",
)
def main(
    host: str, user: str | None, password: str | None, prefix: str, images: list[str], scale: float
) -> None:
    credentials = Credentials(user, password or "") if user else None
    try:
        with contextlib.closing(Registry(host, credentials)) as registry:
            registry.ping()
            _push_all(registry, prefix, images, scale)
    except Failure as error:
        raise click.ClickException(explain(error, host)) from error


def _push_all(registry: Registry, prefix: str, names: Sequence[str], scale: float) -> None:
    console = Console(stderr=True)
    with console.status("making the images"):
        images = catalog(scale, names)
    begun_s, pushed, lines = time.monotonic(), 0, []
    with _progress(console) as progress:
        for image in images:
            repository = f"{prefix}/{image.name}".strip("/")
            size = push_image(registry, repository, image, _bar(progress, repository, image))
            pushed += size
            lines.append(f"{repository}:{image.tag}: {_told(size, image.blobs)}")
    seconds = time.monotonic() - begun_s
    blobs = [blob for image in images for blob in image.blobs]
    lines.append(f"{_told(pushed, blobs)}, in {seconds:.1f} s")
    click.echo("\n".join(lines))


def _bar(progress: Progress, repository: str, image: Image) -> Watch:
    total = sum(blob.size for blob in image.blobs)

    def watch(size: int) -> Tell:
        task = progress.add_task(repository, total=total, completed=total - size)
        return partial(progress.advance, task)

    return watch


def _told(pushed: int, blobs: Sequence[Blob]) -> str:
    there = sum(blob.size for blob in blobs) - pushed
    return f"{pushed / 1e6:,.1f} MB pushed, {there / 1e6:,.1f} MB there already"


def _progress(console: Console) -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
        console=console,
        disable=not console.is_terminal,
    )


if __name__ == "__main__":
    main()
