"""A bar, and whether the median of what the rounds measured reaches it."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Bar:
    limit: float
    unit: str
    """What is counted, and against whom: `× nginx's CPU`."""
    is_least: bool = False
    """Whether the limit is the least that will do, and not the most."""

    def __str__(self) -> str:
        return f"{'≥' if self.is_least else '≤'} {number(self.limit)} {self.unit}"

    def is_met_by(self, value: float) -> bool:
        return value >= self.limit if self.is_least else value <= self.limit


@dataclass(frozen=True)
class Line:
    """One line of the table: a piece of work, its bar, and a value a round."""

    work: str
    bar: Bar
    values: Sequence[float]
    note: str = ""

    @property
    def median(self) -> float:
        return statistics.median(self.values)

    @property
    def is_met(self) -> bool:
        return self.bar.is_met_by(self.median)

    @property
    def measured(self) -> str:
        return spread(self.values)


def ratios(ours: Sequence[float], theirs: Sequence[float]) -> list[float]:
    """Return ours by theirs, round by round: what slows a whole round drops out."""
    return [mine / other for mine, other in zip(ours, theirs, strict=True)]


def spread(values: Sequence[float]) -> str:
    """Return the median, and the least and the greatest where there are several."""
    median = number(statistics.median(values))
    if len(values) == 1:
        return median
    return f"{median} ({number(min(values))}–{number(max(values))})"


def number(value: float) -> str:
    """Return three significant digits, or all of a great whole number."""
    if abs(value) >= 100 or value == int(value):
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"
