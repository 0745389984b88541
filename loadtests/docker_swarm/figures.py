"""What a rollout took, and the table that compares two registries round by round."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from loadtests.bench.ratios import ratios, spread
from loadtests.bench.servers import FASTREG, REFERENCE
from loadtests.docker_swarm.rollouts import PULLED, RUNNING

SAID = {PULLED: "pulled", RUNNING: "running"}


@dataclass(frozen=True)
class Rollout:
    """One image, from one registry to all nodes."""

    registry: str
    round: int
    seconds: Mapping[str, Mapping[str, float]]
    """Node → milestone → from the command."""
    registry_cpu_s: float
    nodes_cpu_s: float
    sent_bytes: int
    memory_bytes: int
    """The most that the registry had in memory; what its processes share counts once."""

    def reached(self, milestone: str) -> list[float]:
        return [times[milestone] for times in self.seconds.values()]

    @property
    def share(self) -> float:
        """The registry's part of all CPU time, in per cent."""
        return 100 * self.registry_cpu_s / (self.registry_cpu_s + self.nodes_cpu_s)


Figure = Callable[[Rollout], float]


def figures(milestones: Sequence[str]) -> dict[str, Figure]:
    """Return what is compared, by its name."""
    found: dict[str, Figure] = {}
    for milestone in milestones:
        for which, of in (("first", min), ("median", statistics.median), ("last", max)):
            found[f"{SAID[milestone]}, {which} node, s"] = figure_of(milestone, of)
    return found | {
        "registry CPU, s": lambda rollout: rollout.registry_cpu_s,
        "registry's share of all CPU, %": lambda rollout: rollout.share,
        "registry memory at most, MiB": lambda rollout: rollout.memory_bytes / (1 << 20),
        "sent, MB": lambda rollout: rollout.sent_bytes / 1e6,
    }


def figure_of(milestone: str, of: Callable[[list[float]], float]) -> Figure:
    return lambda rollout: of(rollout.reached(milestone))


def compared(rollouts: Sequence[Rollout], figure: Figure) -> tuple[list[float], list[float]]:
    """Return a figure of both registries, round by round."""
    ours, theirs = (
        [figure(rollout) for rollout in rollouts if rollout.registry == name]
        for name in (FASTREG, REFERENCE)
    )
    return ours, theirs


def rows(rollouts: Sequence[Rollout], milestones: Sequence[str]) -> list[tuple[str, ...]]:
    """Return the table: the median of the rounds, and the least and the greatest."""
    header = ("", FASTREG, REFERENCE, f"{FASTREG} ÷ {REFERENCE}")
    return [
        header,
        *(row(name, *compared(rollouts, of)) for name, of in figures(milestones).items()),
    ]


def row(name: str, ours: Sequence[float], theirs: Sequence[float]) -> tuple[str, ...]:
    return name, spread(ours), spread(theirs), spread(ratios(ours, theirs))
