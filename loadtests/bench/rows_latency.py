"""The bars of latency: p99 of manifest GETs while the server is kept busy."""

from __future__ import annotations

import contextlib
import time

from loadtests.bench.background import Background
from loadtests.bench.bench import Bench
from loadtests.bench.content import MIB, Body
from loadtests.bench.probe import Latencies, probe
from loadtests.bench.pulls import Pulled, pull
from loadtests.bench.pushes import push_until
from loadtests.bench.ratios import Bar, Line, ratios
from loadtests.bench.reads import Request, measure_answer, warm_up
from loadtests.bench.servers import FASTREG, NGINX, REFERENCE, Server

PUSH_BLOCKS = 4
LEAD_S = 0.5
"""How long the load runs before it counts."""
MAX_SLOWER = 3.0


def latency(bench: Bench) -> list[Line]:
    manifest = bench.store.manifest()
    request = Request("GET", manifest.targets[0], manifest.size, 8)
    bench.store.blob(bench.scale.layer_bytes)
    with bench.serving(FASTREG, REFERENCE, NGINX) as servers:
        for server in servers:
            warm_up(server, request)
        with contextlib.closing(Body(PUSH_BLOCKS)) as body:
            for _, server in bench.turns(servers):
                note_latency(bench, server, "idle", probe_idle(bench, server, request))
                note_latency(bench, server, "busy", probe_busy(bench, server, request, body))
    idle, busy = (bench.raw[f"p99: {FASTREG} {state}, ms"] for state in ("idle", "busy"))
    theirs = bench.raw[f"p99: {REFERENCE} busy, ms"]
    work = f"p99 of manifest GETs, {bench.scale.pulls} pulls and {bench.scale.pushers} pushes"
    slower, better = Bar(MAX_SLOWER, "× idle p99"), Bar(1.0, "× docker-registry's")
    return [
        Line(work, slower, ratios(busy, idle), describe(bench)),
        Line(work, better, ratios(busy, theirs)),
    ]


def note_latency(bench: Bench, server: Server, state: str, latencies: Latencies) -> None:
    bench.note(f"p99: {server.name} {state}, ms", latencies.percentile(99) * 1e3)
    bench.note(f"p50: {server.name} {state}, ms", latencies.percentile(50) * 1e3)
    bench.note("prober goes before other processes", latencies.is_realtime)


def probe_idle(bench: Bench, server: Server, request: Request) -> Latencies:
    answer_bytes = measure_answer(server, request)
    head, seconds = request.head(server.host), 2 * bench.seconds
    return Background[Latencies](probe, server.address, head, answer_bytes, seconds).result()


def probe_busy(bench: Bench, server: Server, request: Request, body: Body) -> Latencies:
    """Probe while clients pull a big layer as fast as they can, and others push.

    nginx takes no pushes: its latency is what this machine allows under such pulls.
    """
    layer = bench.store.blob(bench.scale.layer_bytes)
    head = Request("GET", layer.targets[0], layer.size, bench.scale.pulls).head(server.host)
    until = time.monotonic() + LEAD_S + 2 * bench.seconds
    pulls = Background[Pulled](pull, server.address, head, bench.scale.pulls, until)
    pushes = None
    if server.name != NGINX:
        pushes = Background[int](push_until, server, body, bench.scale.pushers, until)
    time.sleep(LEAD_S)
    latencies = probe_idle(bench, server, request)
    note_load(bench, server, pulls.result(), pushes.result() if pushes else 0)
    return latencies


def note_load(bench: Bench, server: Server, pulled: Pulled, pushed_bytes: int) -> None:
    rate = pulled.received_bytes / pulled.duration_s / MIB
    bench.note(f"p99: {server.name} pulls, MiB/s", rate)
    bench.note(f"p99: {server.name} pulls, client's share", pulled.cpu_s / pulled.duration_s)
    bench.note(f"p99: {server.name} pushes, MiB/s", pushed_bytes / pulled.duration_s / MIB)


def describe(bench: Bench) -> str:
    each = (describe_server(bench, name) for name in (FASTREG, REFERENCE, NGINX))
    return f"{'; '.join(each)} (nginx takes no pushes)"


def describe_server(bench: Bench, name: str) -> str:
    idle, busy, pulls, pushes = (
        bench.median(f"p99: {name} {what}")
        for what in ("idle, ms", "busy, ms", "pulls, MiB/s", "pushes, MiB/s")
    )
    load = f"pulls {pulls:,.0f} MiB/s, pushes {pushes:,.0f} MiB/s"
    return f"{name} idle {idle:.2f} ms, busy {busy:.2f} ms ({load})"
