"""Texts of items from a column of the interactions, such as `title`.

A text belongs to the item only if its rows agree: the title of a review differs from row to row.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.datasets.item_text import item_text
from pipeline.datasets.readers.table import Coded, Column
from pipeline.events.item import MAX_TEXT_LENGTH

MOST_DISAGREEING = 0.05
"""Share of the items with several rows whose texts may differ; above it the column does not describe items."""


class TitleTexts:
    """Texts by item, gathered chunk by chunk."""

    def __init__(self) -> None:
        self._texts: dict[str, int] = {}
        self._pairs: list[NDArray[np.int64]] = []
        self._rows: list[NDArray[np.int64]] = []

    def add(self, items: NDArray[Any], columns: Sequence[Column]) -> None:
        """Add the rows of a chunk.

        Args:
            items: (n,) codes of the items.
            columns: the columns of the text, the title first; n cells each.
        """
        codes = self._codes([column if isinstance(column, Coded) else _different(column) for column in columns])
        pairs, first, counts = np.unique(
            np.stack([items.astype(np.int64), codes], axis=1), axis=0, return_index=True, return_counts=True
        )
        order = np.argsort(first)
        self._pairs.append(pairs[order])
        self._rows.append(counts[order])

    def _codes(self, columns: Sequence[Coded]) -> NDArray[np.int64]:
        """Return the (n,) codes of the texts that the cells of each row make."""
        stacked = np.stack([np.asarray(column.codes, dtype=np.int64) for column in columns], axis=1)
        different, inverse = np.unique(stacked, axis=0, return_inverse=True)
        codes = np.empty(len(different), dtype=np.int64)
        for place, row in enumerate(different.tolist()):
            title, *others = [column.cells[code] for column, code in zip(columns, row, strict=True)]
            text = item_text(title, None, others)
            text = text if len(text) <= MAX_TEXT_LENGTH else ""
            codes[place] = self._texts.setdefault(text, len(self._texts))
        return codes[inverse.reshape(-1)]

    def result(self, *, mapped: bool) -> tuple[dict[int, str], str]:
        """Return the text by code of the item, and a remark on items whose rows disagree, "" where none do.

        Args:
            mapped: True if the user named the columns: then the first text of an item counts.
        """
        texts = list(self._texts)
        found: dict[int, list[str]] = {}
        rows: dict[int, int] = {}
        pairs = np.concatenate(self._pairs).tolist() if self._pairs else []
        counts = np.concatenate(self._rows).tolist() if self._rows else []
        for (item, code), count in zip(pairs, counts, strict=True):
            rows[item] = rows.get(item, 0) + count
            known = found.setdefault(item, [])
            if texts[code] and texts[code] not in known:
                known.append(texts[code])
        several = sum(count > 1 for count in rows.values())
        disagreeing = sum(len(known) > 1 for known in found.values())
        first = {item: known[0] for item, known in found.items() if known}
        if not disagreeing:
            return first, ""
        share = f"the texts of {disagreeing:,} of {several:,} items with several rows differ between their rows"
        if mapped:
            return first, f"{share}: the first of each is used"
        if disagreeing > MOST_DISAGREEING * several:
            return {}, f"{share}, so the column is no text of the item; --set data.columns.text=COLUMN uses it"
        return {item: text for item, text in first.items() if len(found[item]) == 1}, f"{share}: these have no text"


def _different(column: Any) -> Coded:
    cells = column.rows()
    return Coded(np.arange(len(cells)), cells)
