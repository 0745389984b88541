"""The bars of memory: how far fastreg rises above its rest, in sizes of its own."""

from __future__ import annotations

import contextlib
import time

from loadtests.bench.bench import Bench
from loadtests.bench.content import KIB, MIB, Body
from loadtests.bench.crowd import Crowd, affordable
from loadtests.bench.processes import MemoryMeter
from loadtests.bench.pulls import pull
from loadtests.bench.pushes import push, push_whole
from loadtests.bench.ratios import Bar, Line
from loadtests.bench.reads import Request, warm_up
from loadtests.bench.servers import FASTREG, Server

MAX_GROWTH_MIB = 96
MAX_CONNECTION_KIB = 8
WARM_CONNECTIONS = 64
PULL_ROUNDS = 4
"""How many times as long as elsewhere the clients pull: a leak would show."""


def memory(bench: Bench) -> list[Line]:
    request = manifest_request(bench)
    bench.store.blob(bench.scale.layer_bytes)
    with bench.serving(FASTREG, workers=2) as [server]:
        warm_server(server, request)
        meter = server.memory()
        note = f"rest {meter.rest_bytes / MIB:.0f} MiB in {len(meter.pids)} processes"
        return [
            push_line(bench, server, meter, note),
            pulls_line(bench, server, meter),
            idle_line(bench, server, meter, request),
        ]


def manifest_request(bench: Bench) -> Request:
    manifest = bench.store.manifest()
    return Request("GET", manifest.targets[0], manifest.size, WARM_CONNECTIONS)


def warm_server(server: Server, request: Request) -> None:
    """Let every worker see reads and writes: what they load for good belongs to their rest."""
    warm_up(server, request)
    with contextlib.closing(Body(1)) as body:
        for _ in range(4):
            push(server, push_whole, body)


def push_line(bench: Bench, server: Server, meter: MemoryMeter, note: str) -> Line:
    meter.forget_peaks()
    with contextlib.closing(Body(bench.scale.memory_push_blocks)) as body:
        push(server, push_whole, body)
        return growth_line(f"memory: push of {body.size / MIB:,.0f} MiB", meter, note)


def pulls_line(bench: Bench, server: Server, meter: MemoryMeter) -> Line:
    layer, pulls = bench.store.blob(bench.scale.layer_bytes), bench.scale.pulls
    head = Request("GET", layer.targets[0], layer.size, pulls).head(server.host)
    meter.forget_peaks()
    pull(server.address, head, pulls, time.monotonic() + PULL_ROUNDS * bench.seconds)
    return growth_line(f"memory: {pulls} pulls of {layer.size / MIB:,.0f} MiB", meter)


def idle_line(bench: Bench, server: Server, meter: MemoryMeter, request: Request) -> Line:
    count = affordable(bench.scale.idle_connections)
    meter.forget_peaks()
    with Crowd(server.address, count) as crowd:
        crowd.ask(request.head(server.host))
        return growth_line(f"memory: {count:,} idle connections", meter)


def growth_line(work: str, meter: MemoryMeter, note: str = "") -> Line:
    growth_mib = meter.peak_growth_bytes() / MIB
    return Line(work, Bar(MAX_GROWTH_MIB, "MiB over rest, 2 workers"), [growth_mib], note)


def connections(bench: Bench) -> list[Line]:
    """Open all connections, ask on each, hold them, and ask on each again."""
    request = manifest_request(bench)
    count = affordable(bench.scale.crowd)
    note = "" if count == bench.scale.crowd else "the limit of open files allows no more"
    with bench.serving(FASTREG) as [server]:
        warm_server(server, request)
        meter = server.memory()
        meter.forget_peaks()
        with Crowd(server.address, count) as crowd:
            answered = crowd.ask(request.head(server.host))
            time.sleep(bench.seconds)
            answered += crowd.ask(request.head(server.host))
            each_kib = meter.growth_bytes() / count / KIB
    work = f"{count:,} keep-alive connections"
    return [
        Line(work, Bar(2 * count, "answers, two on each", is_least=True), [answered], note),
        Line(work, Bar(MAX_CONNECTION_KIB, "KiB each"), [each_kib]),
    ]
