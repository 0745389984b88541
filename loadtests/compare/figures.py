"""What pictures and tables show, read out of the kept JSON.

A figure is one value a round: its median counts, the least and the greatest are its spread.
"""

from __future__ import annotations

import itertools
import statistics
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from loadtests.bench.ratios import number, spread

Run = Mapping[str, Any]
Measure = Callable[[Run], float | None]
"""What is read out of a run; None where it was not measured."""

OURS = "fastreg"
THEIRS = "docker-registry"
USUAL_NODES = 200
BOUND = "†"
"""Marks what the load's own CPU may have held back."""
NOTHING = "–"
MB = 1_000_000


@dataclass(frozen=True)
class Figure:
    values: Sequence[float]
    is_bound: bool = False

    @property
    def median(self) -> float:
        return statistics.median(self.values)

    @property
    def low(self) -> float:
        return min(self.values)

    @property
    def high(self) -> float:
        return max(self.values)

    @property
    def mark(self) -> str:
        return BOUND if self.is_bound else ""

    def text(self, unit: str, times: float = 1.0) -> str:
        """Return median and spread, as "4.10 (3.98–4.30) s"."""
        return f"{spread([value * times for value in self.values])} {unit}{self.mark}"

    def time(self, unit_s: float = 1.0) -> str:
        is_long = self.median * unit_s >= 1
        return self.text("s", unit_s) if is_long else self.text("ms", 1000 * unit_s)


def in_time(seconds: float) -> str:
    return f"{number(seconds)} s" if seconds >= 1 else f"{number(seconds * 1000)} ms"


class Results:
    def __init__(self, content: Mapping[str, Any]) -> None:
        self.machine: Mapping[str, Any] = content.get("machine") or {}
        self.settings: Mapping[str, Any] = content.get("settings") or {}
        self.contenders: Sequence[Mapping[str, Any]] = content.get("contenders") or []
        self.bars: Sequence[Mapping[str, Any]] = content.get("bars") or []
        self.runs: Sequence[Run] = content.get("runs") or []
        self.planned: int = content.get("planned_runs", len(self.runs))

    @property
    def names(self) -> list[str]:
        """Every contender, also one that only the runs know."""
        told = [each["name"] for each in self.contenders]
        return list(dict.fromkeys([*told, *(run["contender"] for run in self.runs)]))

    def select(self, **where: object) -> Iterator[Run]:
        """Yield the runs that came to an end, and whose fields are these.

        One node is no herd: what it takes alone is there for a bar.
        """
        for run in self.runs:
            is_herd = run["nodes"] > 1 or run["what"] != "nodes"
            if (
                is_complete(run)
                and is_herd
                and all(run.get(key) == value for key, value in where.items())
            ):
                yield run

    def options(self, field: str, **where: object) -> list[Any]:
        """Return what a field is in these runs, in the order in which it comes."""
        return list(dict.fromkeys(run[field] for run in self.select(**where)))

    def figure(self, measure: Measure, **where: object) -> Figure | None:
        runs = [run for run in self.select(**where) if measure(run) is not None]
        values = [value for run in runs if (value := measure(run)) is not None]
        return Figure(values, any(map(is_client_bound, runs))) if values else None

    def ratio(self, measure: Measure, ours: str, theirs: str, **where: object) -> Figure | None:
        """Return ours by theirs, round by round: what slows a whole round drops out."""
        mine = self.by_round(measure, contender=ours, **where)
        other = self.by_round(measure, contender=theirs, **where)
        both = [mine[each] / other[each] for each in mine if other.get(each)]
        return Figure(both) if both else None

    def by_round(self, measure: Measure, **where: object) -> dict[int, float]:
        taken = ((run["round"], measure(run)) for run in self.select(**where))
        return {round_number: value for round_number, value in taken if value is not None}

    def usual_nodes(self, **where: object) -> int:
        return usual(self.options("nodes", **where))

    def why_absent(self, name: str) -> str:
        """Say in one line why there are no figures of a contender."""
        told = [each.get("left_out") for each in self.contenders if each["name"] == name]
        errors = [run.get("error") for run in self.runs if run["contender"] == name]
        return next((last_line(error) for error in [*told, *errors] if error), "not measured")

    def absent(self, shown: Sequence[str]) -> list[str]:
        """Say of every contender that is not shown why."""
        return [f"{name}: {self.why_absent(name)}" for name in self.names if name not in shown]

    def bound_note(self, mark: str = BOUND, **where: object) -> str:
        is_bound = any(map(is_client_bound, self.select(**where)))
        return f"{mark}: held back by the client." if is_bound else ""

    def herd_note(self) -> str:
        """Say what the herd pulls."""
        run = next(self.select(what="nodes"), {})
        size = f" of {number(run['image_bytes'] / MB)} MB" if run.get("image_bytes") else ""
        return f"An image{size}"

    def bound_runs(self) -> list[Run]:
        return [run for run in self.select() if is_client_bound(run)]


