"""The bars of latency: p99 of manifest GETs while the server is kept busy."""

from __future__ import annotations

import contextlib
import math
import time
from dataclasses import dataclass

from loadtests.bench.background import Background
from loadtests.bench.bench import Bench
from loadtests.bench.content import MIB, Body
from loadtests.bench.probe import Latencies, probe
from loadtests.bench.pulls import Pulled, pull
from loadtests.bench.pushes import push_until
from loadtests.bench.ratios import Bar, Line, ratios
from loadtests.bench.reads import Request, measure_answer, warm_up
from loadtests.bench.servers import FASTREG, NGINX, REFERENCE, Server

GBIT_S = 1e9 / 8
LEAD_S = 0.3
"""How long the load runs before it counts."""
MAX_SLOWER = 3.0


@dataclass(frozen=True)
class Load:
    """How much all pulls and all pushes bring together, at most."""

    name: str
    pulls_bytes_s: float
    pushes_bytes_s: float


LOADS = (
    Load("10 Gbit/s out, 1 in", 10 * GBIT_S, GBIT_S),
    Load("unpaced", math.inf, math.inf),
)
"""As over a network, which leaves the server its cores; and as fast as clients on the server's
own cores can, which measures the kernel's scheduler as much as the server."""


def latency(bench: Bench) -> list[Line]:
    manifest = bench.store.manifest()
    request = Request("GET", manifest.targets[0], manifest.size, 8)
    bench.store.blob(bench.scale.layer_bytes)
    with bench.serving(FASTREG, REFERENCE, NGINX) as servers:
        for server in servers:
            warm_up(server, request)
        with contextlib.closing(Body(bench.scale.busy_push_blocks)) as body:
            for _, server in bench.turns(servers, math.ceil(bench.rounds / 2)):
                note_latency(bench, server, "idle", probe_now(bench, server, request))
                for load in LOADS:
                    latencies = probe_busy(bench, server, request, load, body)
                    note_latency(bench, server, load.name, latencies)
    return [line for load in LOADS for line in lines_of(bench, load)]


def lines_of(bench: Bench, load: Load) -> list[Line]:
    idle, busy = (bench.raw[f"p99: {FASTREG} {state}, ms"] for state in ("idle", load.name))
    theirs = bench.raw[f"p99: {REFERENCE} {load.name}, ms"]
    scale = bench.scale
    work = f"p99 with {scale.pulls} pulls, {scale.pushers} pushes, {load.name}"
    each = (describe(bench, name, load) for name in (FASTREG, REFERENCE, NGINX))
    note = f"{'; '.join(each)} (nginx takes no pushes)"
    return [
        Line(work, Bar(MAX_SLOWER, "× idle p99"), ratios(busy, idle), note),
        Line(work, Bar(1.0, "× docker-registry's"), ratios(busy, theirs)),
    ]


def note_latency(bench: Bench, server: Server, state: str, latencies: Latencies) -> None:
    bench.note(f"p99: {server.name} {state}, ms", latencies.percentile(99) * 1e3)
    bench.note(f"p50: {server.name} {state}, ms", latencies.percentile(50) * 1e3)
    bench.note("prober goes before other processes", latencies.is_realtime)


def probe_now(bench: Bench, server: Server, request: Request) -> Latencies:
    answer_bytes = measure_answer(server, request)
    head, seconds = request.head(server.host), 2 * bench.seconds
    return Background[Latencies](probe, server.address, head, answer_bytes, seconds).result()


def probe_busy(bench: Bench, server: Server, request: Request, load: Load, body: Body) -> Latencies:
    """Probe while clients pull a big layer and others push.

    nginx takes no pushes: its latency is what this machine allows under such pulls.
    """
    scale, layer = bench.scale, bench.store.blob(bench.scale.layer_bytes)
    head = Request("GET", layer.targets[0], layer.size, scale.pulls).head(server.host)
    until = time.monotonic() + LEAD_S + 2 * bench.seconds
    pulls = Background[Pulled](pull, server.address, head, scale.pulls, until, load.pulls_bytes_s)
    pushes = Background[int](
        push_until,
        server,
        body,
        0 if server.name == NGINX else scale.pushers,
        until,
        load.pushes_bytes_s,
    )
    time.sleep(LEAD_S)
    latencies = probe_now(bench, server, request)
    note_load(bench, f"p99: {server.name} {load.name}", pulls.result(), pushes.result())
    return latencies


def note_load(bench: Bench, prefix: str, pulled: Pulled, pushed_bytes: int) -> None:
    rate = pulled.received_bytes / pulled.duration_s / MIB
    bench.note(f"{prefix}, pulls, MiB/s", rate)
    bench.note(f"{prefix}, pulls, client's share", pulled.cpu_s / pulled.duration_s)
    bench.note(f"{prefix}, pushes, MiB/s", pushed_bytes / pulled.duration_s / MIB)


def describe(bench: Bench, name: str, load: Load) -> str:
    idle, busy, pulls, pushes = (
        bench.median(f"p99: {name} {what}")
        for what in (
            "idle, ms",
            f"{load.name}, ms",
            f"{load.name}, pulls, MiB/s",
            f"{load.name}, pushes, MiB/s",
        )
    )
    served = f"pulls {pulls:,.0f} MiB/s, pushes {pushes:,.0f} MiB/s"
    return f"{name} idle {idle:.2f} ms, busy {busy:.2f} ms ({served})"
