"""Second stage: candidates from several sources, ranked by a network that learns from every event.

    window ──► sources propose items ──► features of each ──► network ──► list
    event  ──► counts of the sources; after each batch of events, one step of the network

A target outside the candidates is a miss whatever the length of the list. Counts follow each event before the next one
is scored; the weights of the network are those of the last batch.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.arrays import Array
from pipeline.config import Config
from pipeline.events.candidate_scores import CandidateScores, log_probabilities
from pipeline.events.windows import PADDING, Ids
from pipeline.metrics.ranking import NOT_SCORED
from pipeline.online.decayed_popularity import DecayedPopularity
from pipeline.online.item_neighbours import ItemNeighbours
from pipeline.online.item_recency import ItemRecency
from pipeline.online.item_transitions import ItemTransitions
from pipeline.recommend.candidates.expert import ExpertItems
from pipeline.recommend.candidates.neighbours import NeighbourItems
from pipeline.recommend.candidates.newest import NewestItems
from pipeline.recommend.candidates.own import OwnItems
from pipeline.recommend.candidates.popularity import PopularItems, RegionalItems
from pipeline.recommend.candidates.query import Query
from pipeline.recommend.candidates.source import CandidateSource, Scores, TieOrder, best, union
from pipeline.recommend.candidates.text import TextNeighbours, Texts
from pipeline.recommend.candidates.transitions import NextItems
from pipeline.recommend.events import Allowed, Event, Retained, rank_in
from pipeline.recommend.ranking.features import RECENT, CandidateFacts, FeatureTable
from pipeline.recommend.ranking.network import RankedList, RankingNetwork
from pipeline.setup.artifacts import SetUp

SEED = 0
"""Seed of the network's initial weights, the same for replay, gate and server."""

PASSES = 3
"""Passes over the held-out windows of set-up before the stream."""

KEPT = 1_024
"""Lists of set-up that are learned more than once."""


@dataclass(frozen=True)
class Candidates:
    """Candidates of one window.

    Attributes:
        rows: (m,) in the order of ties, see `TieOrder`.
        experts: model -> (m,) log probabilities, in half precision.
        features: (m, features).
        taken_before: (m,) 1 for items that the user took before, else 0.
        distinct: number of distinct items that the user took, as far as they are remembered.
        found_by: source -> rows that it proposed; empty where it was not asked.
    """

    rows: Ids
    experts: Mapping[str, Array]
    features: NDArray[np.float32]
    taken_before: Array
    distinct: int
    found_by: Mapping[str, Ids]

    def to_scores(self) -> CandidateScores:
        """Return what cannot be computed again, for the record of the event."""
        return CandidateScores.of(self.rows, self.experts, self.taken_before, self.distinct)

    def sources_of(self, row: int) -> tuple[str, ...]:
        """Sources that proposed a candidate."""
        return tuple(source for source, rows in self.found_by.items() if row in rows)

    def list_of(self, target: int) -> RankedList | None:
        """The list for learning; None where the target is not among the candidates."""
        places = np.flatnonzero(self.rows == target)
        return RankedList(self.features, int(places[0])) if len(places) else None


