"""Features of a candidate: what each source says of it, its age, and what is known of the user.

A row of `TABLE` documents each one. Features of the window alone, such as the length of the history, are the same for
all candidates: they let the network weigh the others by them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipeline.arrays import Array
from pipeline.events.windows import Ids
from pipeline.online.dense_scores import Values
from pipeline.recommend.candidates.query import Query
from pipeline.recommend.candidates.scores import Scores

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

LEAST_LOG = -28.0
"""Below the log probability of any candidate."""


REGION, NEIGHBOURS, TEXT, OWN = "popularity_region", "neighbours", "text", "own"
TRANSITIONS = ("next_recent", "next_all", "next_recent_last", "next_all_last")
SOURCES = (REGION, *TRANSITIONS, NEIGHBOURS, TEXT)
"""Sources, beside models and half-lives, whose scores are features."""

FACTS = ("count", "age", "idle", "text_last", "taken_before")
"""Fields of `CandidateFacts` that differ between candidates."""

OF_WINDOW = (*TRANSITIONS, NEIGHBOURS, "history", "recent", "opened", "best_model", "best_popularity")
"""Values that are the same for all candidates of a window."""


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
    text_last: Values
    taken_before: Array
    distinct: int


@dataclass(frozen=True)
class Evidence:
    """Evidence behind the scores of sources for one window, over all items.

    Attributes:
        totals: sums of the scores of `TRANSITIONS`.
        neighbours: highest similarity.
        popularity: highest popularity by the shortest half-life.
    """

    totals: Sequence[float]
    neighbours: float
    popularity: float


class Described(NamedTuple):
    """The m candidates of one window, as they are when it is ranked; features follow from them at any time.

    Attributes:
        values: (v, m) values of each candidate.
        of_window: (w,) values of the window.
    """

    values: Array
    of_window: Array


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
        self._sources = [*self._half_lives, *SOURCES, *self._own]
        ends = dict.fromkeys((half_lives[0], half_lives[-1]))
        self._placed = [*ends, REGION, *TRANSITIONS[:2], NEIGHBOURS, TEXT, *self._experts]
        self._values = [*self._sources, *self._experts, *FACTS, *_places_of(self._placed)]
        self._placed_at = [self._values.index(name) for name in self._placed]
        nothing = Described(np.ones((len(self._values), 0)), np.ones(len(OF_WINDOW)))
        self.names = list(self._columns([nothing], np.zeros(1, dtype=np.int64)))

    def describe(
        self,
        query: Query,
        rows: Ids,
        scores: Mapping[str, Scores],
        evidence: Evidence,
        experts: Mapping[str, Array],
        facts: CandidateFacts,
    ) -> Described:
        """Describe candidates before further events are counted.

        Args:
            query: the window.
            rows: (m,) candidates.
            scores: source -> scores, of all sources but the models.
            evidence: behind them.
            experts: model -> (m,) log probabilities of the candidates.
            facts: of the candidates.
        """
        of_sources = [*(scores[name].at(rows) for name in self._sources), *(experts[name] for name in self._experts)]
        of_items = [facts.counts, facts.ages, facts.idle, facts.text_last, facts.taken_before]
        values = np.concatenate([*of_sources, *of_items]).reshape(len(of_sources) + len(of_items), len(rows))
        best_model = float(experts[self._experts[0]].max(initial=LEAST_LOG)) if self._experts else LEAST_LOG
        of_window = [*evidence.totals, evidence.neighbours, facts.distinct, query.recent, query.opened, best_model]
        placed = places(values[self._placed_at])
        return Described(np.concatenate([values, placed]), np.array([*of_window, evidence.popularity]))

    def of(self, described: Sequence[Described]) -> list[NDArray[np.float32]]:
        """(m, features) of the candidates of each of n windows, at least one."""
        sizes = np.array([one.values.shape[1] for one in described])
        columns = self._columns(described, sizes)
        features = np.empty((int(sizes.sum()), len(columns)), dtype=np.float32)
        for index, (name, column) in enumerate(columns.items()):
            features[:, index] = column.repeat(sizes) if name.startswith("window_") else column
        return np.split(features, np.cumsum(sizes)[:-1])

    def _columns(self, described: Sequence[Described], sizes: Ids) -> dict[str, Array]:
        """Feature -> values of all candidates of n windows, or (n,) values of the windows."""
        at = dict(zip(self._values, np.concatenate([one.values for one in described], axis=1), strict=True))
        window = dict(zip(OF_WINDOW, np.stack([one.of_window for one in described], axis=1), strict=True))
        columns: dict[str, Array] = {}
        shortest, longest = self._half_lives[0], self._half_lives[-1]
        logs = {name: np.log(at[name] + SMALL) for name in (*self._half_lives, REGION)}
        columns |= {f"log_{name}": logs[name] for name in self._half_lives}
        columns["trend"] = logs[shortest] - logs[longest]
        columns["region"] = logs[REGION] - logs[longest]
        for name in TRANSITIONS:
            columns[f"log_{name}"] = np.log(at[name] / (window[name] + 1.0).repeat(sizes) + 1e-5)
            columns[f"window_evidence_{name}"] = np.log1p(window[name])
        columns["neighbours"] = at[NEIGHBOURS]
        columns["log_neighbours"] = np.log(at[NEIGHBOURS] + 1e-3)
        columns["window_evidence_neighbours"] = window[NEIGHBOURS]
        columns |= {name: at[name] for name in (TEXT, "text_last", *self._own)}
        columns |= self._of_experts(at, window["best_model"])
        columns |= {name: at[name] for name in _places_of(self._placed)}
        columns |= {name: np.log1p(at[name]) for name in ("count", "age", "idle")}
        return columns | {
            "taken_before": at["taken_before"],
            "window_history": np.log1p(window["history"]),
            "window_recent": window["recent"],
            "window_opened": window["opened"],
            "window_best_popularity": np.log(window["best_popularity"] + SMALL),
        }

    def _of_experts(self, at: Mapping[str, Array], best: Array) -> dict[str, Array]:
        columns = {name: at[name] for name in self._experts}
        if len(self._experts) > 1:
            columns["model_minus_backbone"] = at[self._experts[0]] - at[self._experts[1]]
        if self._experts:
            columns["window_best_model"] = best
        return columns


def _places_of(names: Sequence[str]) -> list[str]:
    return [f"place_{name}" for name in names]


def places(scores: Values) -> Array:
    """(s, m) 1 / (3 + place) of each of m scores of s sources, the highest first; ties in their order."""
    order = np.argsort(-scores, axis=1, kind="stable")
    reciprocal = np.empty(scores.shape)
    reciprocal[np.arange(len(scores))[:, None], order] = 1.0 / (3.0 + np.arange(scores.shape[1]))
    return reciprocal
