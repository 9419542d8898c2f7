"""Figure of the continual run: retention and forgetting after each slice."""

from collections.abc import Mapping, Sequence

import numpy as np
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pipeline.evaluation.report.figure import MUTED, TEXT_SIZE, WIDTH, axes, draw
from pipeline.evaluation.report.labels import EM
from pipeline.evaluation.report.lines import Line, paint_lines
from pipeline.metrics.continual import Matrix, forgetting_after
from pipeline.metrics.ranking import Floats


def retention_and_forgetting(name: str, alt: str, matrices: Mapping[str, Matrix]) -> Markup | None:
    """Draw Recall@10 on S_new and forgetting after each slice, one line per strategy.

    Args:
        name: of the figure.
        alt: text alternative.
        matrices: results matrix of each strategy, best strategy first; no figure without any.
    """
    if not matrices:
        return None
    slices = len(next(iter(matrices.values()))) - 1
    retention = [Line(strategy, np.arange(slices + 1.0), matrix[:, 0]) for strategy, matrix in matrices.items()]
    forgetting = [
        Line(strategy, np.arange(1.0, slices + 1), _forgetting(matrix)) for strategy, matrix in matrices.items()
    ]
    labels = min(26 + max(map(len, matrices)) * TEXT_SIZE * EM, WIDTH / 4)

    def paint(figure: Figure) -> None:
        half = (WIDTH - labels) / 2
        left = axes(figure, left=62, right=half + labels - 4, top=26, bottom=46)
        right = axes(figure, left=half + 66, right=labels, top=26, bottom=46)
        _panel(left, "Recall@10 on S_new", retention, slices, named=False)
        _panel(right, "forgetting", forgetting, slices, named=True)
        right.axhline(0.0, color=MUTED, linewidth=0.8, zorder=1)

    return draw(name, alt, 400, paint)


def _panel(plane: Axes, title: str, lines: Sequence[Line], slices: int, *, named: bool) -> None:
    plane.set_title(title, size=TEXT_SIZE, loc="left")
    plane.set(xlabel="slices learned", xlim=(0, slices), xticks=range(slices + 1))
    paint_lines(plane, lines, named=named)


def _forgetting(matrix: Matrix) -> Floats:
    """Forgetting after each slice."""
    return np.array([forgetting_after(matrix, i) for i in range(1, len(matrix))])
