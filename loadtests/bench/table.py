"""The result: a Markdown table to read, JSON to keep."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from loadtests.bench.ratios import Line

HEADER = ("work", "bar", "measured (median, min–max)", "met")


def render(lines: Sequence[Line], machine: Mapping[str, str]) -> str:
    """Return the table, what stands behind its figures, and where they were measured."""
    notes = [f"- {line.work}: {line.note}" for line in lines if line.note]
    about = [f"{name}: {value}" for name, value in machine.items()]
    return "\n".join([*table(lines), "", *notes, "", "Measured on " + "; ".join(about) + "."])


def table(lines: Sequence[Line]) -> list[str]:
    return grid([HEADER, *(row(line) for line in lines)])


def grid(cells: Sequence[Sequence[str]]) -> list[str]:
    """Return rows of cells as the lines of a table; the first is its head."""
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    padded = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |"
        for row in cells
    ]
    rule = "|" + "|".join("-" * (width + 2) for width in widths) + "|"
    return [padded[0], rule, *padded[1:]]


def row(line: Line) -> tuple[str, str, str, str]:
    return line.work, str(line.bar), line.measured, "yes" if line.is_met else "**no**"


def save(
    path: Path,
    lines: Sequence[Line],
    machine: Mapping[str, str],
    raw: Mapping[str, Sequence[float]],
) -> None:
    """Write everything that was measured, round by round."""
    content = {
        "machine": machine,
        "lines": [as_json(line) for line in lines],
        "raw": raw,
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n")


def as_json(line: Line) -> dict[str, object]:
    return asdict(line) | {"median": line.median, "is_met": line.is_met}
