"""Descriptive statistics of a dataset, and their tables for a terminal."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
from numpy.typing import NDArray
from rich.console import Group
from rich.table import Table
from rich.text import Text

from pipeline.datasets.dataset import Dataset, positives
from pipeline.datasets.readers.rows import ColumnUse
from pipeline.datasets.refusals import Refusals
from pipeline.datasets.splits import QUANTILES, Slice, Slices, cut
from pipeline.events.interactions import Interactions


@dataclass(frozen=True)
class SliceDescription:
    """The positive interactions of one slice.

    Attributes:
        name: S, F or T.
        first: time of the first one, in seconds since 1970.
        last: time of the last one.
        interactions: their number.
        windows: number of those with an earlier positive interaction of the same user, in any slice, so that a model
            has a history to predict from.
        users: number of different users.
        items: number of different items.
        unseen: share of the interactions whose item has no positive interaction in S.
    """

    name: Slice
    first: float
    last: float
    interactions: int
    windows: int
    users: int
    items: int
    unseen: float


@dataclass(frozen=True)
class Description:
    """Statistics of a dataset.

    Attributes:
        name: name of the dataset.
        sha256: hash of its content.
        first: time of the first interaction, in seconds since 1970.
        last: time of the last one.
        interactions: number of accepted interactions.
        positives: number of positive ones.
        positive_from: smallest value of a positive interaction; None: every interaction is positive.
        users: number of different users.
        items: size of the catalogue.
        items_met: number of items with an interaction.
        with_text: share of the catalogue with a text.
        median_history: median over users of their number of positive interactions.
        out_of_order: number of rows older than the row before them of the same user.
        slices: S, F and T.
        refused: the refused rows.
        not_counted: number of rows whose kind of event does not count.
        drifts: number of known drifts; None if the log is not a simulated one.
    """

    name: str
    sha256: str
    first: float
    last: float
    interactions: int
    positives: int
    positive_from: float | None
    users: int
    items: int
    items_met: int
    with_text: float
    median_history: float
    out_of_order: int
    slices: tuple[SliceDescription, ...]
    refused: Refusals
    not_counted: int
    drifts: int | None


def describe(
    dataset: Dataset,
    positive_from: float | None = None,
    quantiles: tuple[float, float] = QUANTILES,
) -> Description:
    """Compute the statistics of a dataset.

    Args:
        dataset: the log.
        positive_from: smallest value of a positive interaction; None: every interaction is positive.
        quantiles: ends of S and F.

    Raises:
        DataError: no interaction is positive, or a slice is empty.
    """
    liked = positives(dataset, positive_from)
    events = dataset.interactions
    slices = cut(liked.timestamps, quantiles)
    by_user = np.bincount(liked.users)
    return Description(
        name=dataset.name,
        sha256=dataset.sha256,
        first=float(events.timestamps[0]),
        last=float(events.timestamps[-1]),
        interactions=len(events),
        positives=len(liked),
        positive_from=positive_from,
        users=len(np.unique(events.users)),
        items=len(dataset.items),
        items_met=len(np.unique(events.items)),
        with_text=sum(bool(item.text) for item in dataset.items.values()) / len(dataset.items),
        median_history=float(np.median(by_user[by_user > 0])),
        out_of_order=dataset.out_of_order,
        slices=_describe_slices(liked, slices),
        refused=dataset.refused,
        not_counted=dataset.not_counted,
        drifts=None if dataset.truth is None else len(dataset.truth),
    )


def _describe_slices(liked: Interactions, slices: Slices) -> tuple[SliceDescription, ...]:
    first, second = slices.bounds(liked.timestamps)
    names: tuple[Slice, ...] = ("S", "F", "T")
    is_window = np.ones(len(liked), dtype=np.bool_)
    is_window[np.unique(liked.users, return_index=True)[1]] = False
    in_setup = np.unique(liked.items[:first])
    rows = (slice(0, first), slice(first, second), slice(second, len(liked)))
    return tuple(
        _describe_slice(name, liked[part], int(is_window[part].sum()), in_setup)
        for name, part in zip(names, rows, strict=True)
    )


def _describe_slice(name: Slice, events: Interactions, windows: int, in_setup: NDArray[np.int32]) -> SliceDescription:
    return SliceDescription(
        name=name,
        first=float(events.timestamps[0]),
        last=float(events.timestamps[-1]),
        interactions=len(events),
        windows=windows,
        users=len(np.unique(events.users)),
        items=len(np.unique(events.items)),
        unseen=float(np.mean(~np.isin(events.items, in_setup))),
    )


def render_columns(uses: Sequence[ColumnUse]) -> Group:
    """Return the use of the columns of each file as tables for a terminal."""
    tables = []
    for use in uses:
        rows = [*use.taken, *((name, "ignored") for name in use.ignored), *(("", note) for note in use.notes)]
        tables.append(_table(None, (f"column of {use.file}", "taken for"), rows))
    return Group(*tables)


def render(description: Description) -> Group:
    """Return the description as tables for a terminal."""
    tables = [_overview(description), _slices(description.slices)]
    if description.refused.total:
        tables.append(_refusals(description.refused))
    return Group(*tables)


def _overview(d: Description) -> Table:
    counts_from = "every interaction" if d.positive_from is None else f"value >= {d.positive_from:g}"
    drifts = "not known" if d.drifts is None else str(d.drifts)
    rows = {
        "span": f"{_day(d.first)} to {_day(d.last)}",
        "interactions": f"{d.interactions:,}",
        f"positive ({counts_from})": f"{d.positives:,}",
        "users": f"{d.users:,}",
        "items": f"{d.items:,}, of which {d.items_met:,} in the log",
        "items with text": f"{d.with_text:.1%}",
        "positives of a user, median": f"{d.median_history:g}",
        "rows out of order": f"{d.out_of_order:,}",
        "rows refused": f"{d.refused.total:,}",
        **({"rows of kinds that do not count": f"{d.not_counted:,}"} if d.not_counted else {}),
        "known drifts": drifts,
        "sha256": d.sha256[:16],
    }
    return _table(d.name, ("", ""), rows.items())


def _slices(slices: Iterable[SliceDescription]) -> Table:
    header = ("slice", "from", "until", "interactions", "windows", "users", "items", "item unseen in S")
    return _table(
        "positive interactions by slice",
        header,
        (
            (
                *(s.name, _day(s.first), _day(s.last)),
                *(f"{count:,}" for count in (s.interactions, s.windows, s.users, s.items)),
                f"{s.unseen:.1%}",
            )
            for s in slices
        ),
    )


def _refusals(refused: Refusals) -> Table:
    rows = []
    for reason, count in refused.counts.items():
        examples = [e for e in refused.examples if e.reason == reason]
        rows.append((reason, f"{count:,}", "\n".join(f"{e.file}:{e.line}: {e.detail}" for e in examples)))
    return _table("refused rows", ("reason", "rows", "first of them"), rows)


def _table(title: str | None, header: Sequence[str], rows: Iterable[Sequence[str]]) -> Table:
    table = Table(*header, title=title, title_justify="left", show_header=any(header))
    for row in rows:
        # Text of the log is shown literally: brackets in it are no markup.
        table.add_row(*(Text(cell) for cell in row))
    return table


def _day(timestamp: float) -> str:
    return datetime.fromtimestamp(timestamp, UTC).strftime("%Y-%m-%d")