class SecondStage:
    """Sources, features and network.

    Args:
        setup: the state before any event.
        config: sections `trend`, `windows` and `ranking`.
        regions: number of set-up regions that are counted.
        experts: names of the models in `Query.experts`, the adapted one first.
        texts: text embeddings in force.
        ids: id of every catalogue row; it may grow.

    Attributes:
        features: names and computation of the features.
        events: number of events counted since set-up.
        started: True once the events of set-up are counted.
    """

    def __init__(
        self, setup: SetUp, config: Config, regions: int, experts: Sequence[str], texts: Texts, ids: Sequence[str]
    ) -> None:
        trend, ranking, length = config.trend, config.ranking, config.windows.length
        half_lives, most = trend.half_lives, ranking.candidates
        self._popularity = DecayedPopularity(setup.counts, regions, half_lives, trend.shrinkage)
        self._recent = ItemTransitions(trend.followed_events, length)
        self._all = ItemTransitions(ranking.events, length)
        self._neighbours = ItemNeighbours(ranking.events, ranking.history)
        self._recency = ItemRecency()
        popular = [PopularItems(self._popularity, i, h, most) for i, h in enumerate(half_lives)]
        self._next = [
            NextItems("next_recent", self._recent, most),
            NextItems("next_all", self._all, most),
            NextItems("next_recent_last", self._recent, 0, last_only=True),
            NextItems("next_all_last", self._all, 0, last_only=True),
        ]
        self._own = OwnItems(ranking.history) if config.windows.repeats else None
        self._order = TieOrder(len(setup.catalogue), ids)
        self._text = TextNeighbours(texts, most)
        self._experts = [ExpertItems(name, most) for name in experts]
        self._sources: list[CandidateSource] = [
            *popular,
            RegionalItems(self._popularity, len(half_lives) // 2, len(half_lives), 0),
            *self._next,
            NeighbourItems(self._neighbours, ranking.history, most),
            NewestItems(self._recency),
            *([self._own] if self._own else []),
        ]
        self.features = FeatureTable([source.name for source in popular], experts, repeats=self._own is not None)
        self._batch, self._history = ranking.batch, ranking.history
        names = self.features.names
        self._network = RankingNetwork(len(names), names.index(RECENT), ranking.learning_rate, ranking.batch, SEED)
        self.events, self.started = 0, False
        self.resize(len(setup.catalogue))

    @property
    def memory_bytes(self) -> int:
        """Bytes of counts and weights."""
        return sum(array.nbytes for array in self.to_arrays().values())

    # Ranking.

    def candidates(self, query: Query, allowed: Allowed) -> Candidates:
        """Find the candidates of a window, and describe them."""
        return self._candidates(query, allowed, self._text.scores(query))

    def _candidates(self, query: Query, allowed: Allowed, text: Scores) -> Candidates:
        scores, rows = self._scores(query, text), np.flatnonzero(allowed)
        sources = [source for source in (*self._sources, self._text) if source.most]
        found = {s.name: best(scores[s.name], rows, s.most, s.least, self._order) for s in sources}
        found |= {s.name: best(s.scores(query), rows, s.most, s.least, self._order) for s in self._experts}
        rows = union(found.values(), self._order)
        experts = {s.name: log_probabilities(query.experts[s.name][rows]) for s in self._experts}
        taken = query.taken
        before = np.isin(rows, taken).astype(np.float64)
        features = self._describe(query, rows, scores, experts, before, len(taken))
        return Candidates(rows, experts, features, before, len(taken), found)

    def scores(self, candidates: Candidates) -> NDArray[np.float32]:
        """(m,) scores of candidates, higher is better."""
        return self._network.scores(candidates.features)

    def contributions(self, candidates: Candidates) -> NDArray[np.float32]:
        """(m, features) part of each feature in the scores; see `RankingNetwork.contributions`."""
        return self._network.contributions(candidates.features)

    def rank(self, query: Query, allowed: Allowed, target: int) -> int:
        """Rank of a target after a window, 1 = top; see `rank_in`."""
        candidates = self.candidates(query, allowed)
        return rank_in(candidates.rows, self.scores(candidates), target, allowed)

    # Learning.

    def rank_and_learn(
        self, events: Sequence[Event], retained: Retained
    ) -> tuple[list[int], list[CandidateScores | None]]:
        """Rank the targets of events in their order; each is counted before the next one is ranked.

        Args:
            events: at least one.
            retained: gives held-out set-up windows that are learned beside them.

        Returns:
            The rank of each target, 0 where it is no candidate, and the models' scores of the candidates.
        """
        ranks: list[int] = []
        written: list[CandidateScores | None] = []
        for start in range(0, len(events), self._batch):
            batch = events[start : start + self._batch]
            found = []
            texts = self._text.scores_together([event.query for event in batch])
            for event, text in zip(batch, texts, strict=True):
                found.append(None if event.allowed is None else self._candidates(event.query, event.allowed, text))
                self.count(event.query, event.target)
            ranks += self._ranks(batch, found)
            written += [None if one is None else one.to_scores() for one in found]
            lists = [None if one is None else one.list_of(e.target) for one, e in zip(found, batch, strict=True)]
            self._learn([one for one in lists if one is not None], len(batch), retained)
        return ranks, written

    def learn_again(
        self,
        events: Sequence[Event],
        written: Sequence[CandidateScores | None],
        retained: Retained,
    ) -> None:
        """Learn from events that `rank_and_learn` ranked together, with the same result to the bit.

        Args:
            events: their windows and targets; neither models nor `allowed` are read.
            written: as it returned them.
            retained: as for `rank_and_learn`.
        """
        for start in range(0, len(events), self._batch):
            lists = []
            batch = events[start : start + self._batch]
            texts = self._text.scores_together([event.query for event in batch])
            for event, text, known in zip(batch, texts, written[start : start + self._batch], strict=True):
                if known is not None:
                    lists.append(self._again(event.query, text, known).list_of(event.target))
                self.count(event.query, event.target)
            self._learn([one for one in lists if one is not None], len(batch), retained)

    def begin(self, events: Iterable[tuple[Query, int, bool]]) -> None:
        """Start from set-up: count its events, and learn from the held-out ones.

        Args:
            events: window, target and whether it was held out, in event order; only the latter need models.
        """
        kept: list[RankedList] = []
        for query, target, is_held_out in events:
            if not is_held_out:
                self.count(query, target)
                continue
            found = self.candidates(query, self._allowed_in_setup(query)).list_of(target)
            if found is not None:
                kept.append(found)
        self._learn_kept(kept[-KEPT:])
        self.events, self.started = 0, True

    def count(self, query: Query, target: int) -> None:
        """Count an event in every source."""
        self._popularity.add(query.setup_shares, target)
        self._recent.add(query.context, target)
        self._all.add(query.context, target)
        self._neighbours.add(query.history(self._history), target)
        self._recency.add(target)
        self.events += 1

    # Catalogue and state.

    def resize(self, items: int) -> None:
        """Make room for catalogue rows up to `items`."""
        self._popularity.resize(items)
        self._neighbours.resize(items)
        self._recency.resize(items)
        for source in self._next:
            source.resize(items)
        if self._own is not None:
            self._own.resize(items)

    def forget(self, rows: Sequence[int]) -> None:
        """Drop what is counted of (m,) catalogue rows, which other items may get."""
        if len(rows):
            gone = np.array(rows, dtype=np.int64)
            for part in (self._popularity, self._recent, self._all, self._neighbours, self._recency):
                part.forget(gone)

    def popularity_rank(self, target: int, excluded: Ids) -> int:
        """See `DecayedPopularity.rank`."""
        return self._popularity.rank(target, excluded)

    def overall(self) -> Array:
        """(items + 1,) decayed popularity over all users, by the shortest half-life."""
        return self._popularity.overall_by(0)

    def to_arrays(self) -> dict[str, NDArray[Any]]:
        """Return everything counted and learned; `restore` continues from it to the bit."""
        arrays = {f"{part}.{name}": array for part, of in self._parts() for name, array in of.to_arrays().items()}
        return {**arrays, "events": np.array(self.events)}

    def restore(self, arrays: Mapping[str, NDArray[Any]], rows: Ids) -> None:
        """Continue from the result of `to_arrays`.

        Args:
            arrays: with k + 1 catalogue rows of the process that wrote them.
            rows: (k + 1,) row here of each of them, 0 for an item that is not known here.
        """
        for part, of in self._parts():
            front = f"{part}."
            own = {name.removeprefix(front): array for name, array in arrays.items() if name.startswith(front)}
            if isinstance(of, RankingNetwork):
                of.restore(own)
            else:
                of.restore(own, rows)
        self.resize(int(rows.max(initial=0)))
        self.events, self.started = int(arrays["events"]), True

    def _parts(self) -> list[tuple[str, Any]]:
        return [
            ("popularity", self._popularity),
            ("recent", self._recent),
            ("all", self._all),
            ("neighbours", self._neighbours),
            ("recency", self._recency),
            ("network", self._network),
        ]

    def _scores(self, query: Query, text: Scores) -> dict[str, Scores]:
        """Scores of all sources but the models, those of the text as given."""
        return {source.name: source.scores(query) for source in self._sources} | {self._text.name: text}

    def _describe(
        self,
        query: Query,
        rows: Ids,
        scores: Mapping[str, Scores],
        experts: Mapping[str, Array],
        taken_before: Array,
        distinct: int,
    ) -> NDArray[np.float32]:
        recency, last = self._recency, self._text.to_last(query, rows)
        of_items = (recency.counts[rows], recency.ages()[rows], recency.idle()[rows])
        return self.features.of(query, rows, scores, experts, CandidateFacts(*of_items, last, taken_before, distinct))

    def _again(self, query: Query, text: Scores, known: CandidateScores) -> Candidates:
        rows, experts, before = known.unpacked()
        features = self._describe(query, rows, self._scores(query, text), experts, before, known.distinct)
        return Candidates(rows, experts, features, before, known.distinct, {})

    def _ranks(self, batch: Sequence[Event], found: Sequence[Candidates | None]) -> list[int]:
        asked = [one for one in found if one is not None]
        parts: list[NDArray[np.float32]] = []
        if asked:
            together = self._network.scores(np.concatenate([one.features for one in asked]))
            parts = np.split(together, np.cumsum([len(one.rows) for one in asked])[:-1])
        scores = iter(parts)
        return [
            NOT_SCORED
            if one is None or event.allowed is None
            else rank_in(one.rows, next(scores), event.target, event.allowed)
            for event, one in zip(batch, found, strict=True)
        ]

    def _learn(self, lists: list[RankedList], events: int, retained: Retained) -> None:
        """Take a step over lists of events and of held-out set-up windows."""
        held_out = [event for event in retained(self.events, events) if event.allowed is not None]
        texts = self._text.scores_together([event.query for event in held_out]) if held_out else ()
        for event, text in zip(held_out, texts, strict=True):
            if event.allowed is not None:
                found = self._candidates(event.query, event.allowed, text).list_of(event.target)
                if found is not None:
                    lists.append(found)
        self._network.learn(lists, events)

    def _learn_kept(self, kept: Sequence[RankedList]) -> None:
        random = np.random.default_rng(SEED)
        for number in range(PASSES):
            order = np.arange(len(kept)) if not number else random.permutation(len(kept))
            for start in range(0, len(order), self._batch):
                batch = [kept[i] for i in order[start : start + self._batch].tolist()]
                self._network.learn(batch, len(batch))

    def _allowed_in_setup(self, query: Query) -> Allowed:
        allowed = self._recency.counts > 0.0
        allowed[[PADDING, *([] if self._own else query.window.tolist())]] = False
        return allowed
