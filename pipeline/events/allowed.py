"""Items that may be recommended after one window: what exists, which many windows share, less a few rows of its own."""

import numpy as np
from numpy.typing import NDArray

from pipeline.arrays import distinct, is_among
from pipeline.events.windows import Ids


class Allowed:
    """Items that may be recommended after one window; to ask about a few rows costs nothing for the others.

    Args:
        existing: (items + 1,) True for rows that exist, not for padding; read and never written.
        excluded: (k,) rows that may not be recommended all the same, in any order, some perhaps twice or unknown.
        narrowed: True where `existing` lacks items that exist, by the rules of a request: what an index found without
            them does not do.

    Attributes:
        existing, narrowed: as given.
        excluded: the distinct rows, ascending.
    """

    __slots__ = ("_rows", "excluded", "existing", "narrowed")

    def __init__(self, existing: NDArray[np.bool_], excluded: Ids, *, narrowed: bool = False) -> None:
        self.existing, self.narrowed = existing, narrowed
        self.excluded = distinct(excluded)
        self._rows: Ids | None = None

    @property
    def count(self) -> int:
        """Number of items that may be recommended."""
        return int(np.count_nonzero(self.existing)) - len(self.left_out)

    @property
    def left_out(self) -> Ids:
        """(m,) distinct rows that exist and may not be recommended, ascending."""
        left_out: Ids = self.excluded[self._exist(self.excluded)]
        return left_out

    @property
    def rows(self) -> Ids:
        """(m,) all rows that may be recommended, ascending."""
        if self._rows is None:
            self._rows = np.flatnonzero(self.mask())
        return self._rows

    def contains(self, rows: Ids) -> NDArray[np.bool_]:
        """(m,) True for each of (m,) rows that may be recommended."""
        return self._exist(rows) & ~is_among(rows, self.excluded)

    def mask(self) -> NDArray[np.bool_]:
        """(items + 1,) True for rows that may be recommended."""
        mask = self.existing.copy()
        mask[self.left_out] = False
        return mask

    def _exist(self, rows: Ids) -> NDArray[np.bool_]:
        exist: NDArray[np.bool_] = self.existing.take(rows, mode="clip") & (rows < len(self.existing))
        return exist
