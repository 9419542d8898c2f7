"""The figure across runs: how far each strategy stands from `raie`, a mark a run."""

from collections.abc import Sequence
from typing import NamedTuple

from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pipeline.evaluation.report.figure import INK, SERIES, TEXT_SIZE, WIDTH, axes, draw
from pipeline.evaluation.report.labels import EM
from pipeline.evaluation.summary import STREAM

MARKS = ("o", "s", "^", "D", "v", "P")
"""The mark of each run; colours and marks repeat together after six."""

ROW = 21
"""Height of a strategy's row, in CSS pixels."""


class Relative(NamedTuple):
    """A strategy in a run: by which share its Recall@10 on a slice differs from that of `raie`."""

    strategy: str
    run: int
    panel: str
    share: float


def relative_figure(
    name: str, alt: str, marks: Sequence[Relative], strategies: Sequence[str], runs: Sequence[str]
) -> Markup:
    """Draw shares on the stream and on S_new side by side, a row a strategy.

    Args:
        name: of the figure.
        alt: what it shows.
        marks: in any order.
        strategies: rows, from the top.
        runs: names; the number of a mark's run is its place here.
    """
    key = 20 * (1 + (len(runs) - 1) // 3)
    height = key + ROW * len(strategies) + 90

    def paint(figure: Figure) -> None:
        labels = min(20 + max(map(len, strategies)) * TEXT_SIZE * EM, WIDTH / 3)
        half = (WIDTH - labels) / 2
        for place, panel in enumerate((STREAM, "S_new")):
            left = labels + place * half
            plane = axes(figure, left=left, right=WIDTH - left - half + 20, top=key + 26, bottom=46)
            _panel(plane, [mark for mark in marks if mark.panel == panel], strategies, named=place == 0)
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
    """Name the runs above the panels, three in a line."""
    for number, run in enumerate(runs):
        x, y = 12 + (number % 3) * WIDTH / 3, height - 10 - 20 * (number // 3)
        spot = figure.add_axes((x / WIDTH, y / height, 1e-3, 1e-3))
        spot.set_axis_off()
        colour, sign = SERIES[number % len(SERIES)], MARKS[number % len(MARKS)]
        spot.plot(0, 0, sign, color=colour, markersize=6, clip_on=False)
        figure.text((x + 12) / WIDTH, y / height, run, va="center")
