"""The pictures of the report, in its order. Each says in its title what is seen."""

from __future__ import annotations

from matplotlib import rc_context

from loadtests.compare.drawing import STYLE, Palette, Picture, png
from loadtests.compare.figures import Results
from loadtests.compare.pictures_load import pulls_while_pushing, request_times
from loadtests.compare.pictures_nodes import cpu_by_nodes, time_by_nodes
from loadtests.compare.pictures_panels import time_by_image, time_by_shape
from loadtests.compare.pictures_server import sent_by_azure, usage_over_time

ALL = (
    time_by_image,
    time_by_nodes,
    time_by_shape,
    usage_over_time,
    cpu_by_nodes,
    sent_by_azure,
    request_times,
    pulls_while_pushing,
)


def make(results: Results) -> list[Picture]:
    palette = Palette(results.names)
    with rc_context(STYLE):
        return [each(results, palette) for each in ALL]


def draw(picture: Picture) -> bytes | None:
    """Return the PNG, or None where there is nothing to draw."""
    with rc_context(STYLE):  # some of it is looked up only now
        return png(picture.canvas) if picture.canvas else None
