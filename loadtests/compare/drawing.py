"""How every picture looks: colours, letters, direct labels, and its PNG."""

from __future__ import annotations

import io
import itertools
import math
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure as Canvas
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.patheffects import withStroke
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator
from PIL import Image

from loadtests.compare.figures import Figure

DOTS_PER_INCH = (200, 150)
WIDTH_INCHES = 8.4
COLOURS_KEPT = (128, 64, 40)
MOST_BYTES = 80 * 1024
INK = "#1a1f26"
QUIET = "#5b6470"
RULE = "#dde1e6"
STYLE: dict[Any, Any] = {
    "font.family": "DejaVu Sans",  # comes with matplotlib; its digits are all of one width
    "font.size": 9,
    "text.color": INK,
    "text.parse_math": False,
    "axes.edgecolor": "#aab1ba",
    "axes.labelcolor": QUIET,
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": RULE,
    "grid.linewidth": 0.7,
    "xtick.color": QUIET,
    "ytick.color": QUIET,
    "xtick.major.size": 0,
    "ytick.major.size": 0,
    "xtick.minor.size": 0,
    "ytick.minor.size": 0,
}
# Blues and teal are fastreg's, warm colours the reference registry's: apart for the colour-blind
# too, and each has at least 3:1 against white.
COLOURS = {
    "fastreg": "#0058a8",
    "fastreg, Azure cold": "#0d8f9c",
    "fastreg, Azure warm": "#4b94dd",
    "docker-registry": "#cf5a00",
    "docker-registry, Azure": "#a88200",
    "nginx": "#7b838e",
}
OTHERS = ("#9a48b5", "#3f7d20", "#b0305c", "#4a4a4a")
MARKS = {"fastreg": "o", "fastreg, Azure cold": "D", "fastreg, Azure warm": "s", "nginx": "P"}
NAME_CHARACTERS = 26
HALO = [withStroke(linewidth=2.5, foreground="white")]
BEHIND: dict[str, Any] = {"textcoords": "offset points", "va": "center"}


@dataclass(frozen=True)
class Table:
    header: Sequence[str]
    rows: Sequence[Sequence[str]]


@dataclass(frozen=True)
class Picture:
    name: str
    """Of the file, without its ending."""
    heading: str
    title: str
    """What is seen."""
    about: str
    """How to read it."""
    table: Table | None
    notes: Sequence[str]
    """What is missing, and why."""
    canvas: Canvas | None

    @classmethod
    def missing(cls, name: str, heading: str, why: str) -> Picture:
        return cls(name, heading, heading, "", None, [why], None)


class Palette:
    """Gives a contender the same colour and mark in every picture."""

    def __init__(self, names: Sequence[str]) -> None:
        others = [name for name in names if name not in COLOURS]
        spare = {name: OTHERS[index % len(OTHERS)] for index, name in enumerate(others)}
        self.colours = COLOURS | spare

    def colour(self, name: str) -> str:
        return self.colours[name]

    def mark(self, name: str) -> str:
        return MARKS.get(name, "^" if name in COLOURS else "X")


def short(name: str) -> str:
    """Return a name that fits beside a picture: of a URL the host, its end cut."""
    bare = name.split("://")[-1].rstrip("/")
    return bare if len(bare) <= NAME_CHARACTERS else bare[: NAME_CHARACTERS - 1] + "…"


def canvas(title: str, about: str, height: float) -> Canvas:
    """Return an empty picture with its heading; `height`, in inches, is that of the rest."""
    headline = textwrap.wrap(title, 72)
    lines = textwrap.wrap(about, 122)
    top = 0.16 + 0.25 * len(headline) + 0.17 * len(lines) + 0.08
    whole = height + top
    rest = (0.008, 0.012, 0.984, height / whole - 0.012)
    layout = ConstrainedLayoutEngine(rect=rest, h_pad=0.06, w_pad=0.09)
    picture = Canvas((WIDTH_INCHES, whole), layout=layout)
    left = 0.12 / WIDTH_INCHES
    first = 1 - 0.14 / whole
    picture.text(left, first, "\n".join(headline), size=13, weight="bold", va="top")
    below = first - 0.25 * len(headline) / whole
    picture.text(left, below, "\n".join(lines), size=9, color=QUIET, va="top", linespacing=1.3)
    return picture


