"""Item neighbours as a candidate source: what users took who took the same items, whenever that was."""

from pipeline.online.item_neighbours import ItemNeighbours
from pipeline.online.sparse_scores import SparseScores
from pipeline.recommend.candidates.query import Query


class NeighbourItems:
    """Items that users of the same items took.

    Args:
        neighbours: the counts.
        length: items of a history that are looked up.
        most: see `CandidateSource`.
    """

    name = "neighbours"

    def __init__(self, neighbours: ItemNeighbours, length: int, most: int) -> None:
        self.most, self._neighbours, self._length = most, neighbours, length

    def scores(self, query: Query) -> SparseScores:
        """Sums of similarities."""
        return self._neighbours.scores(query.history(self._length))
