"""What happened in a run: told by each process as it goes on, added up, and made into figures.

A ledger goes from process to process as plain values. Times of images are kept one by one and
their percentiles are exact; times of requests, of which there are many, fall into classes of 2 %.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec

from loadtests.swarm.load import Load, judge

CLASS_RATIO = 1.02
PERCENTILES = {"p50": 0.50, "p95": 0.95, "p99": 0.99}


@dataclass(frozen=True, slots=True)
class Pull:
    node: int
    image: str
    round: int
    phase: str
    begun_s: float
    """Since the first step's start."""
    seconds: float
    """Since the step's start, which is the same for all nodes of a herd or wave; in a step that
    lasts, since the node began."""
    bytes: int
    error: str | None = None
    is_mismatch: bool = False


@dataclass(frozen=True, slots=True)
class Push:
    pusher: int
    way: str
    begun_s: float
    seconds: float
    bytes: int
    error: str | None = None
    is_mismatch: bool = False


@dataclass(slots=True)
class Requests:
    """The requests of one kind."""

    count: int = 0
    errors: int = 0
    bytes: int = 0
    max_s: float = 0.0
    classes: dict[int, int] = field(default_factory=dict)
    """How many took CLASS_RATIO ** key microseconds."""

    def add(self, seconds: float, size: int, is_error: bool) -> None:
        key = round(math.log(max(seconds * 1e6, 1.0), CLASS_RATIO))
        self.classes[key] = self.classes.get(key, 0) + 1
        self.count += 1
        self.errors += is_error
        self.bytes += size
        self.max_s = max(self.max_s, seconds)

    def merge(self, other: Requests) -> None:
        self.classes = dict(Counter(self.classes) + Counter(other.classes))
        self.count += other.count
        self.errors += other.errors
        self.bytes += other.bytes
        self.max_s = max(self.max_s, other.max_s)

    def percentile_s(self, share: float) -> float:
        """Return a time that this share of the requests does not exceed, but for 1 %."""
        wanted = math.ceil(share * self.count)
        for key in sorted(self.classes):
            wanted -= self.classes[key]
            if wanted <= 0:
                return min(CLASS_RATIO**key / 1e6, self.max_s)
        return 0.0


@dataclass(slots=True)
class Ledger:
    pulls: list[Pull] = field(default_factory=list)
    pushes: list[Push] = field(default_factory=list)
    requests: dict[str, Requests] = field(default_factory=dict)
    loads: dict[str, Load] = field(default_factory=dict)
    """By process."""

    def count_request(self, name: str, seconds: float, size: int, is_error: bool) -> None:
        self.requests.setdefault(name, Requests()).add(seconds, size, is_error)

    def merge(self, other: Ledger) -> None:
        self.pulls += other.pulls
        self.pushes += other.pushes
        for name, requests in other.requests.items():
            self.requests.setdefault(name, Requests()).merge(requests)
        for name, load in other.loads.items():
            self.loads.setdefault(name, Load()).merge(load)

    def take(self) -> dict[str, Any]:
        """Return all of it as plain values, and forget it."""
        taken: dict[str, Any] = msgspec.to_builtins(self)
        self.pulls, self.pushes, self.requests, self.loads = [], [], {}, {}
        return taken

    @staticmethod
    def of(values: Any) -> Ledger:
        return msgspec.convert(values, Ledger)


def spread(seconds: Iterable[float]) -> dict[str, float]:
    """Return the percentiles of some times (nearest rank), and the last."""
    ordered = sorted(seconds)
    if not ordered:
        return {"count": 0}
    ranks = {name: math.ceil(share * len(ordered)) - 1 for name, share in PERCENTILES.items()}
    figures = {name: ordered[rank] for name, rank in ranks.items()}
    return {"count": len(ordered), **figures, "last": ordered[-1]}


def figures(ledger: Ledger, seconds: float) -> dict[str, Any]:
    """Return what the results say; `seconds` is how long steps were under way."""
    moved = sum(pull.bytes for pull in ledger.pulls)
    pushed = [push for push in ledger.pushes if push.error is None]
    return {
        "seconds": seconds,
        "pulls": msgspec.to_builtins(ledger.pulls),
        "time_to_image": {
            **spread(pull.seconds for pull in ledger.pulls if pull.error is None),
            "by_image": _by(ledger.pulls, "image"),
            "by_phase": _by(ledger.pulls, "phase"),
        },
        "pushes": {
            **spread(push.seconds for push in pushed),
            "bytes": sum(push.bytes for push in pushed),
            "failed": len(ledger.pushes) - len(pushed),
        },
        "requests": {
            name: _request_figures(ledger.requests[name]) for name in sorted(ledger.requests)
        },
        "bytes": moved,
        "bytes_per_s": moved / seconds if seconds else 0.0,
        "errors": sum(requests.errors for requests in ledger.requests.values()),
        "digest_mismatches": sum(pull.is_mismatch for pull in ledger.pulls)
        + sum(push.is_mismatch for push in ledger.pushes),
        "failures": failures(ledger),
        "client": judge(ledger.loads.values(), seconds),
    }


def failures(ledger: Ledger) -> list[str]:
    """Return a line for each pull and push that failed, mismatches first."""
    lines = [
        (not pull.is_mismatch, f"node {pull.node}: {pull.image}: {pull.error}")
        for pull in ledger.pulls
        if pull.error is not None
    ]
    lines += [
        (not push.is_mismatch, f"pusher {push.pusher}: {push.way}: {push.error}")
        for push in ledger.pushes
        if push.error is not None
    ]
    return [line for _, line in sorted(lines, key=lambda entry: entry[0])]


def _by(pulls: Sequence[Pull], trait: str) -> dict[str, dict[str, float]]:
    names = dict.fromkeys(getattr(pull, trait) for pull in pulls)
    return {
        name: spread(
            pull.seconds for pull in pulls if getattr(pull, trait) == name and pull.error is None
        )
        for name in names
    }


def _request_figures(requests: Requests) -> dict[str, float]:
    times = {f"{name}_ms": requests.percentile_s(share) for name, share in PERCENTILES.items()}
    return {
        "count": requests.count,
        "errors": requests.errors,
        **{name: seconds * 1e3 for name, seconds in times.items()},
        "max_ms": requests.max_s * 1e3,
        "bytes": requests.bytes,
    }
