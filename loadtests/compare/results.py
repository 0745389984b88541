"""What a comparison found, as it is kept: one JSON, from which the report is made."""

from __future__ import annotations

import json
import re
import shlex
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from loadtests.bench.ratios import Line
from loadtests.compare import bars
from loadtests.compare.matrix import Settings
from loadtests.compare.runs import PROCESSES, VERIFY, Run

CLIENT = f"locust --processes {PROCESSES} --verify {VERIFY}"
AZURE = "Azurite on this machine, at no distance"


@dataclass
class Comparison:
    machine: Mapping[str, str]
    settings: Settings
    contenders: list[dict[str, str]] = field(default_factory=list)
    """Name, storage, version; `left_out` says why one does not take part."""
    runs: list[Run] = field(default_factory=list)
    planned: int = 0
    """How many runs there are when nothing ends it early; 0 while that is not known."""

    @property
    def is_complete(self) -> bool:
        return 0 < self.planned == len(self.runs)

    def save(self, path: Path) -> None:
        """Write it with a line for each run, so that two can be told apart by diff."""
        lines = bars.lines(self.runs)
        parts: dict[str, Any] = {
            "machine": self.machine,
            "settings": asdict(self.settings)
            | {"client": CLIENT, "Azure": AZURE, "command": command()},
            "contenders": self.contenders,
            "planned_runs": self.planned,
            "bars": [bar_as_json(line) for line in lines],
        }
        head = ",\n".join(f"{dump(name)}: {dump(part)}" for name, part in parts.items())
        runs = ",\n".join(dump(rounded(asdict(run))) for run in self.runs)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f'{{{head},\n"runs": [\n{runs}\n]}}\n')


def command() -> str:
    """Return what measures the same again, without the credentials of URLs."""
    options = shlex.join(re.sub(r"(?<=://)[^/]*@", "", word) for word in sys.argv[1:])
    return f"make swarm SWARM={shlex.quote(options)}" if options else "make swarm"


def bar_as_json(line: Line) -> dict[str, object]:
    return {
        "name": line.work,
        "bar": str(line.bar),
        "median": line.median,
        "low": min(line.values),
        "high": max(line.values),
        "is_met": line.is_met,
    }


def rounded(value: Any) -> Any:
    """Return it with times to the tenth of a millisecond: nothing here is known better."""
    if isinstance(value, float):
        return round(value, 4)
    if isinstance(value, dict):
        return {key: rounded(item) for key, item in value.items()}
    return [rounded(item) for item in value] if isinstance(value, list) else value


def dump(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(", ", ": "))


def told(run: Run) -> str:
    """Return a run in a line."""
    work = f"{run.shape} of {run.nodes} × {run.image}, round {run.round + 1}: {run.contender}"
    if run.error is not None:
        return f"{work}: {['?', *run.error.strip().splitlines()][-1]}"
    times = run.measured["time_to_image"]
    cpu = "" if run.server_cpu_s is None else f", registry CPU {run.server_cpu_s:.2f} s"
    sent = "" if run.egress_bytes is None else f", from Azure {run.egress_bytes / 1e6:,.0f} MB"
    bound = ", client-bound" if run.measured["client"]["bound"] else ""
    return f"{work}: p50 {times['p50']:.2f} s, last {times['last']:.2f} s{cpu}{sent}{bound}"