def usual(counts: Iterable[int]) -> int:
    """Return 200, or the most that was measured where that was not."""
    measured = set(counts)
    return USUAL_NODES if USUAL_NODES in measured else max(measured, default=0)


def last_line(error: str) -> str:
    """Return what a log ends with."""
    return ["?", *error.strip().splitlines()][-1]


def is_complete(run: Run) -> bool:
    return not run.get("error") and bool(run.get("result"))


def is_client_bound(run: Run) -> bool:
    return bool((run["result"].get("client") or {}).get("bound"))


def time_to_image(which: str) -> Measure:
    """Measure a percentile of the nodes' times, in seconds: "p50", "p99", "last"."""

    def measure(run: Run) -> float | None:
        value: float | None = (run["result"].get("time_to_image") or {}).get(which)
        return value

    return measure


HALF = time_to_image("p50")
LAST = time_to_image("last")


def phase_p99(phase: str) -> Measure:
    """Measure the 99th percentile of the nodes' times in a part of the run, in seconds; nothing
    where nobody pushed, as then its parts are the same."""

    def measure(run: Run) -> float | None:
        if (run["result"].get("pushes") or {}).get("count") == 0:
            return None
        phases = (run["result"].get("time_to_image") or {}).get("by_phase") or {}
        value: float | None = (phases.get(phase) or {}).get("p99")
        return value

    return measure


def cpu_a_node(run: Run) -> float | None:
    return run["server_cpu_s"] / run["nodes"] if run.get("server_cpu_s") is not None else None


def server_cpu(run: Run) -> float | None:
    value: float | None = run.get("server_cpu_s")
    return value


def peak_memory(run: Run) -> float | None:
    return max((sample["rss_bytes"] for sample in run.get("samples") or []), default=None)


def images_sent(run: Run) -> float | None:
    """Measure what the account sent, in images."""
    if run.get("egress_bytes") is None or not run.get("image_bytes"):
        return None
    return float(run["egress_bytes"] / run["image_bytes"])


def request_ms(kind: str, percentile: str) -> Measure:
    """Measure the slowest kind of GET whose name has this word, in milliseconds."""

    def measure(run: Run) -> float | None:
        taken = [
            row[f"{percentile}_ms"]
            for name, row in (run["result"].get("requests") or {}).items()
            if name.startswith("GET") and kind in name and row.get("count")
        ]
        return max((value for value in taken if value is not None), default=None)

    return measure


def cores_over_time(run: Run) -> tuple[list[float], list[float]]:
    """Return when, and how many cores were busy since the sample before."""
    samples = run.get("samples") or []
    pairs = [(old, new) for old, new in itertools.pairwise(samples) if new["at_s"] > old["at_s"]]
    at = [new["at_s"] for _, new in pairs]
    return at, [
        max(0.0, new["cpu_s"] - old["cpu_s"]) / (new["at_s"] - old["at_s"]) for old, new in pairs
    ]
