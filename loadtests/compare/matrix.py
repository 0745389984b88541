"""Which runs there are, and in which order: every contender once a round at each of them."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from loadtests.compare.contenders import FASTREG_COLD, Contender
from loadtests.images.catalog import NAMES

HERD, ROLLING, STEADY, COLD, MIXED = "thundering-herd", "rolling", "steady", "cold", "mixed"
SHAPES = (HERD, ROLLING, STEADY, COLD)
"""Of the part that compares shapes; pushes are a part of their own, and so are herds."""
IMAGES, NODES, BY_SHAPE, PUSHES = PARTS = ("images", "nodes", "shapes", "mixed")
HERD_IMAGE = "herd"


@dataclass(frozen=True)
class Case:
    """One piece of work that all contenders are given."""

    what: str
    """The part of the comparison."""
    shape: str
    image: str
    nodes: int
    lasts_s: int = 0
    """Where the shape has no end of its own."""

    def is_for(self, contender: Contender) -> bool:
        if self.nodes == 1:  # what a cold pull takes that nobody else waits for
            return contender == FASTREG_COLD
        is_herd = self.shape not in (STEADY, MIXED)
        return self.nodes <= contender.most_nodes and (is_herd or contender.is_registry)


@dataclass(frozen=True)
class Settings:
    rounds: int = 2
    scale: float = 1.0
    """Of the images' layers."""
    parts: tuple[str, ...] = PARTS
    images: tuple[str, ...] = tuple(name for name in NAMES if name != HERD_IMAGE)
    nodes: tuple[int, ...] = (10, 50, 100, 200, 500)
    """Of the herds."""
    shapes: tuple[str, ...] = (ROLLING, STEADY, COLD)
    nodes_an_image: int = 20
    nodes_a_shape: int = 40
    lasts_s: int = 8
    """A shape that has no end of its own."""
    mixed_lasts_s: int = 30
    """Half of it without pushes; a 99th percentile takes many pulls."""


FULL = Settings()
QUICK = Settings(
    rounds=1,
    scale=0.1,
    images=("redis", "node"),
    nodes=(10, 50),
    shapes=(ROLLING,),
    nodes_an_image=10,
    lasts_s=6,
    mixed_lasts_s=12,
)


def cases(settings: Settings) -> list[Case]:
    """Return the work of one round."""
    by_part = {
        IMAGES: [Case(IMAGES, HERD, name, settings.nodes_an_image) for name in settings.images],
        NODES: [Case(NODES, HERD, HERD_IMAGE, nodes) for nodes in (1, *settings.nodes)],
        BY_SHAPE: [
            Case(BY_SHAPE, shape, HERD_IMAGE, settings.nodes_a_shape, settings.lasts_s)
            for shape in settings.shapes
        ],
        PUSHES: [Case(PUSHES, MIXED, HERD_IMAGE, settings.nodes_a_shape, settings.mixed_lasts_s)],
    }
    return [case for part in settings.parts for case in by_part[part]]


def turns(
    cases: Sequence[Case], contenders: Sequence[Contender], rounds: int
) -> Iterator[tuple[int, Case, Contender]]:
    """Yield every run. Contenders take turns at one case before the next one begins, so that a
    ratio is of runs that were close in time, and each of them is first as often as last."""
    for number in range(rounds):
        for place, case in enumerate(cases):
            in_turn = deque(contenders)
            in_turn.rotate(-(number + place))
            for contender in in_turn:
                if case.is_for(contender):
                    yield number, case, contender
