"""Item recency: how often each item was taken, when first and when last, in numbers of events."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.arrays import Array
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

    def resize(self, items: int) -> None:
        """Note that catalogue rows up to `items` are known from now on; it never shrinks."""
        missing = items + 1 - len(self.counts)
        if missing > 0:
            self.counts = np.concatenate([self.counts, np.zeros(missing)])
            self._last = np.concatenate([self._last, np.full(missing, float(self.events))])
            self._since = np.concatenate([self._since, np.full(missing, float(self.events))])

    def add(self, row: int) -> None:
        """Count an event of a catalogue row."""
        self.events += 1
        if not self.counts[row]:
            self._since[row] = self.events
        self.counts[row] += 1.0
        self._last[row] = self.events

    def forget(self, rows: Ids) -> None:
        """Drop what is known of (m,) catalogue rows, which other items may get."""
        self.counts[rows] = 0.0
        self._last[rows] = self._since[rows] = self.events

    def ages(self) -> Array:
        """(items + 1,) events since each item was first taken, or became known if it never was."""
        return self.events - self._since

    def idle(self) -> Array:
        """(items + 1,) events since each item was last taken, or became known if it never was."""
        return self.events - self._last

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