def png(picture: Canvas) -> bytes:
    """Return the picture with as many dots and colours as 80 KiB allow."""
    for dots in DOTS_PER_INCH:
        picture.set_dpi(dots)
        agg = FigureCanvasAgg(picture)
        agg.draw()
        pixels = Image.frombuffer("RGBA", agg.get_width_height(), agg.buffer_rgba()).convert("RGB")
        for colours in COLOURS_KEPT:
            content = encoded(pixels, colours)
            if len(content) <= MOST_BYTES:
                return content
    return content


def encoded(pixels: Image.Image, colours: int) -> bytes:
    content = io.BytesIO()
    few = pixels.quantize(colours, dither=Image.Dither.NONE)
    few.save(content, format="PNG", optimize=True)
    return content.getvalue()


def rows_of_bars(axes: Axes, count: int) -> None:
    """Prepare for horizontal bars, the first one on top."""
    axes.set_ylim(count - 0.4, -0.6)
    axes.set_yticks([])
    axes.grid(axis="y", visible=False)
    axes.spines["left"].set_visible(False)


def bar_row(axes: Axes, row: float, figure: Figure, colour: str, label: str, end: float) -> None:
    """Draw a figure as a bar with its spread, and write what it is behind its end."""
    axes.barh(row, figure.median, height=0.66, color=colour, zorder=2)
    if figure.low < figure.high:
        axes.plot([figure.low, figure.high], [row, row], color=INK, lw=1.4, zorder=3)
    axes.annotate(label, (end, row), (7, -0.5), path_effects=HALO, **BEHIND)


def name_rows(axes: Axes, names: Sequence[str], palette: Palette) -> None:
    axes.set_yticks(range(len(names)), [short(name) for name in names], size=9)
    for label, name in zip(axes.get_yticklabels(), names, strict=True):
        label.set_color(palette.colour(name))
        label.set_fontweight("bold" if name == "fastreg" else "normal")


def in_times(axis: Axis) -> None:
    """Label an axis of seconds."""
    axis.set_major_formatter(FuncFormatter(lambda value, _: tick(value)))


def tick(seconds: float) -> str:
    if not seconds:
        return "0"
    return f"{seconds:.3g} s" if seconds > 0.9995 else f"{seconds * 1000:.3g} ms"


def log_steps(axis: Axis, most: int) -> None:
    """Label 1, 2 and 5 of each power of ten, or fewer, so that there are not too many labels."""
    low, high = axis.get_view_interval()
    decades = math.log10(high / low)
    fitting = (steps for steps in ((1, 2, 5), (1, 3)) if decades * len(steps) <= most)
    axis.set_major_locator(LogLocator(subs=next(fitting, (1,))))
    axis.set_minor_locator(NullLocator())


def lighter(colour: str) -> tuple[float, float, float]:
    red, green, blue = to_rgb(colour)
    return 0.5 + red / 2, 0.5 + green / 2, 0.5 + blue / 2


def name_lines(axes: Axes, ends: Sequence[tuple[str, float, float]], palette: Palette) -> None:
    """Write each line's name behind its end (name, x, y), none over another."""
    most = max(x for _, x, _ in ends)
    to_axes = axes.transData + axes.transAxes.inverted()
    points = [to_axes.transform((x, y)) for _, x, y in ends]
    is_whole = [x == most for _, x, _ in ends]
    heights = iter(spread_out([y for (_, y), it in zip(points, is_whole, strict=True) if it], 0.06))
    for (name, _, _), (x, y), is_right in zip(ends, points, is_whole, strict=True):
        place = (1.035, next(heights)) if is_right else (x + 0.02, y)
        line = {"arrowstyle": "-", "color": palette.colour(name), "lw": 0.6, "relpos": (0, 0.5)}
        axes.annotate(
            short(name),
            (x, y),
            place,
            xycoords="axes fraction",
            textcoords="axes fraction",
            color=palette.colour(name),
            weight="bold" if name == "fastreg" else "normal",
            va="center",
            path_effects=HALO,
            arrowprops=line if is_right else None,
        )


def spread_out(heights: Sequence[float], gap: float) -> list[float]:
    """Return heights in the same order, each as near as may be, but none nearer than the gap."""
    order = sorted(range(len(heights)), key=heights.__getitem__)
    placed = list(heights)
    for _ in range(100):
        for low, high in itertools.pairwise(order):
            lacking = gap - (placed[high] - placed[low])
            if lacking > 1e-6:
                placed[low] -= lacking / 2
                placed[high] += lacking / 2
    return placed
