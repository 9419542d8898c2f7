"""Figures of quality: retention against adaptation, cost against quality, the stream, comparisons."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pipeline.evaluation.report.figure import (
    INK,
    MUTED,
    OURS,
    PAPER,
    SERIES,
    SINCE,
    TEXT_SIZE,
    WIDTH,
    axes,
    draw,
)
from pipeline.evaluation.report.labels import EM, Box, place, spread
from pipeline.evaluation.report.words import signed
from pipeline.evaluation.summary import OURS as RAIE
from pipeline.metrics.ranking import Floats

MARKERS = {"update": "o", "expand": "s", "add": "^", "merge": "D", "retire": "X"}
"""The mark of each kind of edit, the same in every figure."""

WIDE = 20.0
"""Largest over smallest cost beyond which a linear axis would press the others against its end."""

_LINES = ("-",) * len(SERIES) + ("--",) * len(SERIES)
_POINTS_A_LINE = 400


class Point(NamedTuple):
    """A strategy in a plane: a position, and the ends of its 95% intervals (None: no whisker)."""

    name: str
    x: float
    y: float
    x_ends: tuple[float, float] | None
    y_ends: tuple[float, float] | None


class Line(NamedTuple):
    """A strategy over the stream.

    Attributes:
        name: of the strategy.
        at: (m,) positions in the stream, in events.
        value: (m,) rolling Recall@10 up to there.
    """

    name: str
    at: Floats
    value: Floats


def scatter(name: str, alt: str, points: Sequence[Point], x_label: str, y_label: str, named: Collection[str]) -> Markup:
    """Draw strategies as points, those to be named with label and whiskers.

    Args:
        name: of the figure.
        alt: what it shows.
        points: of all strategies.
        x_label: what x is; an x that spans more than `WIDE` is drawn on a logarithmic scale, zero included.
        y_label: what y is.
        named: strategies to be named.
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


def rolling(hits: Floats, at: Floats, width: int) -> tuple[Floats, Floats]:
    """Average over the last `width` interactions, thinned to what a figure can show.

    Args:
        hits: (n,) values in stream order.
        at: (n,) their positions in the stream.
        width: interactions averaged over, at most n.

    Returns:
        (m,) positions and (m,) means; the first stands where the first full window ends.
    """
    total = np.concatenate([np.zeros(1), np.cumsum(hits)])
    means = (total[width:] - total[:-width]) / width
    keep = np.unique(np.linspace(0, len(means) - 1, min(len(means), _POINTS_A_LINE)).astype(int))
    return at[width - 1 :][keep], means[keep]


def stream(
    name: str, alt: str, lines: Sequence[Line], boundary: int, length: int, edits: Sequence[Mapping[str, Any]]
) -> Markup:
    """Draw the rolling hit rate of every strategy, where T begins, and when `raie` was edited.

    Args:
        name: of the figure.
        alt: what it shows.
        lines: best strategy first; colours follow that order.
        boundary: position at which T begins, in events.
        length: of the stream, in events.
        edits: published edits, with `operation` and `at_event`.
    """
    kinds = [kind for kind in MARKERS if any(edit["operation"] == kind for edit in edits)]

    def paint(figure: Figure) -> None:
        strip = 16 * len(kinds)
        right = 26 + max(len(line.name) for line in lines) * TEXT_SIZE * EM
        right = min(right, WIDTH / 3)
        plane = axes(figure, left=62, right=right, top=strip + 20, bottom=46)
        plane.set(xlabel="stream events seen", ylabel="rolling Recall@10")
        plane.set_ylim(bottom=0, top=1.05 * max(float(line.value.max()) for line in lines) or 1.0)
        paint_lines(plane, lines, named=True)
        plane.set_xlim(0, length)
        _mark_boundary(plane, boundary)
        _edit_strip(plane, kinds, edits)

    return draw(name, alt, 400 + 16 * len(kinds), paint)


def forest(name: str, alt: str, groups: Sequence[tuple[str, Sequence[Mapping[str, Any]]]]) -> Markup:
    """Draw differences with their intervals, a group a slice, zero marked.

    Args:
        name: of the figure.
        alt: what it shows.
        groups: title of the slice and its comparisons, as in `metrics.json`.
    """
    rows = sum(len(comparisons) + 1.4 for _, comparisons in groups)
    longest = max(len(str(row["b"])) for _, comparisons in groups for row in comparisons)

    def paint(figure: Figure) -> None:
        left = min(20 + longest * TEXT_SIZE * EM, WIDTH / 3)
        plane = axes(figure, left=left, right=184, top=10, bottom=46)
        plane.set(xlabel="difference in Recall@10: raie minus the other", yticks=[], ylim=(rows, -0.2))
        plane.spines["left"].set_visible(False)
        plane.axvline(0, color=INK, linewidth=1)
        y = 0.6
        for title, comparisons in groups:
            plane.text(
                -8 / WIDTH, y, title, transform=plane.get_yaxis_transform(), ha="right", va="center", weight="bold"
            )
            for number, row in enumerate(comparisons, start=1):
                _forest_row(plane, y + number, row)
            y += len(comparisons) + 1.4

    return draw(name, alt, 60 + 19 * rows, paint)


