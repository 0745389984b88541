"""Bars of the time to an image, a panel for each image or for each shape of load."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas
from matplotlib.ticker import MaxNLocator

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
    name_rows,
    rows_of_bars,
)
from loadtests.compare.figures import (
    HALF,
    LAST,
    MB,
    NOTHING,
    OURS,
    THEIRS,
    Figure,
    Results,
    in_time,
)

COLUMNS = 2
IMAGES_HEADING = "Time to image, by image and registry"
SHAPES_HEADING = "Time to image, by shape of the load"
TO_READ = (
    "Bar: half of the nodes have the image; whisker: least to greatest of the rounds; ◇ the last"
    " node. Each panel has its own scale."
)
Panels = Mapping[str, Mapping[str, object]]
"""Their headings, and which runs they show."""


def time_by_image(results: Results, palette: Palette) -> Picture:
    """The smallest image comes first."""
    sizes = {run["image"]: run.get("image_bytes") or 0 for run in results.select(what="images")}
    panels = {
        f"{image}, {number(size / MB)} MB": {"what": "images", "image": image}
        for image, size in sorted(sizes.items(), key=lambda item: float(item[1]))
    }
    names = shown(results, "images")
    if not names:
        return Picture.missing("images", IMAGES_HEADING, "No image was pulled by itself.")
    said = span(results, panels)
    title = f"From {OURS}, an image takes {said}" if said else IMAGES_HEADING
    nodes = results.usual_nodes(what="images")
    about = f"{nodes} nodes begin at once. {TO_READ} {results.bound_note(what='images')}"
    picture = draw_panels(results, palette, names, panels, title, about)
    table = panel_table(results, names, panels)
    return Picture("images", IMAGES_HEADING, title, about, table, results.absent(names), picture)


def time_by_shape(results: Results, palette: Palette) -> Picture:
    panels = {
        str(shape): {"what": "shapes", "shape": shape}
        for shape in results.options("shape", what="shapes")
    }
    names = shown(results, "shapes")
    if not names:
        return Picture.missing("shapes", SHAPES_HEADING, "No shapes were compared.")
    said = span(results, panels)
    title = f"By shape, a pull takes {said}" if said else SHAPES_HEADING
    nodes = results.usual_nodes(what="shapes")
    about = f"{nodes} nodes. {TO_READ} {results.bound_note(what='shapes')}"
    picture = draw_panels(results, palette, names, panels, title, about)
    table = panel_table(results, names, panels)
    return Picture("shapes", SHAPES_HEADING, title, about, table, results.absent(names), picture)


def shown(results: Results, what: str) -> list[str]:
    return [name for name in results.names if results.figure(HALF, what=what, contender=name)]


def span(results: Results, panels: Panels) -> str:
    """Say between what ours lies by theirs; nothing where they were not both measured."""
    taken = [results.ratio(HALF, OURS, THEIRS, **where) for where in panels.values()]
    medians = [ratio.median for ratio in taken if ratio]
    if not medians:
        return ""
    low, high = number(min(medians)), number(max(medians))
    return f"{low if low == high else f'{low} to {high}'} × {THEIRS}'s time"


def draw_panels(
    results: Results,
    palette: Palette,
    names: Sequence[str],
    panels: Panels,
    title: str,
    about: str,
) -> Canvas:
    rows = math.ceil(len(panels) / COLUMNS)
    picture = canvas(title, about, rows * (0.5 + 0.23 * len(names)))
    grid = list(picture.subplots(rows, min(COLUMNS, len(panels)), squeeze=False).flat)
    for index, (heading, where) in enumerate(panels.items()):
        draw_panel(grid[index], results, where, names, palette)
        grid[index].set_title(heading, size=10, loc="left", color=INK)
        if index % COLUMNS == 0:
            name_rows(grid[index], names, palette)
    for axes in grid[len(panels) :]:
        axes.set_visible(False)
    return picture


def draw_panel(
    axes: Axes,
    results: Results,
    where: Mapping[str, object],
    names: Sequence[str],
    palette: Palette,
) -> None:
    rows_of_bars(axes, len(names))
    most, found = 0.0, []
    for row, name in enumerate(names):
        half = results.figure(HALF, contender=name, **where)
        last = results.figure(LAST, contender=name, **where)
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


def panel_table(results: Results, names: Sequence[str], panels: Panels) -> Table:
    rows = [
        [heading, *(panel_cell(results, where, name) for name in names)]
        for heading, where in panels.items()
    ]
    return Table(["median node / last", *names], rows)


def panel_cell(results: Results, where: Mapping[str, object], name: str) -> str:
    half = results.figure(HALF, contender=name, **where)
    last = results.figure(LAST, contender=name, **where)
    return f"{half.time()}\n{last.time()}" if half and last else NOTHING
