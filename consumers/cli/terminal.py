"""Terminal output: progress on stderr, tables and sentences on stdout."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table

from pipeline.datasets.refusals import Refusals
from pipeline.evaluation.report.verdict import verdict
from pipeline.evaluation.report.words import ranked
from pipeline.evaluation.summary import OURS, RECALL, STREAM

RECALLS = ("F", "T", STREAM, "S_new", "S")
"""Slices of the table, in order."""


@dataclass(frozen=True)
class Terminal:
    """Consoles of a command, and its clock.

    Attributes:
        out: for results.
        err: for progress.
        clock: seconds from an arbitrary origin.
    """

    out: Console
    err: Console
    clock: Callable[[], float]


class Stages:
    """Progress by stage: bars on a terminal, else one line a stage.

    Args:
        console: for the progress (stderr).
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        self._bars = Progress(*columns, console=console)
        self._stage = ""
        self._task: TaskID | None = None

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # Stopping bars that were never started would leave an empty line in a pipe.
        if self._console.is_terminal:
            self._bars.stop()

    def __call__(self, stage: str, done: int, total: int) -> None:
        """Show the steps of a stage that are done, of all; a total of 0 is unknown."""
        if stage != self._stage:
            self._begin(stage)
        if self._task is not None:
            self._bars.update(self._task, completed=done, total=total or None)

    def _begin(self, stage: str) -> None:
        self._stage = stage
        if not self._console.is_terminal:
            self._console.print(stage, markup=False, highlight=False)
            return
        if self._task is not None:
            self._bars.stop_task(self._task)
        self._task = self._bars.add_task(stage, total=None)


def results(metrics: Mapping[str, Any]) -> Table:
    """Table of a run: Recall@10 by slice, best on the stream first."""
    heads = [f"{name} Recall@10" for name in RECALLS]
    table = Table("strategy", title=f"{metrics['dataset']}, {metrics['protocol']} protocol", title_justify="left")
    for head in (*heads, "trained windows"):
        table.add_column(head, justify="right")
    for name in ranked(metrics, STREAM):
        row = metrics["strategies"][name]
        cells = [_figure(row[slice_name][RECALL]) for slice_name in RECALLS]
        table.add_row(name, *cells, _count(row["trained_windows"]), style="bold" if name == OURS else None)
    return table


def sentences(metrics: Mapping[str, Any], refused: Refusals, report: Path) -> list[str]:
    """Verdict of the run, and sentences on the refused rows and the path of the report."""
    return [*verdict(metrics), refusal_sentence(refused), f"Report: {report}"]


def refusal_sentence(refused: Refusals) -> str:
    """Sentence on the rows that were refused: counts by reason, and one example."""
    if not refused.total:
        return "Every row of the log was used."
    counts = ", ".join(f"{count:,} {reason}" for reason, count in refused.counts.items())
    rows = "row was" if refused.total == 1 else "rows were"
    first = refused.examples[0]
    where = f"{first.file}, line {first.line}: {first.detail}"
    return f"{refused.total:,} {rows} refused ({counts}), the rest was used. The first: {where}."


def _figure(figure: Mapping[str, Any]) -> str:
    if figure["mean"] is None:
        return "–"
    several = len(figure["per_seed"]) > 1
    return f"{figure['mean']:.4f} ± {figure['std']:.4f}" if several else f"{figure['mean']:.4f}"


def _count(counts: list[int]) -> str:
    return f"{sum(counts) / len(counts):,.0f}"
