"""The bars of pushes: CPU time and speed of one blob after another, against docker-registry."""

from __future__ import annotations

import contextlib

from loadtests.bench.bench import Bench
from loadtests.bench.content import MIB, Body
from loadtests.bench.pushes import (
    Push,
    disk_speed,
    push,
    push_in_chunks,
    push_streamed,
    push_whole,
)
from loadtests.bench.ratios import Bar, Line, ratios
from loadtests.bench.servers import FASTREG, REFERENCE

MAX_CPU = 0.35
MIN_SPEED = 3.0
CLIENT_BOUND = 0.5
"""The share of a push's time at which the client's own CPU is worth a warning."""


def whole(bench: Bench) -> list[Line]:
    return compare(bench, "whole", push_whole)


def streamed(bench: Bench) -> list[Line]:
    return compare(bench, "as one chunked PATCH", push_streamed)


def in_chunks(bench: Bench) -> list[Line]:
    return compare(bench, "in 8 MiB chunks", push_in_chunks)


def compare(bench: Bench, manner: str, how: Push) -> list[Line]:
    work = f"push {bench.scale.push_blocks * 8} MiB {manner}"
    with contextlib.closing(Body(bench.scale.push_blocks)) as body:
        measure(bench, work, how, body)
    cpu, rate = (
        [bench.raw[f"{work}: {name}, {what}"] for name in (FASTREG, REFERENCE)]
        for what in ("CPU s", "MiB/s")
    )
    note = describe(bench, work)
    return [
        Line(f"{work}: CPU", Bar(MAX_CPU, "× docker-registry's"), ratios(*cpu), note),
        Line(f"{work}: speed", Bar(MIN_SPEED, "× docker-registry's", is_least=True), ratios(*rate)),
    ]


def measure(bench: Bench, work: str, how: Push, body: Body) -> None:
    with bench.serving(FASTREG, REFERENCE) as servers:
        for server in servers:
            push(server, how, body)
        for _, server in bench.turns(servers):
            cpu = server.cpu()
            pushed = push(server, how, body)
            bench.note(f"{work}: {server.name}, CPU s", cpu.spent_s())
            bench.note(f"{work}: {server.name}, MiB/s", pushed.size / MIB / pushed.duration_s)
            bench.note(
                f"{work}: {server.name}, client's share", pushed.client_cpu_s / pushed.duration_s
            )
            bench.note(f"{work}: disk, MiB/s", disk_speed(bench.workdir, body) / MIB)


def describe(bench: Bench, work: str) -> str:
    each = (describe_server(bench, f"{work}: {name}", name) for name in (FASTREG, REFERENCE))
    disk = bench.median(f"{work}: disk, MiB/s")
    return f"{'; '.join(each)}; write and fsync alone {disk:,.0f} MiB/s"


def describe_server(bench: Bench, prefix: str, name: str) -> str:
    cpu, rate, share = (
        bench.median(f"{prefix}, {what}") for what in ("CPU s", "MiB/s", "client's share")
    )
    bound = ", bound by the client" if share > CLIENT_BOUND else ""
    return f"{name} {cpu:.2f} s of CPU, {rate:,.0f} MiB/s (client {share:.0%} of a core{bound})"
