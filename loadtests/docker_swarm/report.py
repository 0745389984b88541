"""What a run found: Markdown to read, JSON to keep."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from loadtests.bench.ratios import number, ratios
from loadtests.bench.servers import FASTREG, REFERENCE
from loadtests.bench.table import grid
from loadtests.docker_swarm.figures import Rollout, compared, figures, rows


@dataclass(frozen=True)
class Settings:
    nodes: int
    rounds: int
    image: str
    scale: float
    one_by_one: bool


@dataclass(frozen=True)
class Report:
    machine: Mapping[str, str]
    settings: Settings
    image_bytes: int
    rolled_out_by: str
    milestones: Sequence[str]
    why_not_running: str | None
    """What the daemon says, where no container starts."""
    rollouts: Sequence[Rollout]

    def text(self) -> str:
        about = "; ".join(f"{name}: {value}" for name, value in self.machine.items())
        table = grid(rows(self.rollouts, self.milestones))
        return "\n".join(
            [self.title(), "", *table, "", *self.remarks(), "", f"Measured on {about}."]
        )

    def title(self) -> str:
        return (
            f"{number(self.image_bytes / 1e6)} MB to {self.settings.nodes} Docker daemons,"
            f" rollouts from each registry: {self.settings.rounds}; median (least–greatest)"
        )

    def remarks(self) -> list[str]:
        what = "that every node had pulled the image, and that it ran there"
        if self.why_not_running is not None:
            what = (
                "that every node had pulled the image; not that it ran, as no container starts"
                f" here: {self.why_not_running}"
            )
        shares = " and ".join(
            f"{number(statistics.median(r.share for r in self.rollouts if r.registry == name))} %"
            f" ({name})"
            for name in (FASTREG, REFERENCE)
        )
        return [
            f"- Rolled out by {self.rolled_out_by}.",
            f"- Measured from that command on: {what}.",
            f"- The registry took {shares} of the CPU time. The rest is the daemons', which verify"
            f" and unpack on the same {self.machine['cores']} cores.",
        ]

    def as_json(self) -> dict[str, Any]:
        found = {}
        for name, figure in figures(self.milestones).items():
            ours, theirs = compared(self.rollouts, figure)
            found[name] = {FASTREG: ours, REFERENCE: theirs, "ratios": ratios(ours, theirs)}
        return asdict(self) | {"figures": found}
