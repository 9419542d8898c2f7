"""A model as a candidate source: backbone, routed adapters, or any other that scores all items."""

from pipeline.recommend.candidates.query import Query
from pipeline.recommend.candidates.scores import RankedScores


class ExpertItems:
    """Items that a model finds most probable.

    Args:
        name: of the model in `Query.experts`.
        most: see `CandidateSource`.
    """

    def __init__(self, name: str, most: int) -> None:
        self.name, self.most = name, most

    def scores(self, query: Query) -> RankedScores:
        """Probabilities."""
        return query.experts[self.name]
