"""The bars of a storage account behind a cache: cold pulls, warm reads."""

from __future__ import annotations

import contextlib
import math
import statistics
from dataclasses import dataclass

from loadtests.bench.accounts import AWAY, HERE, Account, Distance, Sent
from loadtests.bench.bench import Bench
from loadtests.bench.content import KIB, MIB, REPOSITORY, Body
from loadtests.bench.ratios import Bar, Line, ratios, spread
from loadtests.bench.reads import Request, cost_of, warm_up
from loadtests.bench.rows_reads import SLICES, blob_request
from loadtests.bench.servers import FASTREG, Server
from loadtests.bench.swarm import Arrivals, pull_once

MAX_SENT = 1.1
MAX_LAST = 1.5
MAX_FIRST_MS = 30
MAX_WARM = 1.1


@dataclass(frozen=True)
class ColdPull:
    """What came of a layer that no server had."""

    arrivals: Arrivals
    sent_bytes: int
    """By the account, heads included."""
    first_after_s: float
    """Between the layer's first byte leaving the account and the first node having it."""
    server_cpu_s: float
    account_cpu_s: float


def cold(bench: Bench) -> list[Line]:
    nodes = bench.scale.nodes
    with contextlib.closing(Body(bench.scale.cold_blocks)) as body:
        measure_cold(bench, body, AWAY, "cold, away", bench.rounds)
        measure_cold(bench, body, HERE, "cold, here", math.ceil(bench.rounds / 2))
        work = f"{nodes} nodes pull {body.size / MIB:,.0f} MiB, cold"
        sent = [value / body.size for value in bench.raw[f"cold, away: {nodes}, sent bytes"]]
    last = ratios(bench.raw[f"cold, away: {nodes}, s"], bench.raw["cold, away: 1, s"])
    note = "; ".join(describe(bench, where, nodes) for where in ("away", "here"))
    return [
        Line(f"{work}: sent by Azure", Bar(MAX_SENT, "× the layer"), sent),
        Line(f"{work}: the last", Bar(MAX_LAST, "× a single node"), last, note),
        Line(
            "first byte of a cold layer",
            Bar(MAX_FIRST_MS, "ms after Azure's"),
            bench.raw["cold, here: 1, first byte, ms"],
            f"to {nodes} nodes {spread(bench.raw[f'cold, here: {nodes}, first byte, ms'])} ms",
        ),
    ]


def measure_cold(bench: Bench, body: Body, distance: Distance, prefix: str, rounds: int) -> None:
    with (
        bench.account(distance) as account,
        bench.serving(FASTREG, workers=2, account=account) as [server],
    ):
        for _ in range(bench.scale.cold_warm_ups):
            pull_cold(account, server, body, 2)
        for _ in range(rounds):
            for nodes in (1, bench.scale.nodes):
                note_cold(bench, f"{prefix}: {nodes}", pull_cold(account, server, body, nodes))


def pull_cold(account: Account, server: Server, body: Body, nodes: int) -> ColdPull:
    digest = account.bring(body).digest
    target = f"/v2/{REPOSITORY}/blobs/{digest}"
    head = Request("GET", target, body.size, nodes).head(server.host)
    meters = server.cpu(), account.cpu()
    arrivals = pull_once(server.address, head, body.size, nodes)
    spent_s = [meter.spent_s() for meter in meters]
    sent = account.sent(digest, lambda sent: content_bytes(sent) >= body.size)
    first_s = min(one.first_s for one in sent if one.first_s and is_content(one))
    return ColdPull(arrivals, sum_bytes(sent), arrivals.first_s - first_s, *spent_s)


def is_content(sent: Sent) -> bool:
    return sent.method == "GET" and sent.status in (200, 206) and "/blobs/" in sent.target


def content_bytes(sent: list[Sent]) -> int:
    return sum_bytes([one for one in sent if is_content(one)])


def sum_bytes(sent: list[Sent]) -> int:
    return sum(one.sent_bytes for one in sent)


def note_cold(bench: Bench, prefix: str, pull: ColdPull) -> None:
    duration_s = pull.arrivals.duration_s
    bench.note(f"{prefix}, s", duration_s)
    bench.note(f"{prefix}, sent bytes", pull.sent_bytes)
    bench.note(f"{prefix}, first byte, ms", pull.first_after_s * 1e3)
    bench.note(f"{prefix}, server's share", pull.server_cpu_s / duration_s)
    bench.note(f"{prefix}, account's share", pull.account_cpu_s / duration_s)
    bench.note(f"{prefix}, clients' share", pull.arrivals.client_cpu_s / duration_s)


def describe(bench: Bench, where: str, nodes: int) -> str:
    return f"{where} " + ", ".join(describe_nodes(bench, where, n) for n in (1, nodes))


def describe_nodes(bench: Bench, where: str, nodes: int) -> str:
    seconds, *shares = (
        bench.median(f"cold, {where}: {nodes}, {what}")
        for what in ("s", "server's share", "account's share", "clients' share")
    )
    server, account, clients = (f"{share:.0%}" for share in shares)
    return (
        f"{nodes} in {seconds:.2f} s (of a core: server {server}, Azurite {account}, "
        f"clients {clients})"
    )


def warm(bench: Bench) -> list[Line]:
    manifest = bench.store.manifest()
    by_tag, by_digest = manifest.targets
    works = {
        "manifest GET by tag": Request("GET", by_tag, manifest.size, 64),
        "manifest HEAD by digest": Request("HEAD", by_digest, manifest.size, 64),
    }
    for size, connections in ((4 * KIB, 64), (MIB, 16), (bench.scale.big_blob_bytes, 2)):
        name = f"{size // MIB} MiB" if size >= MIB else f"{size // KIB} KiB"
        works[f"blob GET {name}"] = blob_request(bench.store.blob(size), connections)
    with (
        bench.account() as account,
        bench.serving(FASTREG, account=account) as azure,
        bench.serving(FASTREG) as local,
    ):
        return [compare(bench, work, request, azure + local) for work, request in works.items()]


def compare(bench: Bench, work: str, request: Request, servers: list[Server]) -> Line:
    work = f"Azure, cached: {work}"
    for server in servers:
        warm_up(server, request)
    for _, server in bench.turns(servers, SLICES * bench.rounds):
        cost = cost_of(server, request, bench.seconds / SLICES)
        bench.note(f"{work}: {server.name}, CPU µs", cost.cpu_s * 1e6)
    ours, local = (bench.raw[f"{work}: {server.name}, CPU µs"] for server in servers)
    note = f"{statistics.median(ours):,.1f} µs; from files {statistics.median(local):,.1f} µs"
    return Line(work, Bar(MAX_WARM, "× the CPU from files"), ratios(ours, local), note)
