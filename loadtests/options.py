"""Options that several commands have."""

from __future__ import annotations

import math
from typing import Any

import click


class _Scale(click.FloatRange):
    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        scale = float(super().convert(value, param, ctx))
        if math.isnan(scale):  # which is in every range
            self.fail(f"{value!r} is no size.", param, ctx)
        return scale


SCALE = _Scale(0, 100, min_open=True)
"""By what the sizes of layers are multiplied."""
