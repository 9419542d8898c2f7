"""Existence of items for the windows of a batch: an answer holds only what exists at that moment."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipeline.events.allowed import Allowed
from pipeline.events.windows import PADDING, Ids, taken_rows
from pipeline.metrics.ranking import NOT_SCORED, rank_of_targets


@dataclass(frozen=True, slots=True)
class Change:
    """Begin or end of an item between two windows.

    Attributes:
        index: number of the first window that sees it.
        row: catalogue row of the item.
        exists: True where it begins.
    """

    index: int
    row: int
    exists: bool

    def at(self, index: int) -> "Change":
        """The same change, at another window."""
        return replace(self, index=index)


class Absence(NamedTuple):
    """Windows `start` to `stop` - 1 for which a catalogue row does not exist, although it does for others."""

    row: int
    start: int
    stop: int


@dataclass(frozen=True)
class Existence:
    """Catalogue rows that exist for each of n windows, in event order.

    Attributes:
        items: highest catalogue row that is scored; scores have `items` + 1 columns.
        hidden: (h,) rows up to `items` that exist for none of the windows.
        absences: rows that begin or end among the windows.
        repeats: True if the items of a window may be recommended after it.
    """

    items: int
    hidden: Ids
    absences: Sequence[Absence] = ()
    repeats: bool = False

    @classmethod
    def of_all(cls, items: int) -> "Existence":
        """Existence of every item up to a catalogue row."""
        return cls(items, np.zeros(0, dtype=np.int64))

    @classmethod
    def after(
        cls, existing: NDArray[np.bool_], changes: Iterable[Change], windows: int, *, repeats: bool = False
    ) -> "Existence":
        """Existence for windows among which items begin and end.

        Args:
            existing: (items + 1,) True for rows that exist after all changes; row 0 does not.
            changes: in order; each turns the existence of its row over.
            windows: n.
            repeats: see `Existence`.
        """
        by_row: dict[int, list[Change]] = {}
        for change in changes:
            by_row.setdefault(change.row, []).append(change)
        absences = [a for row, of in by_row.items() for a in _absences(row, of, windows)]
        hidden = ~existing
        hidden[[0, *by_row]] = False
        return cls(len(existing) - 1, np.flatnonzero(hidden), absences, repeats)

    def hide(self, scores: Any, value: float) -> None:
        """Set the (n, items + 1) scores, of numpy or torch, of rows that do not exist to a value, in place."""
        scores[:, self.hidden] = value
        for row, start, stop in self.absences:
            scores[start:stop, row] = value

    def hidden_from(self, window: int) -> Ids:
        """(m,) rows that do not exist for one window."""
        return np.append(self.hidden, self._absent(window))

    def at(self, window: int) -> "Existence":
        """Existence at one window, for any number of them."""
        return replace(self, hidden=self.hidden_from(window), absences=())

    def of_any(self, windows: int) -> NDArray[np.bool_]:
        """(items + 1,) True for rows that exist for at least one of all the windows; read and never written."""
        never = [row for row, start, stop in self.absences if start == 0 and stop >= windows]
        if not never:
            return self.existing
        existing = self.existing.copy()
        existing[never] = False
        return existing

    def allowed(self, window: int, context: Ids) -> Allowed:
        """Rows that are candidates after one window."""
        return Allowed(self.existing, np.append(self.held(context), self._absent(window)))

    def held(self, contexts: Ids) -> Ids:
        """(n, length) rows of windows that are no candidates after them: all that were taken, or none with repeats."""
        return contexts[..., :0] if self.repeats else taken_rows(contexts)

    def candidates(self, rows: Ids, contexts: Ids) -> NDArray[np.bool_]:
        """(n,) True where a row may be recommended after its (n, length) window."""
        held: NDArray[np.bool_] = (self.held(contexts) == rows[:, None]).any(axis=1)
        return self.includes(rows) & ~held

    def includes(self, rows: Ids) -> NDArray[np.bool_]:
        """(n, ...) True where each row of a window exists for it; row 0 is no item."""
        found = (rows > 0) & (rows <= self.items) & ~np.isin(rows, self.hidden)
        for row, start, stop in self.absences:
            found[start:stop] &= rows[start:stop] != row
        return found

    def counts(self, windows: int) -> Ids:
        """(n,) number of items that exist for each window."""
        counts = np.full(windows, self.items - len(self.hidden))
        for _, start, stop in self.absences:
            counts[start:stop] -= 1
        return counts

    def select(self, windows: Ids) -> "Existence":
        """Existence for (k,) ascending numbers of windows alone."""
        spans = [(row, *np.searchsorted(windows, (start, stop)).tolist()) for row, start, stop in self.absences]
        return replace(self, absences=[Absence(*span) for span in spans if span[1] < span[2]])

    @cached_property
    def existing(self) -> NDArray[np.bool_]:
        """(items + 1,) True for rows that exist for any window."""
        existing = np.ones(self.items + 1, dtype=np.bool_)
        existing[self.hidden] = existing[PADDING] = False
        return existing

    def _absent(self, window: int) -> Ids:
        """(m,) rows that do not exist for one window, although they do for others."""
        return np.array([row for row, start, stop in self.absences if start <= window < stop], dtype=np.int64)


def ranks_of_existing(scores: NDArray[Any], targets: Ids, contexts: Ids, existence: Existence) -> Ids:
    """Rank the target of each window among its candidates: items that exist and, without repeats, are not in it.

    Args:
        scores: (n, items + 1), overwritten where items do not exist, and for padding.
        targets: (n,) catalogue rows.
        contexts: (n, length) windows.
        existence: of items for each window.

    Returns:
        (n,) ranks, 1 = top; 0 for a target that is no candidate.
    """
    existence.hide(scores, -np.inf)
    scores[:, 0] = -np.inf
    scored, held = existence.candidates(targets, contexts), existence.held(contexts)
    # Items of a window may lie beyond those that are scored: they are no candidates anyway.
    excluded = np.where(held <= existence.items, held, 0)
    ranks = rank_of_targets(scores, np.where(scored, targets, 0), excluded)
    return np.where(scored, ranks, NOT_SCORED)


def _absences(row: int, changes: Sequence[Change], windows: int) -> list[Absence]:
    """Absences of one row, from its changes in order."""
    found, since = [], None if not changes[0].exists else 0
    for change in changes:
        if change.exists and since is not None:
            found.append(Absence(row, since, change.index))
        since = None if change.exists else change.index
    if since is not None:
        found.append(Absence(row, since, windows))
    return [absence for absence in found if absence.start < absence.stop]
