"""`python -m loadtests.bench`: measure every bar, print the table, keep the figures."""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path

from loadtests.bench import (
    rows_azure,
    rows_azure_pushes,
    rows_latency,
    rows_memory,
    rows_pushes,
    rows_reads,
    table,
)
from loadtests.bench.bench import TINY, Bench, Scale
from loadtests.bench.machine import describe, describe_programs
from loadtests.bench.network import enter_own_network, systems_network
from loadtests.bench.programs import SOURCES
from loadtests.bench.ratios import Line

ROWS: dict[str, Callable[[Bench], list[Line]]] = {
    "manifest-get": rows_reads.manifest_get,
    "manifest-head": rows_reads.manifest_head,
    "blob-4k": rows_reads.blob_4k,
    "blob-1m": rows_reads.blob_1m,
    "blob-64m": rows_reads.blob_64m,
    "push-whole": rows_pushes.whole,
    "push-streamed": rows_pushes.streamed,
    "push-chunks": rows_pushes.in_chunks,
    "latency": rows_latency.latency,
    "memory": rows_memory.memory,
    "connections": rows_memory.connections,
    "azure-cold": rows_azure.cold,
    "azure-warm": rows_azure.warm,
    "azure-push": rows_azure_pushes.speed,
    "azure-memory": rows_azure_pushes.memory,
}
RESULTS = SOURCES / "loadtests" / "results"


def main(arguments: Sequence[str] | None = None) -> None:
    options = parse(arguments)
    network = systems_network() if options.system_network else enter_own_network()
    with tempfile.TemporaryDirectory(prefix="fastreg-bench-", dir=options.directory) as name:
        workdir = Path(name)
        machine = describe(workdir, network) | describe_programs(options.azure_reference)
        scale = TINY if options.tiny else Scale()
        bench = Bench(workdir, options.rounds, options.seconds, scale, options.azure_reference)
        results = {row: run(row, bench) for row in options.only or ROWS}
    lines = [line for result in results.values() for line in result]
    path = options.results / f"bench-{time.strftime('%Y%m%d-%H%M%S')}.json"
    table.save(path, lines, machine, bench.raw)
    print(table.render(lines, machine))
    print(f"\nEvery round is in {path}")
    if failed := [row for row, result in results.items() if not result]:
        sys.exit(f"not measured: {', '.join(failed)}")


def run(row: str, bench: Bench) -> list[Line]:
    """Return a row's lines; none if it failed, which must not cost the other rows."""
    print(f"{row} …", end=" ", file=sys.stderr, flush=True)
    begun = time.monotonic()
    try:
        lines = ROWS[row](bench)
    except (RuntimeError, OSError):
        traceback.print_exc()
        return []
    print(f"{time.monotonic() - begun:.0f} s", file=sys.stderr)
    return lines


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m loadtests.bench",
        description="Measure fastreg against nginx and docker-registry, in turns on this machine.",
    )
    parser.add_argument(
        "--rounds", type=int, default=7, help="turns of every server in a row (default 7)"
    )
    parser.add_argument(
        "--seconds", type=float, default=1.0, help="length of one load of a turn (default 1)"
    )
    parser.add_argument(
        "--only",
        action="append",
        choices=ROWS,
        metavar="ROW",
        help=f"measure this row; may be given several times; of {', '.join(ROWS)}",
    )
    parser.add_argument(
        "--directory", type=Path, help="where the servers keep their data (default: $TMPDIR)"
    )
    parser.add_argument(
        "--azure-reference",
        metavar="PROGRAM",
        help="a reference registry with the azure driver, which Debian's lacks; without it, pushes"
        " are measured against the bare appends that such a registry makes",
    )
    parser.add_argument(
        "--results", type=Path, default=RESULTS, help="where the JSON goes (loadtests/results)"
    )
    parser.add_argument(
        "--system-network",
        action="store_true",
        help="use the machine's own loopback, with its congestion control and firewall rules",
    )
    parser.add_argument(
        "--tiny",
        action="store_true",
        help="small blobs and few connections: shows that the benchmark works, measures nothing",
    )
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main()
