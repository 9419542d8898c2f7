"""Line plots over the stream, with edits marked."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pipeline.evaluation.report.figure import ACCENT, MUTED, OURS, PAPER, SERIES, TEXT_SIZE, WIDTH, axes, draw
from pipeline.evaluation.report.labels import EM, spread
from pipeline.evaluation.summary import OURS as RAIE
from pipeline.metrics.ranking import Floats

MARKERS = {"update": "o", "expand": "s", "add": "^", "merge": "D", "retire": "X", "inject": "."}
"""Marker of each kind of edit, in every figure."""

_LINES = ("-",) * len(SERIES) + ("--",) * len(SERIES)
_POINTS_A_LINE = 400


class Line(NamedTuple):
    """Strategy over the stream.

    Attributes:
        name: of the strategy.
        at: (m,) positions in the stream, in events.
        value: (m,) rolling Recall@10 at these positions.
    """

    name: str
    at: Floats
    value: Floats


def rolling(hits: Floats, at: Floats, width: int) -> tuple[Floats, Floats]:
    """Average over the last `width` interactions, at no more points than a figure can show.

    Args:
        hits: (n,) values in stream order.
        at: (n,) their positions in the stream.
        width: interactions averaged over, at most n.

    Returns:
        (m,) positions and (m,) means; the first is at the end of the first full window.
    """
    total = np.concatenate([np.zeros(1), np.cumsum(hits)])
    means = (total[width:] - total[:-width]) / width
    keep = np.unique(np.linspace(0, len(means) - 1, min(len(means), _POINTS_A_LINE)).astype(int))
    return at[width - 1 :][keep], means[keep]


def stream(
    name: str, alt: str, lines: Sequence[Line], boundary: int, length: int, edits: Sequence[Mapping[str, Any]]
) -> Markup:
    """Draw the rolling hit rate of every strategy, the begin of T, and the edits of `raie`.

    Args:
        name: of the figure.
        alt: text alternative.
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


def paint_lines(plane: Axes, lines: Sequence[Line], *, named: bool) -> None:
    """Draw a line for each strategy, `raie` in front, and their names at the right if `named`."""
    for number, line in enumerate(lines):
        is_raie = line.name == RAIE
        style: dict[str, Any] = {
            "linewidth": 2.4 if is_raie else 1.3,
            "zorder": 4 if is_raie else 3,
            "linestyle": _LINES[number % len(_LINES)],
        }
        plane.plot(line.at, line.value, color=_colour(line.name, number), **style)
    if named:
        _name_lines(plane, lines)


def _colour(name: str, number: int) -> str:
    return OURS if name == RAIE else SERIES[number % len(SERIES)]


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
    """Mark edits above the axes, one row per kind, so that they cover no line."""
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
            color=ACCENT,
            markersize=5.5,
            markeredgecolor=PAPER,
            markeredgewidth=0.5,
            scalex=False,
        )
        plane.text(-8 / WIDTH, height, kind, transform=plane.transAxes, ha="right", va="center", color=MUTED, size=11)
