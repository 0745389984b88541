"""What serving a herd takes: CPU and memory over time, and what Azure sends."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from typing import Any

from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from loadtests.bench.ratios import number
from loadtests.compare.drawing import (
    INK,
    QUIET,
    Palette,
    Picture,
    Table,
    bar_row,
    canvas,
    in_times,
    name_rows,
    rows_of_bars,
    short,
)
from loadtests.compare.figures import (
    LAST,
    NOTHING,
    OURS,
    THEIRS,
    Figure,
    Results,
    Run,
    cores_over_time,
    images_sent,
    in_time,
    peak_memory,
    server_cpu,
    usual,
)
from loadtests.compare.pictures_nodes import nodes_table

MIB = 1 << 20
USAGE_HEADING = "Server CPU and memory over time"
EGRESS_HEADING = "What Azure sends"
AZURE = "Azure"
BESIDE: dict[str, Any] = {"loc": "right", "size": 9, "color": INK, "pad": 3}


def usage_over_time(results: Results, palette: Palette) -> Picture:
    nodes = results.usual_nodes(what="nodes")
    shown = {name: run for name in results.names if (run := middle_run(results, name, nodes))}
    if not shown:
        return Picture.missing("usage", USAGE_HEADING, "No server was watched.")
    title = usage_title(shown, nodes)
    about = (
        f"{results.herd_note()}, {nodes} nodes at once; of each the round whose time was the middle"
        f" one. Dashed: the last node has the image. All processes of a server together."
    )
    picture = canvas(title, about, 0.5 + 0.9 * len(shown))
    grid = picture.subplots(len(shown), 2, squeeze=False, sharex=True, sharey="col")
    for (name, run), pair in zip(shown.items(), grid, strict=True):
        draw_usage(pair[0], pair[1], name, run, palette)
    end = max(run["samples"][-1]["at_s"] for run in shown.values())
    grid[0][0].set(xlim=(0, end * 1.02), ylim=(0, grid[0][0].get_ylim()[1] * 1.08))
    grid[0][1].set_ylim(0, grid[0][1].get_ylim()[1] * 1.08)
    grid[0][0].set_title("CPU: cores busy", size=10, loc="left", color=INK)
    grid[0][1].set_title("memory: MiB resident", size=10, loc="left", color=INK)
    for axes in grid[-1]:
        axes.set_xlabel("since the nodes began")
        axes.xaxis.set_major_locator(MaxNLocator(6))
        in_times(axes.xaxis)
    rows = [usage_row(results, name, nodes) for name in shown]
    table = Table(["", "CPU of the run", "memory at most", "last node"], rows)
    absent = results.absent(list(shown))
    return Picture("usage", USAGE_HEADING, title, about, table, absent, picture)


def middle_run(results: Results, name: str, nodes: int) -> Run | None:
    runs = [
        run for run in results.select(what="nodes", nodes=nodes, contender=name) if is_watched(run)
    ]
    return sorted(runs, key=lambda run: LAST(run) or 0)[len(runs) // 2] if runs else None


def is_watched(run: Run) -> bool:
    has_samples = len(run.get("samples") or []) > 1
    return has_samples and server_cpu(run) is not None and LAST(run) is not None


def usage_title(shown: Mapping[str, Run], nodes: int) -> str:
    if OURS not in shown:
        return USAGE_HEADING
    title = f"{nodes} nodes take {spent(shown[OURS], ' of CPU')}"
    return f"{title} ({THEIRS}: {spent(shown[THEIRS])})" if THEIRS in shown else title


def spent(run: Run, what: str = "") -> str:
    return f"{in_time(run['server_cpu_s'])}{what}, {(peak_memory(run) or 0) / MIB:.0f} MiB"


def draw_usage(cores: Axes, memory: Axes, name: str, run: Run, palette: Palette) -> None:
    colour = palette.colour(name)
    at, busy = cores_over_time(run)
    cores.fill_between(at, busy, step="pre", color=colour, alpha=0.3, linewidth=0)
    cores.step(at, busy, where="pre", color=colour, linewidth=1.3)
    at = [sample["at_s"] for sample in run["samples"]]
    held = [sample["rss_bytes"] / MIB for sample in run["samples"]]
    memory.fill_between(at, held, color=colour, alpha=0.3, linewidth=0)
    memory.plot(at, held, color=colour, linewidth=1.3)
    for axes in (cores, memory):
        axes.axvline(LAST(run) or 0, color=INK, linewidth=0.9, linestyle=(0, (3, 2)))
        axes.yaxis.set_major_locator(MaxNLocator(3, integer=True))
    cores.set_title(f"{in_time(run['server_cpu_s'])} of CPU", **BESIDE)
    memory.set_title(f"{max(held):.0f} MiB at most", **BESIDE)
    cores.set_ylabel(
        "\n".join(textwrap.wrap(short(name), 15)),
        rotation=0,
        ha="right",
        va="center",
        color=colour,
        weight="bold" if name == OURS else "normal",
    )


def usage_row(results: Results, name: str, nodes: int) -> list[str]:
    where = {"what": "nodes", "nodes": nodes, "contender": name}
    cpu = results.figure(server_cpu, **where)
    memory = results.figure(peak_memory, **where)
    last = results.figure(LAST, **where)
    return [
        name,
        cpu.time() if cpu else NOTHING,
        memory.text("MiB", 1 / MIB) if memory else NOTHING,
        last.time() if last else NOTHING,
    ]


def sent_by_azure(results: Results, palette: Palette) -> Picture:
    sent = {name: found for name in results.names if (found := sent_figure(results, name))}
    absent = [note for note in results.absent(list(sent)) if AZURE in note.split(":")[0]]
    if not sent:
        return Picture.missing("egress", EGRESS_HEADING, "No contender had Azure behind it.")
    title = egress_title(sent)
    about = f"{results.herd_note()}, all nodes at once. Dashed: the image once."
    picture = canvas(title, about, 0.6 + 0.36 * len(sent))
    axes = picture.subplots()
    rows_of_bars(axes, len(sent))
    for row, (name, (nodes, figure)) in enumerate(sent.items()):
        label = f"{number(figure.median)} × for {nodes} nodes"
        bar_row(axes, row, figure, palette.colour(name), label, figure.high)
    axes.axvline(1, color=QUIET, linewidth=0.9, linestyle=(0, (3, 2)))
    axes.set_xlim(0, 1.35 * max(1.0, *(figure.high for _, figure in sent.values())))
    axes.set_xlabel("sent by Azure, in images")
    name_rows(axes, list(sent), palette)
    table = nodes_table(results, list(sent), sent_cell, "sent, in images")
    return Picture("egress", EGRESS_HEADING, title, about, table, absent, picture)


def sent_figure(results: Results, name: str) -> tuple[int, Figure] | None:
    """Return what was sent to the usual number of nodes, or to the most that were measured."""
    runs = [
        run for run in results.select(what="nodes", contender=name) if images_sent(run) is not None
    ]
    nodes = usual(run["nodes"] for run in runs)
    figure = results.figure(images_sent, what="nodes", nodes=nodes, contender=name)
    return (nodes, figure) if figure else None


def sent_cell(results: Results, name: str, nodes: int) -> str:
    figure = results.figure(images_sent, what="nodes", nodes=nodes, contender=name)
    return figure.text("×") if figure else NOTHING


def egress_title(sent: Mapping[str, tuple[int, Figure]]) -> str:
    ours = [found for name, found in sent.items() if name.startswith(OURS)]
    if not ours:
        return EGRESS_HEADING
    nodes, most = max(ours, key=lambda found: found[1].median)
    return f"For {nodes} nodes behind {OURS}, Azure sends the image {number(most.median)} times"
