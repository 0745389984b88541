"""How long nodes wait: by image, and by the number of nodes."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator, NullLocator

from loadtests.bench.ratios import number
from loadtests.compare.drawing import (
    BEHIND,
    INK,
    QUIET,
    Palette,
    Picture,
    Table,
    bar_row,
    canvas,
    in_times,
    log_steps,
    name_lines,
    name_rows,
    rows_of_bars,
)
from loadtests.compare.figures import (
    NOTHING,
    OURS,
    THEIRS,
    Figure,
    Measure,
    Results,
    in_time,
    time_to_image,
)

MB = 1_000_000
COLUMNS = 2
HALF = time_to_image("p50")
LAST = time_to_image("last")
IMAGES_HEADING = "Time to image, by image and registry"
NODES_HEADING = "Time to image, by number of nodes"


def time_by_image(results: Results, palette: Palette) -> Picture:
    sizes = image_sizes(results)
    names = [name for name in results.names if results.figure(HALF, what="images", contender=name)]
    if not names:
        return Picture.missing("images", IMAGES_HEADING, "No image was pulled by itself.")
    title = images_title(results, list(sizes))
    about = (
        f"{results.usual_nodes(what='images')} nodes begin at once. Bar: half of them have the"
        f" image; whisker: least to greatest of the rounds; ◇ the last one. Each image has its"
        f" own scale. {results.bound_note(what='images')}"
    )
    rows = math.ceil(len(sizes) / COLUMNS)
    picture = canvas(title, about, rows * (0.5 + 0.23 * len(names)))
    panels = list(picture.subplots(rows, min(COLUMNS, len(sizes)), squeeze=False).flat)
    for index, (image, axes) in enumerate(zip(sizes, panels, strict=False)):
        draw_image(axes, results, image, names, palette)
        axes.set_title(f"{image}, {number(sizes[image] / MB)} MB", size=10, loc="left", color=INK)
        if index % COLUMNS == 0:
            name_rows(axes, names, palette)
    for axes in panels[len(sizes) :]:
        axes.set_visible(False)
    rows_told = [[image, *(image_cell(results, image, name) for name in names)] for image in sizes]
    table = Table(["median node / last", *names], rows_told)
    return Picture("images", IMAGES_HEADING, title, about, table, results.absent(names), picture)


def image_sizes(results: Results) -> dict[str, float]:
    """Return the images, the smallest first."""
    runs = list(results.select(what="images"))
    sizes = {run["image"]: float(run.get("image_bytes") or 0) for run in runs}
    return dict(sorted(sizes.items(), key=lambda item: item[1]))


def images_title(results: Results, images: Sequence[str]) -> str:
    taken = [results.ratio(HALF, OURS, THEIRS, what="images", image=image) for image in images]
    medians = [ratio.median for ratio in taken if ratio]
    if not medians:
        return IMAGES_HEADING
    low, high = number(min(medians)), number(max(medians))
    span = low if low == high else f"{low} to {high}"
    return f"From {OURS}, an image takes {span} × {THEIRS}'s time"


def draw_image(
    axes: Axes, results: Results, image: str, names: Sequence[str], palette: Palette
) -> None:
    rows_of_bars(axes, len(names))
    most, found = 0.0, []
    for row, name in enumerate(names):
        half = results.figure(HALF, what="images", image=image, contender=name)
        last = results.figure(LAST, what="images", image=image, contender=name)
        if half is None or last is None:
            axes.text(0, row, " not measured", va="center", size=8, color=QUIET)
            continue
        most = max(most, half.high, last.median)
        found.append((row, half, last, palette.colour(name)))
    axes.set_xlim(0, most * 1.3 or 1)
    for row, half, last, colour in found:
        draw_times(axes, row, half, last, colour)
    axes.xaxis.set_major_locator(MaxNLocator(4))
    in_times(axes.xaxis)


def draw_times(axes: Axes, row: int, half: Figure, last: Figure, colour: str) -> None:
    """Draw the median node as a bar with its time in it, and the last node behind it."""
    told = f"{in_time(last.median)}{last.mark}"
    if half.median > 0.2 * axes.get_xlim()[1]:
        axes.annotate(in_time(half.median), (0, row), (5, -0.5), **BEHIND, color="white", zorder=5)
    else:
        told = f"{told} (half: {in_time(half.median)})"
    bar_row(axes, row, half, colour, told, max(half.high, last.median))
    axes.plot(last.median, row, "D", ms=4.5, mfc="white", mec=INK, mew=0.9, zorder=4)


def image_cell(results: Results, image: str, name: str) -> str:
    half = results.figure(HALF, what="images", image=image, contender=name)
    last = results.figure(LAST, what="images", image=image, contender=name)
    return f"{half.time()}\n{last.time()}" if half and last else NOTHING


def time_by_nodes(results: Results, palette: Palette) -> Picture:
    names = [name for name in results.names if results.figure(LAST, what="nodes", contender=name)]
    if not names:
        return Picture.missing("nodes", NODES_HEADING, "No herd was measured.")
    title = nodes_title(results, results.usual_nodes(what="nodes"))
    about = (
        f"{results.herd_note()}, all nodes at once. Line: until the last node has it, median of"
        f" the rounds; band: least to greatest. {results.bound_note(what='nodes')}"
    )
    picture = canvas(title, about, 4.2)
    axes = picture.subplots()
    axes.set_yscale("log")
    draw_by_nodes(axes, results, LAST, names, palette)
    axes.set_ylabel("until the last node has the image")
    in_times(axes.yaxis)
    log_steps(axes.yaxis)
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
