"""Forest plot: differences between `raie` and the other strategies, with intervals."""

from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pipeline.evaluation.report.figure import INK, MUTED, OURS, TEXT_SIZE, WIDTH, axes, draw
from pipeline.evaluation.report.labels import EM
from pipeline.evaluation.report.words import signed


def forest(name: str, alt: str, groups: Sequence[tuple[str, Sequence[Mapping[str, Any]]]]) -> Markup:
    """Draw differences with their intervals, one group per slice, with zero marked.

    Args:
        name: of the figure.
        alt: text alternative.
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
            side = plane.get_yaxis_transform()
            plane.text(-8 / WIDTH, y, title, transform=side, ha="right", va="center", weight="bold")
            for number, row in enumerate(comparisons, start=1):
                _forest_row(plane, y + number, row)
            y += len(comparisons) + 1.4

    return draw(name, alt, 60 + 19 * rows, paint)


def _forest_row(plane: Axes, y: float, row: Mapping[str, Any]) -> None:
    # Intervals that exclude zero are highlighted.
    low, high = row.get("simultaneous_low", row["low"]), row.get("simultaneous_high", row["high"])
    colour = OURS if low > 0 or high < 0 else MUTED
    plane.hlines(y, low, high, color=colour, linewidth=0.8)
    plane.hlines(y, row["low"], row["high"], color=colour, linewidth=2.4)
    plane.plot(row["difference"], y, "o", color=colour, markersize=6)
    side = plane.get_yaxis_transform()
    plane.text(-8 / WIDTH, y, str(row["b"]), transform=side, ha="right", va="center")
    figures = f"{signed(row['difference'])} [{signed(row['low'])}, {signed(row['high'])}]"
    plane.text(1.015, y, figures, transform=side, ha="left", va="center", size=10.5, color=MUTED)
