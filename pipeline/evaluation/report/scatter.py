"""Scatter plots of strategies: retention against adaptation, cost against quality."""

from collections.abc import Collection, Sequence
from typing import Any, NamedTuple

import numpy as np
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pipeline.evaluation.report.figure import MUTED, OURS, SERIES, TEXT_SIZE, axes, draw
from pipeline.evaluation.report.labels import Box, place
from pipeline.evaluation.summary import OURS as RAIE

WIDE = 20.0
"""Ratio of largest to smallest cost above which the axis is logarithmic."""


class Point(NamedTuple):
    """Strategy in a scatter plot: position, and the ends of its 95% intervals (None: no whisker)."""

    name: str
    x: float
    y: float
    x_ends: tuple[float, float] | None
    y_ends: tuple[float, float] | None


def scatter(name: str, alt: str, points: Sequence[Point], x_label: str, y_label: str, named: Collection[str]) -> Markup:
    """Draw strategies as points, with label and whiskers for the named ones.

    Args:
        name: of the figure.
        alt: text alternative.
        points: of all strategies.
        x_label: of the x axis; a range beyond `WIDE` is drawn on a logarithmic scale that includes zero.
        y_label: of the y axis.
        named: strategies with a label.
    """
    positive = [point.x for point in points if point.x > 0]

    def paint(figure: Figure) -> None:
        plane = axes(figure, left=62, right=20, top=14, bottom=46)
        plane.set(xlabel=x_label, ylabel=y_label)
        if positive and max(positive) > WIDE * min(positive):
            plane.set_xscale("symlog", linthresh=min(positive))
        plane.margins(0.12)
        for point in points:
            if point.name in named:
                _whiskers(plane, point)
            else:
                plane.plot(point.x, point.y, "o", color=MUTED, markersize=5, alpha=0.6, zorder=2)
        _label(plane, [point for point in points if point.name in named])

    return draw(name, alt, 440, paint)


def _whiskers(plane: Axes, point: Point) -> None:
    colour = OURS if point.name == RAIE else SERIES[0]
    style: dict[str, Any] = {"color": colour, "linewidth": 1.2, "alpha": 0.55, "zorder": 2}
    if point.x_ends:
        plane.hlines(point.y, *point.x_ends, **style)
    if point.y_ends:
        plane.vlines(point.x, *point.y_ends, **style)
    plane.plot(point.x, point.y, "o", color=colour, markersize=9 if point.name == RAIE else 7, zorder=3)


def _label(plane: Axes, points: Sequence[Point]) -> None:
    """Label the points, `raie` first, so that it gets the best position."""
    plane.autoscale_view()
    ordered = sorted(points, key=lambda point: (point.name != RAIE, point.x))
    pixels = [tuple(map(float, plane.transData.transform((point.x, point.y)))) for point in ordered]
    bounds = Box(*plane.bbox.extents)
    boxes = place([(x, y) for x, y in pixels], [point.name for point in ordered], TEXT_SIZE, bounds)
    for point, box, (x, y) in zip(ordered, boxes, pixels, strict=True):
        align = "left" if box.left >= x else "right" if box.right <= x else "center"
        anchor = {"left": box.left, "right": box.right, "center": (box.left + box.right) / 2}[align]
        middle = (box.bottom + box.top) / 2
        if np.hypot(anchor - x, middle - y) > 24:
            ends = plane.transData.inverted().transform([(x, y), (anchor, middle)])
            plane.plot(*ends.T, color=MUTED, linewidth=0.7, zorder=1, scalex=False, scaley=False)
        weight = "bold" if point.name == RAIE else "normal"
        plane.text(anchor, middle, point.name, transform=None, ha=align, va="center_baseline", weight=weight, zorder=4)
