"""What grows with the number of nodes: the time to an image, and the CPU a node."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.ticker import NullLocator

from loadtests.bench.ratios import number
from loadtests.compare.drawing import (
    Palette,
    Picture,
    Table,
    canvas,
    in_times,
    log_steps,
    name_lines,
)
from loadtests.compare.figures import (
    HALF,
    LAST,
    NOTHING,
    OURS,
    THEIRS,
    Measure,
    Results,
    cpu_a_node,
    in_time,
)

NODES_HEADING = "Time to image, by number of nodes"
CPU_HEADING = "CPU a node, by number of nodes"


def time_by_nodes(results: Results, palette: Palette) -> Picture:
    names = [name for name in results.names if results.figure(LAST, what="nodes", contender=name)]
    if not names:
        return Picture.missing("nodes", NODES_HEADING, "No herd was measured.")
    title = nodes_title(results, results.usual_nodes(what="nodes"))
    about = (
        f"{results.herd_note()}, all nodes at once. Line: until the last node has it, median of"
        f" the rounds; band: least to greatest. {results.bound_note('Hollow', what='nodes')}"
    )
    picture = canvas(title, about, 4.2)
    axes = picture.subplots()
    axes.set_yscale("log")
    draw_by_nodes(axes, results, LAST, names, palette)
    axes.set_ylabel("until the last node has the image")
    in_times(axes.yaxis)
    log_steps(axes.yaxis, 9)
    name_lines(axes, line_ends(results, LAST, names), palette)
    table = nodes_table(results, names, nodes_cell, "last node / median")
    return Picture("nodes", NODES_HEADING, title, about, table, results.absent(names), picture)


def nodes_title(results: Results, nodes: int) -> str:
    last = results.figure(LAST, what="nodes", nodes=nodes, contender=OURS)
    if last is None:
        return NODES_HEADING
    title = f"{nodes} nodes have the image in {in_time(last.median)}"
    ratio = results.ratio(LAST, OURS, THEIRS, what="nodes", nodes=nodes)
    return f"{title}: {number(ratio.median)} × {THEIRS}'s time" if ratio else title


def nodes_cell(results: Results, name: str, nodes: int) -> str:
    last = results.figure(LAST, what="nodes", nodes=nodes, contender=name)
    half = results.figure(HALF, what="nodes", nodes=nodes, contender=name)
    return f"{last.time()}\n{half.time()}" if last and half else NOTHING


def cpu_by_nodes(results: Results, palette: Palette) -> Picture:
    names = [
        name for name in results.names if results.figure(cpu_a_node, what="nodes", contender=name)
    ]
    if not names:
        return Picture.missing("cpu", CPU_HEADING, "No server's CPU was measured.")
    title = cpu_title(results)
    about = (
        f"{results.herd_note()}, all nodes at once. User and system time of the server's processes"
        f" by the number of nodes; line: median of the rounds, band: least to greatest."
        f" {results.bound_note('Hollow', what='nodes')}"
    )
    picture = canvas(title, about, 3.6)
    axes = picture.subplots()
    draw_by_nodes(axes, results, cpu_a_node, names, palette)
    axes.set_ylim(0, None)
    axes.set_ylabel("server's CPU a node")
    in_times(axes.yaxis)
    name_lines(axes, line_ends(results, cpu_a_node, names), palette)
    table = nodes_table(results, names, cpu_cell, "CPU a node")
    return Picture("cpu", CPU_HEADING, title, about, table, results.absent(names), picture)


def cpu_title(results: Results) -> str:
    figures = [
        (count, figure)
        for count in node_counts(results)
        if (figure := results.figure(cpu_a_node, what="nodes", nodes=count, contender=OURS))
    ]
    if not figures:
        return CPU_HEADING
    (few, first), (many, last) = figures[0], figures[-1]
    title = f"A node costs {OURS} {in_time(first.median)} of CPU when {few} pull"
    return title if few == many else f"{title}, {in_time(last.median)} when {many} do"


def cpu_cell(results: Results, name: str, nodes: int) -> str:
    figure = results.figure(cpu_a_node, what="nodes", nodes=nodes, contender=name)
    return figure.time() if figure else NOTHING


def node_counts(results: Results) -> list[int]:
    return sorted(results.options("nodes", what="nodes"))


def draw_by_nodes(
    axes: Axes, results: Results, measure: Measure, names: Sequence[str], palette: Palette
) -> None:
    """Draw a line with its band for each contender; fastreg's above all others."""
    counts = node_counts(results)
    for name in names:
        found = [
            (count, figure)
            for count in counts
            if (figure := results.figure(measure, what="nodes", nodes=count, contender=name))
        ]
        at = [count for count, _ in found]
        looks: dict[str, Any] = {"color": palette.colour(name), "zorder": 4 if name == OURS else 3}
        lows, highs = [one.low for _, one in found], [one.high for _, one in found]
        axes.fill_between(at, lows, highs, alpha=0.18, linewidth=0, **looks)
        width = 2.6 if name == OURS else 1.6
        axes.plot(at, [one.median for _, one in found], linewidth=width, **looks)
        for count, figure in found:
            fill = "white" if figure.is_bound else palette.colour(name)
            axes.plot(count, figure.median, palette.mark(name), mfc=fill, ms=5.5, **looks)
    axes.set_xscale("log")
    axes.set_xticks(counts, [str(count) for count in counts])
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xlabel("nodes")


def line_ends(
    results: Results, measure: Measure, names: Sequence[str]
) -> list[tuple[str, float, float]]:
    """Return where each line ends: name, nodes, value."""
    ends = []
    for name in names:
        runs = [run for run in results.select(what="nodes", contender=name) if measure(run)]
        most = max(run["nodes"] for run in runs)
        figure = results.figure(measure, what="nodes", nodes=most, contender=name)
        assert figure is not None
        ends.append((name, most, figure.median))
    return ends


def nodes_table(
    results: Results, names: Sequence[str], cell: Callable[[Results, str, int], str], corner: str
) -> Table:
    counts = node_counts(results)
    rows = [[name, *(cell(results, name, count) for count in counts)] for name in names]
    return Table([corner, *(f"{count} nodes" for count in counts)], rows)
