"""The bars of reads: the CPU time of a request, against nginx serving the same file."""

from __future__ import annotations

from loadtests.bench.bench import Bench
from loadtests.bench.content import KIB, MIB, Published
from loadtests.bench.ratios import Bar, Line, ratios, spread
from loadtests.bench.reads import Request, cost_of, warm_up
from loadtests.bench.servers import FASTREG, NGINX

SLICES = 2
"""Turns a round. Short ones, as their ratio is to be of the same moment of a noisy machine."""


def manifest_get(bench: Bench) -> list[Line]:
    manifest = bench.store.manifest()
    request = Request("GET", manifest.targets[0], manifest.size, 64)
    return compare(bench, "manifest GET by tag", request, 1.0)


def manifest_head(bench: Bench) -> list[Line]:
    manifest = bench.store.manifest()
    request = Request("HEAD", manifest.targets[1], manifest.size, 64)
    return compare(bench, "manifest HEAD by digest", request, 1.0)


def blob_4k(bench: Bench) -> list[Line]:
    return compare(bench, "blob GET 4 KiB", blob_request(bench.store.blob(4 * KIB), 64), 1.2)


def blob_1m(bench: Bench) -> list[Line]:
    return compare(bench, "blob GET 1 MiB", blob_request(bench.store.blob(MIB), 16), 1.05)


def blob_64m(bench: Bench) -> list[Line]:
    size = bench.scale.big_blob_bytes
    return compare(
        bench, f"blob GET {size // MIB} MiB", blob_request(bench.store.blob(size), 8), 1.05
    )


def blob_request(blob: Published, connections: int) -> Request:
    return Request("GET", blob.targets[0], blob.size, connections)


def compare(bench: Bench, work: str, request: Request, limit: float) -> list[Line]:
    """Measure fastreg, nginx, and a second nginx: by that one equals differ in this run."""
    names = (FASTREG, NGINX, "nginx again")
    with bench.serving(FASTREG, NGINX, NGINX) as servers:
        for server in servers:
            warm_up(server, request)
        for index, server in bench.turns(servers, SLICES * bench.rounds):
            cost = cost_of(server, request, bench.seconds / SLICES)
            bench.note(f"{work}: {names[index]}, CPU µs", cost.cpu_s * 1e6)
            bench.note(f"{work}: {names[index]}, a second", cost.rate)
    ours, theirs, again = (bench.raw[f"{work}: {name}, CPU µs"] for name in names)
    bar = Bar(limit, "× nginx's CPU")
    return [Line(work, bar, ratios(ours, theirs), describe(bench, work, ratios(again, theirs)))]


def describe(bench: Bench, work: str, noise: list[float]) -> str:
    each = (
        f"{name} {bench.median(f'{work}: {name}, CPU µs'):,.1f} µs of CPU at "
        f"{bench.median(f'{work}: {name}, a second'):,.0f} a second"
        for name in (FASTREG, NGINX)
    )
    return f"{'; '.join(each)}; nginx against itself {spread(noise)}"
