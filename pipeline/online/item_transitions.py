"""Item transitions: items taken after those of a window, in the newest events.

Sequential rules (Ludewig and Jannach, 2018), updated with every event and never trained:

    n(j | i) = sum over the newest events of item j with i in the window, of the position of i there
    p(j | window) = sum over its items of position(i) n(j | i) / sum over its items of position(i) n(i)

The position of an item in a window of `length` is `length` for the newest and 1 for the oldest. Counts are integers, so
an event that is removed leaves them exactly as they were. The confidence, 0 to 1, is the denominator over itself plus
`shrinkage`, an event whose newest item is the window's newest counting 1; another component gets the rest.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.arrays import Array
from pipeline.events.windows import PADDING, Ids


@dataclass(frozen=True)
class NextItems:
    """Items that followed those of one window.

    Attributes:
        rows: (k,) catalogue rows; some may occur more than once.
        probabilities: (k,) that sum to 1, or none.
        evidence: number of events behind them, weighted by position.
    """

    rows: Ids
    probabilities: Array
    evidence: float

    def over(self, items: int) -> Array:
        """(items,) probabilities of the first catalogue rows."""
        # bincount returns integers where there is nothing to count.
        return np.bincount(self.rows, self.probabilities, minlength=items)[:items].astype(np.float64, copy=False)


class ItemTransitions:
    """Counts of item pairs in the order taken.

    Args:
        events: number of newest events that are counted.
        length: items of a window.
        shrinkage: evidence at which the confidence is 1/2.
    """

    def __init__(self, events: int, length: int, shrinkage: float) -> None:
        self._contexts = np.zeros((events, length), dtype=np.int64)
        self._rows = np.zeros(events, dtype=np.int64)
        self._whole = float(length**2)
        self._shrinkage = shrinkage
        self._added = 0
        self._counts: dict[int, dict[int, int]] = {}
        self._totals: dict[int, int] = {}
        # Cache by item, valid until the item's counts change.
        self._arrays: dict[int, tuple[Ids, Array]] = {}

    def add(self, context: Ids, row: int) -> None:
        """Count an event: the item of catalogue row `row`, taken after the (length,) items of a window."""
        position = self._added % len(self._rows)
        self._count(self._contexts[position], int(self._rows[position]), -1)
        self._contexts[position], self._rows[position] = context, row
        self._count(self._contexts[position], row, 1)
        self._added += 1

    def of(self, context: Ids) -> NextItems:
        """Look up the items that followed those of a (length,) window."""
        positions = [(item, position) for item, position in _positions(context) if item in self._counts]
        if not positions:
            return NextItems(np.zeros(0, dtype=np.int64), np.zeros(0), 0.0)
        rows, counts = zip(*[self._of_item(item) for item, _ in positions], strict=True)
        total = float(sum(position * self._totals[item] for item, position in positions))
        shares = np.repeat([position / total for _, position in positions], [len(of) for of in rows])
        return NextItems(np.concatenate(rows), np.concatenate(counts) * shares, total / self._whole)

    def probabilities_of(self, contexts: Ids, rows: Ids) -> tuple[Array, Array]:
        """Probability of one row each after k windows.

        Args:
            contexts: (k, length) windows.
            rows: (k,) catalogue rows.

        Returns:
            (k,) probabilities, and their (k,) confidence, 0 to 1.
        """
        own, total = np.zeros(len(rows)), np.zeros(len(rows))
        for i, row in enumerate(rows.tolist()):
            for item, position in _positions(contexts[i]):
                if item in self._counts:
                    own[i] += position * self._counts[item].get(row, 0)
                    total[i] += position * self._totals[item]
        probabilities: Array = np.divide(own, total, out=np.zeros(len(rows)), where=total > 0.0)
        return probabilities, self.known(total / self._whole)

    def known(self, evidence: Array) -> Array:
        """Confidence, 0 to 1, of an amount of evidence."""
        known: Array = evidence / (evidence + self._shrinkage)
        return known

    def forget(self, rows: Ids) -> None:
        """Drop (m,) catalogue rows, which other items may get, from all events."""
        taken = np.isin(self._rows, rows)
        for position in np.flatnonzero(taken | np.isin(self._contexts, rows).any(axis=1)).tolist():
            context, row = self._contexts[position], int(self._rows[position])
            self._count(context, row, -1)
            context[np.isin(context, rows) | taken[position]] = PADDING
            self._count(context, row, 1)
        self._rows[taken] = PADDING

    def to_arrays(self) -> dict[str, NDArray[Any]]:
        """Return the newest events; `restore` continues from them to the bit."""
        return {
            "followed_contexts": self._contexts.copy(),
            "followed_rows": self._rows.copy(),
            "followed": np.array(self._added),
        }

    def restore(self, arrays: Mapping[str, NDArray[Any]], rows: Ids) -> None:
        """Continue from what `to_arrays` gave.

        Args:
            arrays: with catalogue rows of the process that wrote them.
            rows: row here of each of them, 0 for an item that is not known here.
        """
        self._contexts = rows[arrays["followed_contexts"].astype(np.int64)]
        self._rows = rows[arrays["followed_rows"].astype(np.int64)]
        self._contexts[self._rows == PADDING] = PADDING
        self._added = int(arrays["followed"])
        self._counts, self._totals, self._arrays = {}, {}, {}
        for context, row in zip(self._contexts, self._rows.tolist(), strict=True):
            self._count(context, row, 1)

    def _count(self, context: Ids, row: int, sign: int) -> None:
        for item, position in _positions(context):
            transitions = self._counts.setdefault(item, {})
            transitions[row] = transitions.get(row, 0) + sign * position
            self._totals[item] = self._totals.get(item, 0) + sign * position
            if not transitions[row]:
                del transitions[row]
            if not transitions:
                del self._counts[item], self._totals[item]
            self._arrays.pop(item, None)

    def _of_item(self, item: int) -> tuple[Ids, Array]:
        """Rows that followed an item, and their counts."""
        known = self._arrays.get(item)
        if known is None:
            counts = self._counts[item]
            rows = np.fromiter(counts, np.int64, len(counts))
            known = self._arrays[item] = rows, np.fromiter(counts.values(), np.float64, len(counts))
        return known


def _positions(context: Ids) -> list[tuple[int, int]]:
    """Items of a window with their positions, 1 for the oldest that a window can hold."""
    return [(item, position) for position, item in enumerate(context.tolist(), start=1) if item != PADDING]
