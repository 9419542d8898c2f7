"""Item recency: how often each item was taken, when first and when last, in numbers of events."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.arrays import Array, distinct
from pipeline.events.windows import Ids


class ItemRecency:
    """Counts and ages of items.

    Attributes:
        events: number of events counted.
        counts: (items + 1,) events of each item.
    """

    def __init__(self) -> None:
        self.events = 0
        self.counts = np.zeros(1)
        self._last = np.zeros(1)
        self._since = np.zeros(1)
        self._changes = _Changes(self._since)

    def resize(self, items: int) -> None:
        """Note that catalogue rows up to `items` are known from now on; it never shrinks."""
        known, missing = len(self.counts), items + 1 - len(self.counts)
        if missing > 0:
            self.counts = np.concatenate([self.counts, np.zeros(missing)])
            self._last = np.concatenate([self._last, np.full(missing, float(self.events))])
            self._since = np.concatenate([self._since, np.full(missing, float(self.events))])
            self._note(np.arange(known, items + 1))

    def add(self, row: int) -> None:
        """Count an event of a catalogue row."""
        self.events += 1
        if not self.counts[row]:
            self._since[row] = self.events
            self._note(np.array([row]))
        self.counts[row] += 1.0
        self._last[row] = self.events

    def forget(self, rows: Ids) -> None:
        """Drop what is known of (m,) catalogue rows, which other items may get."""
        self.counts[rows] = 0.0
        self._last[rows] = self._since[rows] = self.events
        self._note(rows)

    def ages(self, rows: Ids) -> Array:
        """(m,) events since each of (m,) rows was first taken, or became known if it never was."""
        return self.events - self._since[rows]

    def idle(self, rows: Ids) -> Array:
        """(m,) events since each of (m,) rows was last taken, or became known if it never was."""
        return self.events - self._last[rows]

    def newest(self, number: int) -> Ids:
        """(m,) ascending rows of lowest age, at least `number` with all ties of the last one; all where fewer exist."""
        return self._changes.newest(number, self._since)

    def to_arrays(self) -> dict[str, NDArray[Any]]:
        """Return the state; `restore` continues from it to the bit."""
        return {
            "counts": self.counts.copy(),
            "last": self._last.copy(),
            "since": self._since.copy(),
            "events": np.array(self.events),
        }

    def restore(self, arrays: Mapping[str, NDArray[Any]], rows: Ids) -> None:
        """Continue from what `to_arrays` gave; see `ItemTransitions.restore`."""
        self.events = int(arrays["events"])
        self.resize(int(rows.max(initial=0)))
        for own, name in ((self.counts, "counts"), (self._last, "last"), (self._since, "since")):
            own[:] = 0.0 if name == "counts" else self.events
            own[rows] = arrays[name]
            own[0] = 0.0
        self._changes = _Changes(self._since)

    def _note(self, rows: Ids) -> None:
        """Note rows whose age begins now."""
        if self._changes.size > 2 * len(self._since):
            self._changes = _Changes(self._since)
        else:
            self._changes.append(rows, float(self.events))


class _Changes:
    """Rows in the order in which their ages began; those that began again later are skipped when it is read.

    Args:
        since: (items + 1,) number of events at which the age of each row began.

    Attributes:
        size: number of changes.
    """

    def __init__(self, since: Array) -> None:
        self._rows: Ids = np.argsort(since, kind="stable")
        self._since = since[self._rows]
        self.size = len(since)

    def append(self, rows: Ids, since: float) -> None:
        """Add (m,) rows whose ages began at a number of events not below those before."""
        end = self.size + len(rows)
        if end > len(self._rows):
            more = end - len(self._rows) + len(self._rows) // 2
            self._rows = np.concatenate([self._rows, np.zeros(more, dtype=np.int64)])
            self._since = np.concatenate([self._since, np.zeros(more)])
        self._rows[self.size : end], self._since[self.size : end] = rows, since
        self.size = end

    def newest(self, number: int, since: Array) -> Ids:
        """See `ItemRecency.newest`; `since` as it is now."""
        read = number
        while True:
            read *= 2
            start = max(self.size - read, 0)
            rows, began = self._rows[start : self.size], self._since[start : self.size]
            current = since[rows] == began
            if start:
                # There may be more of the first ones before the start.
                current &= began > began[0]
            found = distinct(rows[current])
            if not start or len(found) >= number:
                return found
