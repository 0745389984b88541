"""The bars of pushes into a storage account: speed against a reference registry, memory."""

from __future__ import annotations

import contextlib
import math
from concurrent.futures import ThreadPoolExecutor

from loadtests.bench.accounts import AWAY, HERE, Account, Distance
from loadtests.bench.bench import Bench
from loadtests.bench.content import MIB, Body
from loadtests.bench.pushes import Push, Pushed, push, push_streamed, push_whole
from loadtests.bench.ratios import Bar, Line, ratios
from loadtests.bench.servers import FASTREG, REFERENCE, Server

MIN_SPEED = 2.0
MAX_GROWTH_MIB = 64
PUSHERS = 4
MANNERS: dict[str, Push] = {"as docker does": push_streamed, "whole": push_whole}


def speed(bench: Bench) -> list[Line]:
    with contextlib.closing(Body(bench.scale.azure_push_blocks)) as body:
        work = f"push {body.size / MIB:,.0f} MiB to Azure"
        measure(bench, f"{work} away", AWAY, body, bench.rounds)
        measure(bench, f"{work} here", HERE, body, math.ceil(bench.rounds / 2))
    peer = f"{REFERENCE} on Azure" if bench.azure_reference else "appends alone"
    return [line_of(bench, work, manner, peer) for manner in MANNERS]


def line_of(bench: Bench, work: str, manner: str, peer: str) -> Line:
    ours = bench.raw[f"{work} away: {FASTREG} on Azure, {manner}, MiB/s"]
    theirs = bench.raw[f"{work} away: {peer}, {manner}, MiB/s"]
    notes = (
        describe(bench, f"{work} {where}", manner, name)
        for where in ("away", "here")
        for name in (f"{FASTREG} on Azure", peer)
    )
    bar = Bar(MIN_SPEED, f"× {peer}", is_least=True)
    return Line(f"{work}, {manner}: speed", bar, ratios(ours, theirs), "; ".join(notes))


def describe(bench: Bench, work: str, manner: str, name: str) -> str:
    rate, share = (
        bench.median(f"{work}: {name}, {manner}, {what}") for what in ("MiB/s", "account's share")
    )
    return (
        f"{work.rpartition('Azure ')[2]} {name} {rate:,.0f} MiB/s (Azurite {share:.0%} of a core)"
    )


def measure(bench: Bench, work: str, distance: Distance, body: Body, rounds: int) -> None:
    names = (FASTREG, REFERENCE) if bench.azure_reference else (FASTREG,)
    with bench.account(distance) as account, bench.serving(*names, account=account) as servers:
        for server in servers:
            push(server, push_streamed, body)
        for _, server in bench.turns(servers, rounds):
            for manner, how in MANNERS.items():
                cpu = account.cpu()
                pushed = push(server, how, body)
                note(bench, f"{work}: {server.name}, {manner}", pushed, cpu.spent_s())
            if not bench.azure_reference:
                note_appends(bench, work, account, body)


def note_appends(bench: Bench, work: str, account: Account, body: Body) -> None:
    cpu = account.cpu()
    pushed = Pushed(body.size, account.append(body), 0.0)
    for manner in MANNERS:
        note(bench, f"{work}: appends alone, {manner}", pushed, cpu.spent_s())


def note(bench: Bench, prefix: str, pushed: Pushed, account_cpu_s: float) -> None:
    bench.note(f"{prefix}, MiB/s", pushed.size / MIB / pushed.duration_s)
    bench.note(f"{prefix}, account's share", account_cpu_s / pushed.duration_s)


def memory(bench: Bench) -> list[Line]:
    with (
        contextlib.closing(Body(bench.scale.azure_push_blocks)) as body,
        bench.account(AWAY) as account,
        bench.serving(FASTREG, workers=2, account=account) as [server],
    ):
        push_together(server, body)
        with server.watch() as watch:
            push_together(server, body)
    work = f"memory: {PUSHERS} pushes of {body.size / MIB:,.0f} MiB to Azure at once"
    bar = Bar(MAX_GROWTH_MIB, "MiB over rest, 2 workers")
    note = f"{watch.memfd_bytes / MIB:,.0f} MiB of it in files in memory"
    return [Line(work, bar, [watch.growth_bytes / MIB], note)]


def push_together(server: Server, body: Body) -> None:
    """Push in both manners at once, each twice: over all workers, as connections fall."""
    with ThreadPoolExecutor(PUSHERS) as threads:
        hows = [*MANNERS.values()] * (PUSHERS // len(MANNERS))
        for run in [threads.submit(push, server, how, body) for how in hows]:
            run.result()
