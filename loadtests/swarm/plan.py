"""What a shape comes to: steps, one after another, and who takes part in each.

In a step that lasts, users act again and again until its time is over. In any other, each of its
nodes pulls once. A step is over when all that take part have ended what they were doing.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import pairwise

from loadtests.swarm.options import Settings


@dataclass(frozen=True, slots=True)
class Step:
    images: tuple[str, ...]
    first: int
    """The first of the nodes that take part, which are numbered from 0 over all processes."""
    end: int
    phase: str
    number: int = 0
    round: int = 0
    lasts_s: float = 0
    has_pushes: bool = False
    is_cold: bool = False
    """Whether the nodes' caches and the registry's are emptied before."""


def steps(wanted: Settings) -> list[Step]:
    found: list[Step] = []
    for round_number in range(wanted.rounds):
        for step in _SHAPES[wanted.shape](wanted):
            found.append(replace(step, number=len(found), round=round_number))
    return found


def head_counts(wanted: Settings) -> dict[str, int]:
    """Return how many users of each class there are; a weight above 0 comes to one at least."""
    lasts = wanted.shape in ("steady", "mixed")
    weights = {
        "Pusher": wanted.push_weight if wanted.shape == "mixed" else 0,
        "Lister": wanted.list_weight if lasts else 0,
        "Prober": wanted.probe_weight if lasts else 0,
    }
    others = {name: math.ceil(wanted.nodes * weight / 100) for name, weight in weights.items()}
    return {"SwarmNode": wanted.nodes, **others}


def _herd(wanted: Settings) -> Iterator[Step]:
    for image in wanted.images:
        yield Step((image,), 0, wanted.nodes, "herd")


def _cold(wanted: Settings) -> Iterator[Step]:
    for place, image in enumerate(wanted.images):
        yield Step((image,), 0, wanted.nodes, "cold", is_cold=place == 0)


def _rolling(wanted: Settings) -> Iterator[Step]:
    bounds = [wanted.nodes * wave // wanted.waves for wave in range(wanted.waves + 1)]
    for image in wanted.images:
        for wave, (first, end) in enumerate(pairwise(bounds), 1):
            yield Step((image,), first, end, f"wave {wave}")


def _steady(wanted: Settings) -> Iterator[Step]:
    yield Step(wanted.images, 0, wanted.nodes, "steady", lasts_s=wanted.duration_s)


def _mixed(wanted: Settings) -> Iterator[Step]:
    quiet = Step(wanted.images, 0, wanted.nodes, "quiet", lasts_s=wanted.duration_s / 2)
    yield quiet
    yield replace(quiet, phase="pushing", has_pushes=True)


_SHAPES = {
    "thundering-herd": _herd,
    "rolling": _rolling,
    "steady": _steady,
    "cold": _cold,
    "mixed": _mixed,
}
