"""Figure across runs: difference of each strategy from `raie`, one mark per run."""

from collections.abc import Sequence
from typing import NamedTuple

from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pipeline.evaluation.report.figure import INK, SERIES, TEXT_SIZE, WIDTH, axes, draw
from pipeline.evaluation.report.labels import EM
from pipeline.evaluation.summary import STREAM

MARKS = ("o", "s", "^", "D", "v", "P")
"""Marker of each run; colours and markers repeat after six runs."""

ROW = 21
"""Height of the row of a strategy, in CSS pixels."""


class Relative(NamedTuple):
    """Relative difference of a strategy's Recall@10 on a slice from that of `raie`, in one run."""

    strategy: str
    run: int
    panel: str
    share: float


def relative_figure(
    name: str, alt: str, marks: Sequence[Relative], strategies: Sequence[str], runs: Sequence[str]
) -> Markup:
    """Draw relative differences on the stream and on S_new side by side, one row per strategy.

    Args:
        name: of the figure.
        alt: text alternative.
        marks: in any order.
        strategies: rows, from the top.
        runs: names; `Relative.run` is an index into them.
    """
    key = 20 * (1 + (len(runs) - 1) // 3)
    height = key + ROW * len(strategies) + 90

    def paint(figure: Figure) -> None:
        labels = min(20 + max(map(len, strategies)) * TEXT_SIZE * EM, WIDTH / 3)
        half = (WIDTH - labels) / 2
        for column, panel in enumerate((STREAM, "S_new")):
            left = labels + column * half
            plane = axes(figure, left=left, right=WIDTH - left - half + 20, top=key + 26, bottom=46)
            _panel(plane, [mark for mark in marks if mark.panel == panel], strategies, named=column == 0)
            plane.set_title(f"Recall@10 on {panel}", size=TEXT_SIZE, loc="left")
        _key(figure, runs, height)

    return draw(name, alt, height, paint)


def _panel(plane: Axes, marks: Sequence[Relative], strategies: Sequence[str], *, named: bool) -> None:
    for mark in marks:
        colour, sign = SERIES[mark.run % len(SERIES)], MARKS[mark.run % len(MARKS)]
        plane.plot(100.0 * mark.share, strategies.index(mark.strategy), sign, color=colour, markersize=6, alpha=0.85)
    plane.axvline(0.0, color=INK, linewidth=1)
    plane.set(xlabel="% above or below raie", ylim=(len(strategies) - 0.4, -0.6), yticks=range(len(strategies)))
    plane.set_yticklabels(strategies if named else [])


def _key(figure: Figure, runs: Sequence[str], height: float) -> None:
    """Legend of the runs above the panels, three per line."""
    for number, run in enumerate(runs):
        x, y = 12 + (number % 3) * WIDTH / 3, height - 10 - 20 * (number // 3)
        spot = figure.add_axes((x / WIDTH, y / height, 1e-3, 1e-3))
        spot.set_axis_off()
        colour, sign = SERIES[number % len(SERIES)], MARKS[number % len(MARKS)]
        spot.plot(0, 0, sign, color=colour, markersize=6, clip_on=False)
        figure.text((x + 12) / WIDTH, y / height, run, va="center")
