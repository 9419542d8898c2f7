"""Moves of item rows by the active adapters, side by side in one table.

A pass reads the moves of all its rows at once, on all cores, no matter how many adapters its rows have.
"""

from collections.abc import Collection, Sequence

import torch
from torch import Tensor

from pipeline.models.lora.sparse import compressed
from pipeline.models.lora.widening import widened


class MovedItems:
    """Table of the moves of active adapters, with an index by adapter and item.

    Args:
        slots: number of adapters that can be active.
        items: items that the index has room for, padding included.
        width: width of an item vector.
        rows: rows of the table; the system allocates memory for those that are written.
        device: has the tables.
    """

    def __init__(self, slots: int, items: int, width: int, rows: int, device: torch.device) -> None:
        self._table = torch.empty(rows, width, device=device)
        # Moves that score differ from those that are read where items are injected; one table without any.
        self._scoring = self._table
        self._index = torch.empty(slots, items, dtype=torch.int32, device=device)
        self._free = torch.arange(rows, device=device)
        self._left = rows

    @property
    def tables(self) -> int:
        """Number of tables that hold each move."""
        return 1 if self._scoring is self._table else 2

    def put(self, slot: int, rows: Tensor, moves: Tensor, scoring: Tensor) -> Tensor:
        """Store the moves of an adapter.

        Args:
            slot: its slot.
            rows: (m,) catalogue rows.
            moves: (m, d) moves of the vectors that windows are read with.
            scoring: (m, d) moves of the vectors that score; the same as `moves` where no item is injected.

        Returns:
            (2, m) the moved catalogue rows, and the rows of the table that hold their moves.
        """
        self._left -= len(rows)
        positions = self._free[self._left : self._left + len(rows)].clone()
        self._table[positions] = moves
        if self._scoring is not self._table:
            self._scoring[positions] = scoring
        self._index[slot] = -1
        self._index[slot, rows] = positions.int()
        return torch.stack([rows, positions]).int()

    def split(self) -> bool:
        """Keep moves that score apart from those that windows are read with.

        Returns:
            True the first time: the caller gives all of them to `rescore`.
        """
        shared = self._scoring is self._table
        if shared:
            self._scoring = torch.empty_like(self._table)
        return shared

    def rescore(self, moved: Tensor, scoring: Tensor) -> None:
        """Replace the (m, d) moves that score of what `put` returned, after `split`."""
        self._scoring[moved[1].long()] = scoring

    def give_back(self, moved: Tensor) -> None:
        """Free the rows of the table that `put` returned."""
        self._free[self._left : self._left + moved.shape[1]] = moved[1]
        self._left += moved.shape[1]

    def forget(self, slot: int, moved: Tensor, forgotten: Tensor) -> Tensor:
        """Drop moves of an active adapter.

        Args:
            slot: the adapter's slot.
            moved: (2, m) result of `put`.
            forgotten: (m,) bool, True for the moves to drop.

        Returns:
            The other columns of `moved`.
        """
        dropped = moved[:, forgotten]
        self._index[slot, dropped[0]] = -1
        self.give_back(dropped)
        return moved[:, ~forgotten]

    def widen(self, items: int, slots: Collection[int]) -> None:
        """Make room for a larger catalogue: in the index, and in the table for one adapter that moves every item.

        Args:
            items: new width of the index; more than before.
            slots: slots in use.
        """
        self._index = widened(self._index, items, slots, -1)
        rows = len(self._table)
        if items > rows:
            added = torch.arange(rows, items, device=self._free.device)
            more, shared = self._table.new_empty(len(added), self._table.shape[1]), self._scoring is self._table
            self._table = torch.cat([self._table, more])
            self._scoring = self._table if shared else torch.cat([self._scoring, more])
            self._free = torch.cat([self._free[: self._left], added, self._free[self._left :]])
            self._left += len(added)

    def move(self, vectors: Tensor, slots: Tensor, contexts: Tensor) -> None:
        """Move the (n, length, d) vectors of the items in (n, length) windows, each by its row's adapter, in place."""
        index = self._index[slots.unsqueeze(1), contexts]
        windows, steps = torch.nonzero(index >= 0, as_tuple=True)
        vectors[windows, steps] += self._table[index[windows, steps]]

    def correct(self, scores: Tensor, states: Tensor, moved: Sequence[Tensor]) -> None:
        """Add state times move to the scores of moved items, in place.

        Args:
            scores: (n, items or more) logits.
            states: (n, d) last states.
            moved: result of `put` for each row's adapter.
        """
        rows, positions = torch.cat(list(moved), dim=1)
        counts = torch.tensor([own.shape[1] for own in moved], device=states.device)
        # A sparse matrix selects the products of states and moves, so that no move is copied.
        wanted = compressed(counts, positions, states.new_zeros(len(positions)), len(self._table))
        products = torch.sparse.sampled_addmm(wanted, states, self._scoring.T, beta=0.0).values()
        scores.add_(compressed(counts, rows, products, scores.shape[1]))
