"""Item rows that active adapters have moved: by how much, side by side in one table, whoever moved them.

So a pass asks once for the moves of all its rows, and all cores take part, whether its rows share an adapter or have
one each.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from pipeline.models.lora.sparse import compressed


class MovedItems:
    """The moves of active adapters, and which items they are of.

    Args:
        slots: number of adapters that may be active.
        items: of the catalogue, padding included.
        width: of an item vector.
        rows: that the table has; the system gives memory to those that are ever written.
    """

    def __init__(self, slots: int, items: int, width: int, rows: int) -> None:
        self._table = torch.empty(rows, width)
        self._places = torch.empty(slots, items, dtype=torch.int32)
        self._free = torch.arange(rows)
        self._left = rows

    def put(self, slot: int, rows: Tensor, moves: Tensor) -> Tensor:
        """Take in the (m, d) moves of an adapter.

        Returns:
            (2, m) the catalogue rows that are moved, and the rows of the table where their moves are.
        """
        self._left -= len(rows)
        places = self._free[self._left : self._left + len(rows)].clone()
        self._table[places] = moves
        self._places[slot] = -1
        self._places[slot, rows] = places.int()
        return torch.stack([rows, places]).int()

    def give_back(self, moved: Tensor) -> None:
        """Let others have the rows of the table that `put` returned."""
        self._free[self._left : self._left + moved.shape[1]] = moved[1]
        self._left += moved.shape[1]

    def move(self, vectors: Tensor, slots: Tensor, contexts: Tensor) -> None:
        """Move the (n, length, d) vectors of the items in (n, length) windows, each by its row's adapter, in place."""
        places = self._places[slots.unsqueeze(1), contexts]
        windows, positions = torch.nonzero(places >= 0, as_tuple=True)
        vectors[windows, positions] += self._table[places[windows, positions]]

    def correct(self, scores: Tensor, states: Tensor, moved: Sequence[Tensor]) -> None:
        """Add state times move to the scores of moved items, in place.

        Args:
            scores: (n, items or more).
            states: (n, d).
            moved: what `put` returned of each row's adapter.
        """
        rows, places = torch.cat(list(moved), dim=1)
        counts = torch.tensor([own.shape[1] for own in moved])
        # Which products of states and moves are wanted is said by a matrix, so that no move is copied.
        wanted = compressed(counts, places, torch.zeros(len(places)), len(self._table))
        products = torch.sparse.sampled_addmm(wanted, states, self._table.T, beta=0.0).values()
        scores.add_(compressed(counts, rows, products, scores.shape[1]))
