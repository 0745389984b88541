"""How long requests take in a herd, and what pushes do to pulls."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes

from loadtests.bench.ratios import number
from loadtests.compare.drawing import (
    BEHIND,
    HALO,
    INK,
    Palette,
    Picture,
    Table,
    canvas,
    in_times,
    lighter,
    log_steps,
    name_rows,
    rows_of_bars,
)
from loadtests.compare.figures import (
    NOTHING,
    OURS,
    THEIRS,
    Figure,
    Results,
    Run,
    in_time,
    phase_p99,
    request_ms,
)

KINDS = ("manifest", "blob")
PERCENTILES = ("p50", "p95", "p99", "max")
LATENCY_HEADING = "How long requests take"
MIXED_HEADING = "Pulls while others push"
QUIET_P99 = phase_p99("quiet")
PUSHING_P99 = phase_p99("pushing")
Pair = tuple[Figure, Figure]


def request_times(results: Results, palette: Palette) -> Picture:
    nodes = results.usual_nodes(what="nodes")
    where = {"what": "nodes", "nodes": nodes}
    measures = [request_ms(kind, "p99") for kind in KINDS]
    names = [
        name
        for name in results.names
        if any(results.figure(measure, contender=name, **where) for measure in measures)
    ]
    if not names:
        return Picture.missing("latency", LATENCY_HEADING, "No requests were counted.")
    title = latency_title(results, where)
    about = (
        f"{results.herd_note()}, {nodes} nodes at once, a whole blob counts as one request. Thick:"
        f" from half of the requests to 95 %; tick and figure: 99 %; thin: to the slowest."
    )
    picture = canvas(title, about, 0.75 + 0.42 * len(names))
    for kind, axes in zip(KINDS, picture.subplots(1, 2), strict=True):
        draw_requests(axes, results, kind, where, names, palette)
        if kind == KINDS[0]:
            name_rows(axes, names, palette)
    rows = [
        [name, *(request_cell(results, name, which, where) for which in PERCENTILES)]
        for name in names
    ]
    table = Table([" / ".join(KINDS), *PERCENTILES], rows)
    absent = results.absent(names)
    return Picture("latency", LATENCY_HEADING, title, about, table, absent, picture)


def latency_title(results: Results, where: Mapping[str, object]) -> str:
    said = []
    for kind in KINDS:
        ours = results.figure(request_ms(kind, "p99"), contender=OURS, **where)
        ratio = results.ratio(request_ms(kind, "p99"), OURS, THEIRS, **where)
        if ours and ratio:
            took = in_time(ours.median / 1000)
            said.append(f"{kind}s within {took}, {number(ratio.median)} × {THEIRS}'s")
    return f"99 % of {'; of '.join(said)}" if said else LATENCY_HEADING


def draw_requests(
    axes: Axes,
    results: Results,
    kind: str,
    where: Mapping[str, object],
    names: Sequence[str],
    palette: Palette,
) -> None:
    rows_of_bars(axes, len(names))
    axes.set_xscale("log")
    axes.set_title(f"GET {kind}", size=10, loc="left", color=INK)
    for row, name in enumerate(names):
        found = [
            figure.median / 1000
            for which in PERCENTILES
            if (figure := results.figure(request_ms(kind, which), contender=name, **where))
        ]
        if len(found) == len(PERCENTILES):
            draw_percentiles(axes, row, found, palette.colour(name))
    axes.margins(x=0.12)
    in_times(axes.xaxis)
    log_steps(axes.xaxis, 4)


def draw_percentiles(axes: Axes, row: int, found: Sequence[float], colour: str) -> None:
    p50, p95, p99, most = found
    axes.plot([p50, p95], [row, row], color=colour, lw=8, solid_capstyle="butt")
    axes.plot([p95, most], [row, row], color=colour, lw=1.5)
    axes.plot(p99, row, "|", color=INK, ms=11, mew=1.6)
    axes.annotate(in_time(p99), (p99, row), (0, 8), textcoords="offset points", ha="center", size=8)


def request_cell(results: Results, name: str, percentile: str, where: Mapping[str, object]) -> str:
    figures = [
        results.figure(request_ms(kind, percentile), contender=name, **where) for kind in KINDS
    ]
    return "\n".join(figure.time(0.001) if figure else NOTHING for figure in figures)


def pulls_while_pushing(results: Results, palette: Palette) -> Picture:
    pairs = {name: pair for name in results.names if (pair := with_and_without(results, name))}
    if not pairs:
        return Picture.missing("mixed", MIXED_HEADING, "No pulls were measured beside pushes.")
    ratios = {
        name: ratio
        for name in pairs
        if (ratio := results.figure(growth, what="mixed", contender=name))
    }
    title = mixed_title(ratios)
    about = (
        "Until 99 % of the pulls are complete, without pushes and with them; whisker: least to"
        f" greatest of the rounds. {results.bound_note(what='mixed')}"
    )
    picture = canvas(title, about, 0.55 + 0.7 * len(pairs))
    axes = picture.subplots()
    rows_of_bars(axes, len(pairs))
    name_rows(axes, list(pairs), palette)
    for row, (name, pair) in enumerate(pairs.items()):
        draw_pair(axes, row, pair, palette.colour(name))
    axes.set_xlim(0, 1.3 * max(figure.high for pair in pairs.values() for figure in pair))
    axes.set_xlabel("99 % of the pulls are complete")
    in_times(axes.xaxis)
    rows = [
        [name, alone.time(), pushed.time(), ratios[name].text("×")]
        for name, (alone, pushed) in pairs.items()
    ]
    table = Table(["", "p99 without pushes", "p99 with pushes", "with / without"], rows)
    absent = results.absent(list(pairs))
    return Picture("mixed", MIXED_HEADING, title, about, table, absent, picture)


def with_and_without(results: Results, name: str) -> Pair | None:
    """Return the pulls' p99 without pushes and with them."""
    alone = results.figure(QUIET_P99, what="mixed", contender=name)
    pushed = results.figure(PUSHING_P99, what="mixed", contender=name)
    return (alone, pushed) if alone and pushed else None


def growth(run: Run) -> float | None:
    """Measure how much longer pulls take with pushes than without, in the same run."""
    alone, pushed = QUIET_P99(run), PUSHING_P99(run)
    return pushed / alone if alone and pushed else None


def mixed_title(ratios: Mapping[str, Figure]) -> str:
    if OURS not in ratios:
        return MIXED_HEADING
    title = f"During pushes, pulls take {number(ratios[OURS].median)} × as long"
    theirs = ratios.get(THEIRS)
    return f"{title} ({THEIRS}: {number(theirs.median)} ×)" if theirs else title


def draw_pair(axes: Axes, row: int, pair: Pair, colour: str) -> None:
    colours, said = (lighter(colour), colour), ("without pushes", "with pushes")
    for figure, shift, shade, told in zip(pair, (-0.2, 0.2), colours, said, strict=True):
        axes.barh(row + shift, figure.median, height=0.36, color=shade, zorder=2)
        if figure.low < figure.high:
            at = [row + shift] * 2
            axes.plot([figure.low, figure.high], at, color=INK, lw=1.4, zorder=3)
        label = f"{in_time(figure.median)}{figure.mark} {told}"
        axes.annotate(label, (figure.high, row + shift), (6, 0), path_effects=HALO, **BEHIND)
