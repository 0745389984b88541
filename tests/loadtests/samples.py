"""Results of a comparison that never ran, with plausible figures: what the report is tried on."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

MB = 1_000_000
MIB = 1 << 20
HERD_BYTES = 120 * MB
NODES = (10, 50, 100, 200, 500)
IMAGES = {
    "ubuntu": 29.5 * MB,
    "centos": 83.5 * MB,
    "mysql": 174 * MB,
    "redis": 45.4 * MB,
    "busybox": 2.16 * MB,
    "node": 389 * MB,
}


@dataclass(frozen=True)
class Contender:
    name: str
    storage: str
    bytes_per_s: float
    cpu_a_node_s: float
    rest_bytes: float
    """Resident before the run."""
    wait_s: float = 0.01
    """Before the first byte."""
    images_sent: float | None = None
    """Of each node that pulls: what the account sends, as a part of the image."""
    takes_pushes: bool = True
    is_client_bound: bool = False


CONTENDERS = (
    Contender("fastreg", "local disk", 3.4e9, 0.031, 62 * MIB, is_client_bound=True),
    Contender("fastreg, Azure cold", "Azurite", 3.1e9, 0.034, 66 * MIB, 1.9, 1.02),
    Contender("fastreg, Azure warm", "Azurite", 3.3e9, 0.033, 66 * MIB, 0.02, 0.0),
    Contender("docker-registry", "local disk", 1.9e9, 0.088, 30 * MIB, 0.02),
    Contender("nginx", "local disk", 3.6e9, 0.029, 9 * MIB, takes_pushes=False),
)
NOT_STARTED = {
    "name": "docker-registry, Azure",
    "storage": "Azurite",
    "version": "2.8.3+ds1",
    "left_out": "docker-registry has no azure driver here (patched out)",
}


def sample_results(
    rounds: int = 3,
    contenders: Sequence[Contender] = CONTENDERS,
    nodes: Sequence[int] = NODES,
    images: Sequence[str] = tuple(IMAGES),
) -> dict[str, Any]:
    """Return what a comparison keeps as JSON; the same every time."""
    chance = random.Random(5)
    return {
        "machine": {
            "date": "2026-11-21 20:15 UTC",
            "commit": "702b197",
            "CPU": "AMD EPYC 7763 64-Core Processor",
            "cores": "2",
            "memory": "7 GiB",
            "kernel": "6.12.0",
        },
        "settings": {
            "rounds": rounds,
            "scale": 1.0,
            "shapes": ["thundering-herd", "rolling", "steady", "cold", "mixed"],
            "nodes": list(nodes),
            "command": 'make swarm SWARM="--rounds 3"',
        },
        "contenders": [
            {"name": each.name, "storage": each.storage, "version": "1.0"} for each in contenders
        ]
        + [NOT_STARTED],
        "runs": [
            run
            for number in range(rounds)
            for each in contenders
            for run in runs_of(each, number, nodes, images, chance)
        ],
        "bars": [
            bar("last of 200 nodes, local disk", "≤ 0.8 × docker-registry's", 0.55, 0.53, 0.6),
            bar("registry's CPU, 200 nodes", "≤ 0.5 × docker-registry's", 0.35, 0.34, 0.36),
            bar("sent by Azure, cold, 200 nodes", "≤ 1.1 × the image", 1.02, 1.02, 1.03),
            bar("CPU a node, 500 nodes", "≤ 1.1 × that of 10", 1.14, 1.05, 1.2, is_met=False),
            bar("p99 of pulls while pushes run", "≤ 2 × without", None, None, None, is_met=False),
        ],
    }


def bar(
    name: str,
    limit: str,
    median: float | None,
    low: float | None,
    high: float | None,
    is_met: bool = True,
) -> dict[str, Any]:
    spread = {"median": median, "low": low, "high": high}
    return {"name": name, "bar": limit, **spread, "is_met": is_met}


def runs_of(
    contender: Contender,
    number: int,
    nodes: Sequence[int],
    images: Sequence[str],
    chance: random.Random,
) -> Iterator[dict[str, Any]]:
    """Yield one round of a contender: images, growing herds, shapes, pushes."""

    def run(what: str, shape: str, image: str, count: int) -> dict[str, Any]:
        size = IMAGES.get(image, HERD_BYTES)
        pulled = pulls(contender, count, size, chance.uniform(0.94, 1.07), chance)
        told = {"contender": contender.name, "round": number, "what": what, "shape": shape}
        return told | {"image": image, "nodes": count} | pulled

    for image in images:
        yield run("images", "thundering-herd", image, 50)
    for count in nodes:
        yield run("nodes", "thundering-herd", "herd", count)
    for shape in ("thundering-herd", "rolling", "steady"):
        yield run("shapes", shape, "herd", 40)
    if contender.takes_pushes:
        yield run("mixed", "mixed", "herd", 40)


def pulls(
    contender: Contender, nodes: int, size: float, slower: float, chance: random.Random
) -> dict[str, Any]:
    wait_s = contender.wait_s * size / HERD_BYTES
    last_s = (wait_s + nodes * size / contender.bytes_per_s) * slower
    first_s = wait_s + (last_s - wait_s) * 0.3
    seconds = sorted(first_s + (last_s - first_s) * chance.random() ** 0.5 for _ in range(nodes))
    seconds[-1] = last_s
    cpu_s = contender.cpu_a_node_s * nodes * size / HERD_BYTES * chance.uniform(0.97, 1.04)
    sent = contender.images_sent
    return {
        "result": result(contender, nodes, size, seconds),
        "server_cpu_s": cpu_s,
        "samples": samples(contender, cpu_s, last_s, nodes, chance),
        "egress_bytes": None if sent is None else int(sent * size * slower),
        "image_bytes": int(size),
        "error": None,
    }


def result(
    contender: Contender, nodes: int, size: float, seconds: Sequence[float]
) -> dict[str, Any]:
    time = {
        "count": nodes,
        "p50": percentile(seconds, 50),
        "p95": percentile(seconds, 95),
        "p99": percentile(seconds, 99),
        "last": seconds[-1],
    }
    a_request_ms = 1000 * contender.cpu_a_node_s / 20
    phases = {"quiet": time, "pushing": {name: 1.4 * value for name, value in time.items()}}
    return {
        "nodes": nodes,
        "verify": "xxh3",
        "pull_seconds": list(seconds),
        "time_to_image": time | {"by_phase": phases},
        "requests": {
            "GET ping": request(nodes, a_request_ms),
            "GET manifest by tag": request(nodes, 2 * a_request_ms),
            "GET manifest": request(nodes, a_request_ms),
            "GET blob": request(nodes * 7, 1000 * seconds[-1] / 4),
        },
        "bytes": int(nodes * size),
        "errors": 0,
        "digest_mismatches": 0,
        "client": {
            "cpu_s": nodes * 0.02,
            "cores": 1.2,
            "bound": contender.is_client_bound and nodes >= 200,
            "why": "a process was busy for 93% of the time",
        },
    }


def request(count: int, p50_ms: float) -> dict[str, float]:
    spread = {"p50_ms": p50_ms, "p95_ms": 2.4 * p50_ms, "p99_ms": 3.3 * p50_ms}
    return {"count": count, "errors": 0, **spread, "max_ms": 4.5 * p50_ms, "bytes": count * 1000}


def samples(
    contender: Contender, cpu_s: float, last_s: float, nodes: int, chance: random.Random
) -> list[dict[str, float]]:
    """Return the CPU so far and the memory, as if looked at twenty times a second."""
    count = max(3, int(last_s / 0.05))
    taken = []
    for index in range(count + 1):
        part = index / count
        grown = 0.2 * MIB * nodes * math.sin(min(1.0, 3 * part) * math.pi / 2)
        taken.append(
            {
                "at_s": last_s * part,
                "cpu_s": cpu_s * part + chance.uniform(0, 0.004) * part,
                "rss_bytes": int(contender.rest_bytes + grown + chance.uniform(0, MIB)),
            }
        )
    return taken


def percentile(ordered: Sequence[float], percent: float) -> float:
    return ordered[max(0, math.ceil(len(ordered) * percent / 100) - 1)]
