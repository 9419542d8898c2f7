"""Features of a candidate: what each source says of it, its age, and what is known of the user.

A row of `TABLE` documents each one. Features of the window alone, such as the length of the history, are the same for
all candidates: they let the network weigh the others by them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.arrays import Array
from pipeline.events.windows import PADDING, Ids
from pipeline.recommend.candidates.query import Query
from pipeline.recommend.candidates.source import Scores

TABLE: Mapping[str, str] = {
    "log_*": "log score of a source: popularity by each half-life, and transitions as shares of all that followed",
    "place_*": "1 / (3 + place) of the candidate among all candidates by the score of a source, from 0",
    "neighbours": "similarity to the items of the history, summed",
    "text": "cosine to the texts of the window, newer ones weighing more",
    "text_last": "cosine to the text of the last item",
    "model": "log probability by the routed adapters, or the strategy's own model",
    "backbone": "log probability by the frozen backbone",
    "model_minus_backbone": "difference of the two",
    "count": "log of 1 + events of the item",
    "age": "log of 1 + events since the item was first taken, or became known if it never was",
    "idle": "log of 1 + events since the item was last taken",
    "taken_before": "1 if the user took the item before",
    "own": "1 / (1 + age) of the item in the user's history, where repeats are allowed",
    "trend": "log of popularity by the shortest half-life over that by the longest",
    "region": "log of popularity in the window's set-up regions over that of all users",
    "window_history": "log of 1 + distinct items that the user took (window)",
    "window_recent": "share of the window's items that were taken since set-up (window)",
    "window_opened": "posterior of the regions of the stream (window)",
    "window_evidence_*": "log of 1 + evidence behind a source: sum or maximum of its scores (window)",
    "window_best_model": "log probability of the model's best candidate (window)",
    "window_best_popularity": "log of the highest popularity by the shortest half-life (window)",
}
"""Names of features, `*` for the name of a source, and what each one is."""

SMALL = 1e-6
"""Added to probabilities before the logarithm: about one event in a million."""


@dataclass(frozen=True)
class CandidateFacts:
    """Further facts of m candidates.

    Attributes:
        counts, ages, idle: (m,) of each; see `ItemRecency`.
        text_last: (m,) cosines to the text of the window's last item.
        taken_before: (m,) 1 for items that the user took before, else 0.
        distinct: number of distinct items that the user took, as far as they are remembered.
    """

    counts: Array
    ages: Array
    idle: Array
    text_last: Scores
    taken_before: Array
    distinct: int


class FeatureTable:
    """Computes the features of candidates.

    Args:
        half_lives: names of the popularity sources, the shortest half-life first.
        experts: names of the models.
        repeats: True where items that the user took are candidates.

    Attributes:
        names: of the features, in the order of their columns.
    """

    def __init__(self, half_lives: Sequence[str], experts: Sequence[str], *, repeats: bool) -> None:
        self._half_lives, self._experts = list(half_lives), list(experts)
        self._own = [OWN] if repeats else []
        nothing = Query(np.zeros(1, dtype=np.int64), np.zeros(0, dtype=np.int64), np.ones(1), 0.0, 0.0, {})
        scores = dict.fromkeys([*self._half_lives, *SOURCES, *self._own], np.zeros(1))
        none = np.zeros(1)
        facts = CandidateFacts(none, none, none, none, none, 0)
        experts_at = {name: np.zeros(1) for name in self._experts}
        self.names = list(self._columns(nothing, np.zeros(1, dtype=np.int64), scores, experts_at, facts))

    def of(
        self, query: Query, rows: Ids, scores: Mapping[str, Scores], experts: Mapping[str, Array], facts: CandidateFacts
    ) -> NDArray[np.float32]:
        """Features of candidates.

        Args:
            query: the window.
            rows: (m,) candidates.
            scores: source -> (items + 1,) scores, of all sources but the models.
            experts: model -> (m,) log probabilities of the candidates.
            facts: of the candidates.

        Returns:
            (m, features).
        """
        columns = self._columns(query, rows, scores, experts, facts)
        features = np.empty((len(rows), len(columns)), dtype=np.float32)
        for index, column in enumerate(columns.values()):
            features[:, index] = column
        return features

    def _columns(
        self, query: Query, rows: Ids, scores: Mapping[str, Scores], experts: Mapping[str, Array], facts: CandidateFacts
    ) -> dict[str, Scores | float]:
        """Feature -> (m,) values, or one value for all candidates."""
        at = {name: of[rows] for name, of in scores.items()}
        columns: dict[str, Scores | float] = {}
        shortest, longest = self._half_lives[0], self._half_lives[-1]
        logs = {name: np.log(at[name] + SMALL) for name in (*self._half_lives, REGION)}
        columns |= {f"log_{name}": logs[name] for name in self._half_lives}
        columns["trend"] = logs[shortest] - logs[longest]
        columns["region"] = logs[REGION] - logs[longest]
        for name in TRANSITIONS:
            total = float(scores[name].sum())
            columns[f"log_{name}"] = np.log(at[name] / (total + 1.0) + 1e-5)
            columns[f"window_evidence_{name}"] = np.log1p(total)
        columns["neighbours"] = at[NEIGHBOURS]
        columns["log_neighbours"] = np.log(at[NEIGHBOURS] + 1e-3)
        columns["window_evidence_neighbours"] = float(scores[NEIGHBOURS].max())
        columns["text"], columns["text_last"] = at[TEXT], facts.text_last
        columns |= {name: at[name] for name in self._own}
        columns |= self._of_experts(experts)
        placed = {name: at[name] for name in (shortest, longest, REGION, *TRANSITIONS[:2], NEIGHBOURS, TEXT)} | {
            name: experts[name] for name in self._experts
        }
        of_sources = places(np.stack(list(placed.values())))
        columns |= {f"place_{name}": row for name, row in zip(placed, of_sources, strict=True)}
        columns["count"] = np.log1p(facts.counts)
        columns["age"], columns["idle"] = np.log1p(facts.ages), np.log1p(facts.idle)
        return columns | {
            "taken_before": facts.taken_before,
            "window_history": float(np.log1p(facts.distinct)),
            RECENT: query.recent,
            "window_opened": query.opened,
            "window_best_popularity": np.log(scores[shortest][PADDING + 1 :].max(initial=0.0) + SMALL),
        }

    def _of_experts(self, experts: Mapping[str, Array]) -> dict[str, Scores | float]:
        columns: dict[str, Scores | float] = {name: experts[name] for name in self._experts}
        if len(self._experts) > 1:
            columns["model_minus_backbone"] = experts[self._experts[0]] - experts[self._experts[1]]
        if self._experts:
            columns["window_best_model"] = float(experts[self._experts[0]].max(initial=-28.0))
        return columns


REGION, NEIGHBOURS, TEXT, OWN = "popularity_region", "neighbours", "text", "own"
RECENT = "window_recent"
TRANSITIONS = ("next_recent", "next_all", "next_recent_last", "next_all_last")
SOURCES = (REGION, *TRANSITIONS, NEIGHBOURS, TEXT)
"""Sources, beside models and half-lives, whose scores are features."""


def places(scores: Scores) -> Array:
    """(s, m) 1 / (3 + place) of each of m scores of s sources, the highest first; ties in their order."""
    order = np.argsort(-scores, axis=1, kind="stable")
    reciprocal = np.empty(scores.shape)
    np.put_along_axis(reciprocal, order, 1.0 / (3.0 + np.arange(scores.shape[1]))[None], axis=1)
    return reciprocal
