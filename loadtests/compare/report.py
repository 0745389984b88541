"""One HTML page and the PNGs, from the JSON that a comparison keeps.

The page needs nothing but itself: its pictures are in it, and it refers to nothing outside.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click
from jinja2 import Environment, StrictUndefined

from loadtests.bench.ratios import number
from loadtests.compare.figures import NOTHING, Results, last_line
from loadtests.compare.pictures import draw, make

TEMPLATE = Path(__file__).with_name("report.html")
PAGE = "report.html"


def render(results: Mapping[str, Any], out: Path) -> Path:
    """Write the page and the PNGs into a directory, and return the page's path."""
    told = Results(results)
    out.mkdir(parents=True, exist_ok=True)
    sections = []
    for picture in make(told):
        content = draw(picture)
        if content is not None:
            (out / f"{picture.name}.png").write_bytes(content)
        sections.append({"picture": picture, "source": data_uri(content) if content else None})
    page = out / PAGE
    page.write_text(template().render(summary(told), sections=sections))
    return page


def template() -> Any:
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    return environment.from_string(TEMPLATE.read_text())


def data_uri(png: bytes) -> str:
    return f"data:image/png;base64,{base64.b64encode(png).decode()}"


def summary(results: Results) -> dict[str, Any]:
    runs = [run for run in results.runs if run.get("result")]
    return {
        "machine": results.machine,
        "settings": {
            name.replace("_", " "): as_text(value)
            for name, value in results.settings.items()
            if name != "command"
        },
        "command": results.settings.get("command") or "make swarm",
        "contenders": [contender_row(results, name) for name in results.names],
        "bars": [bar_row(bar) for bar in results.bars],
        "pulls": sum((run["result"].get("time_to_image") or {}).get("count", 0) for run in runs),
        "failures": sum(run["result"].get("errors") or 0 for run in runs),
        "mismatches": sum(run["result"].get("digest_mismatches") or 0 for run in runs),
        "runs": len(results.runs),
        "planned": results.planned,
        "failed": [failed_row(run) for run in results.runs if run.get("error")],
        "bound": bound_rows(results),
    }


def as_text(value: object) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def contender_row(results: Results, name: str) -> dict[str, Any]:
    told = next((each for each in results.contenders if each["name"] == name), {})
    done = len(list(results.select(contender=name)))
    storage, version = told.get("storage") or NOTHING, told.get("version") or NOTHING
    state = f"{done} runs" if done else results.why_absent(name)
    return {"name": name, "storage": storage, "version": version, "state": state}


def bar_row(bar: Mapping[str, Any]) -> dict[str, Any]:
    median, low, high = (bar.get(key) for key in ("median", "low", "high"))
    if median is None:
        return {"name": bar["name"], "bar": bar["bar"], "measured": NOTHING, "state": "unknown"}
    measured = number(median)
    if low is not None and high is not None and low < high:
        measured += f" ({number(low)}–{number(high)})"
    state = "met" if bar["is_met"] else "missed"
    return {"name": bar["name"], "bar": bar["bar"], "measured": measured, "state": state}


def failed_row(run: Mapping[str, Any]) -> str:
    what = f"{run['contender']}: {run['what']}, {run['shape']}, {run['nodes']} nodes"
    return f"{what}, round {run['round'] + 1}: {last_line(run['error'])}"


def bound_rows(results: Results) -> list[str]:
    """Return a line for each contender with the runs that the client held back, and a reason."""
    told: dict[str, list[str]] = {}
    reasons: dict[str, str] = {}
    for run in results.bound_runs():
        what = f"{run['shape']} of {run['nodes']} × {run['image']}"
        told.setdefault(run["contender"], []).append(what)
        reasons.setdefault(run["contender"], run["result"]["client"].get("why") or "")
    return [
        f"{name}: {', '.join(dict.fromkeys(whats))}; the first because {reasons[name]}"
        for name, whats in told.items()
    ]


@click.command(help="Draw the report of a comparison again, from its JSON.")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    required=True,
    help="Directory for the page and the pictures.",
)
def main(file: Path, out: Path) -> None:
    click.echo(render(json.loads(file.read_text()), out))


if __name__ == "__main__":
    main()
