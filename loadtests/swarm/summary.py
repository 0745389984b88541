"""The results as lines of text, for whoever waits at the terminal."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

SHOWN_FAILURES = 10
PERCENTILES = ("p50", "p95", "p99", "last")


def summary(results: Mapping[str, Any]) -> list[str]:
    return [f"{title:<15} {text}" for title, text in _lines(results)]


def _lines(results: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    rounds = f", {results['rounds']} rounds" if results["rounds"] > 1 else ""
    images = ", ".join(results["images"])
    yield results["shape"], f"{results['nodes']} nodes{rounds}: {images}"
    if not results["complete"]:
        yield "", "not taken to its end"
    times = results["time_to_image"]
    yield "time to image", _spread(times)
    for title in ("by_image", "by_phase"):
        if len(times[title]) > 1:
            for name, of_it in times[title].items():
                yield "", f"{_spread(of_it)}  {name}"
    pushes = results["pushes"]
    if pushes["count"] or pushes["failed"]:
        yield "time to push", f"{_spread(pushes)}, {pushes['failed']} failed"
    yield (
        "pulled",
        (
            f"{results['bytes'] / 1e6:,.1f} MB in {results['seconds']:.2f} s: "
            f"{results['bytes_per_s'] / 1e6:,.1f} MB/s, verified by {results['verify']}"
        ),
    )
    yield (
        "failures",
        (
            f"{len(results['failures'])} pulls and pushes, {results['errors']} requests, "
            f"{results['digest_mismatches']} digest mismatches"
        ),
    )
    for failure in results["failures"][:SHOWN_FAILURES]:
        yield "", failure
    client = results["client"]
    bound = "CLIENT-BOUND: " if client["bound"] else ""
    yield (
        "client",
        (
            f"{client['cpu_s']:.2f} s of CPU, {client['cores']:.2f} cores in "
            f"{client['processes']} processes; {bound}{client['why']}"
        ),
    )


def _spread(times: Mapping[str, float]) -> str:
    if not times["count"]:
        return "none"
    shown = "  ".join(f"{name} {times[name]:7.3f} s" for name in PERCENTILES)
    return f"{shown}  ({times['count']})"