def _colour(name: str, number: int) -> str:
    return OURS if name == RAIE else SERIES[number % len(SERIES)]


def _whiskers(plane: Axes, point: Point) -> None:
    colour = OURS if point.name == RAIE else SERIES[0]
    style: dict[str, Any] = {"color": colour, "linewidth": 1.2, "alpha": 0.55, "zorder": 2}
    if point.x_ends:
        plane.hlines(point.y, *point.x_ends, **style)
    if point.y_ends:
        plane.vlines(point.x, *point.y_ends, **style)
    plane.plot(point.x, point.y, "o", color=colour, markersize=9 if point.name == RAIE else 7, zorder=3)


def _label(plane: Axes, points: Sequence[Point]) -> None:
    """Label the points, `raie` first so that it gets the best place."""
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


def paint_lines(plane: Axes, lines: Sequence[Line], *, named: bool) -> None:
    """Paint a line for each strategy, `raie` in front, and their names at the right where these are wanted."""
    for number, line in enumerate(lines):
        ours = line.name == RAIE
        style: dict[str, Any] = {
            "linewidth": 2.4 if ours else 1.3,
            "zorder": 4 if ours else 3,
            "linestyle": _LINES[number % len(_LINES)],
        }
        plane.plot(line.at, line.value, color=_colour(line.name, number), **style)
    if named:
        _name_lines(plane, lines)


def _name_lines(plane: Axes, lines: Sequence[Line]) -> None:
    low, high = plane.get_ylim()
    pixel = (high - low) / plane.bbox.height
    heights = spread([float(line.value[-1]) for line in lines], 16 * pixel, low, high)
    for number, (line, height) in enumerate(zip(lines, heights, strict=True)):
        colour = _colour(line.name, number)
        weight = "bold" if line.name == RAIE else "normal"
        plane.text(
            1.012, height, line.name, transform=plane.get_yaxis_transform(), va="center", color=colour, weight=weight
        )
    plane.set_ylim(low, high)


def _mark_boundary(plane: Axes, boundary: int) -> None:
    plane.axvline(boundary, color=MUTED, linewidth=1, linestyle=(0, (4, 3)))
    for text, align, shift in (("F", "right", -6), ("T", "left", 6)):
        plane.annotate(
            text, (boundary, 0), (shift, 6), textcoords="offset points", ha=align, color=MUTED, annotation_clip=False
        )


def _edit_strip(plane: Axes, kinds: Sequence[str], edits: Sequence[Mapping[str, Any]]) -> None:
    """Mark edits above the axes, a row a kind, so that they cover no line."""
    step = 16 / plane.bbox.height
    for number, kind in enumerate(reversed(kinds)):
        at = [edit["at_event"] for edit in edits if edit["operation"] == kind]
        height = 1 + step * (number + 0.7)
        plane.plot(
            at,
            [height] * len(at),
            MARKERS[kind],
            transform=plane.get_xaxis_transform(),
            clip_on=False,
            color=SINCE,
            markersize=5.5,
            markeredgecolor=PAPER,
            markeredgewidth=0.5,
            scalex=False,
        )
        plane.text(-8 / WIDTH, height, kind, transform=plane.transAxes, ha="right", va="center", color=MUTED, size=11)


def _forest_row(plane: Axes, y: float, row: Mapping[str, Any]) -> None:
    # An interval that leaves zero out speaks; one that does not is drawn quietly.
    low, high = row.get("simultaneous_low", row["low"]), row.get("simultaneous_high", row["high"])
    clear = low > 0 or high < 0
    colour = OURS if clear else MUTED
    plane.hlines(y, low, high, color=colour, linewidth=0.8)
    plane.hlines(y, row["low"], row["high"], color=colour, linewidth=2.4)
    plane.plot(row["difference"], y, "o", color=colour, markersize=6)
    side = plane.get_yaxis_transform()
    plane.text(-8 / WIDTH, y, str(row["b"]), transform=side, ha="right", va="center")
    figures = f"{signed(row['difference'])} [{signed(row['low'])}, {signed(row['high'])}]"
    plane.text(1.015, y, figures, transform=side, ha="left", va="center", size=10.5, color=MUTED)
