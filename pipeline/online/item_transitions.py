"""Followers: what was taken after the items of a window, in the newest events.

Sequential rules (Ludewig and Jannach, 2018), kept up event by event like the trend, and never trained:

    n(j | i) = sum over the newest events that took j, i being among the items before, of the place of i there
    p(j | window) = sum over its items of place(i) n(j | i) / sum over its items of place(i) n(i)

The place of an item in a window of `length` is `length` for the newest and 1 for the oldest. Counts are whole
numbers, so what came and went again leaves them exactly as they were. How much is known, 0 to 1, is the sum below the
line over itself and `shrinkage`, an event whose newest item is the window's newest counting 1; the rest is for
something else to answer.
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
    """What followed the items of one window.

    Attributes:
        rows: (k,) of the catalogue; some may occur more than once.
        probabilities: (k,) adding up to 1, or none.
        evidence: events that say so.
    """

    rows: Ids
    probabilities: Array
    evidence: float

    def over(self, items: int) -> Array:
        """(items,) chances of all rows of the catalogue."""
        # Counted as whole numbers where there is nothing to count.
        return np.bincount(self.rows, self.probabilities, minlength=items).astype(np.float64, copy=False)


class ItemTransitions:
    """Counts of what was taken after what.

    Args:
        events: how many of the newest are counted.
        length: items of a window.
        shrinkage: events' worth of something else.
    """

    def __init__(self, events: int, length: int, shrinkage: float) -> None:
        self._contexts = np.zeros((events, length), dtype=np.int64)
        self._rows = np.zeros(events, dtype=np.int64)
        self._whole = float(length**2)
        self._shrinkage = shrinkage
        self._added = 0
        self._counts: dict[int, dict[int, int]] = {}
        self._totals: dict[int, int] = {}
        # Of items that were asked about since they changed.
        self._arrays: dict[int, tuple[Ids, Array]] = {}

    def add(self, context: Ids, row: int) -> None:
        """Count an event: the item of catalogue row `row`, taken after the (length,) items of a window."""
        position = self._added % len(self._rows)
        self._count(self._contexts[position], int(self._rows[position]), -1)
        self._contexts[position], self._rows[position] = context, row
        self._count(self._contexts[position], row, 1)
        self._added += 1

    def of(self, context: Ids) -> NextItems:
        """What followed the items of a (length,) window."""
        positions = [(item, position) for item, position in _positions(context) if item in self._counts]
        if not positions:
            return NextItems(np.zeros(0, dtype=np.int64), np.zeros(0), 0.0)
        rows, counts = zip(*[self._of_item(item) for item, _ in positions], strict=True)
        total = float(sum(position * self._totals[item] for item, position in positions))
        shares = np.repeat([position / total for _, position in positions], [len(of) for of in rows])
        return NextItems(np.concatenate(rows), np.concatenate(counts) * shares, total / self._whole)

    def probabilities_of(self, contexts: Ids, rows: Ids) -> tuple[Array, Array]:
        """What one row each has of what followed k windows.

        Args:
            contexts: (k, length) windows.
            rows: (k,) of the catalogue.

        Returns:
            (k,) chances, and (k,) how much is known, 0 to 1.
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
        """How much is known, 0 to 1, of what so many events say."""
        known: Array = evidence / (evidence + self._shrinkage)
        return known

    def to_arrays(self) -> dict[str, NDArray[Any]]:
        """The newest events; `restore` continues from them to the bit."""
        return {
            "followed_contexts": self._contexts.copy(),
            "followed_rows": self._rows.copy(),
            "followed": np.array(self._added),
        }

    def restore(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Continue from what `to_arrays` gave."""
        self._contexts = arrays["followed_contexts"].astype(np.int64)
        self._rows = arrays["followed_rows"].astype(np.int64)
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
    """Items of a window, each with its place, 1 for the oldest that a window can hold."""
    return [(item, position) for position, item in enumerate(context.tolist(), start=1) if item != PADDING]
