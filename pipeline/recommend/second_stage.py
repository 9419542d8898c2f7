"""Second stage: candidates from several sources, ranked by a network that learns from every event.

    window ──► sources propose items ──► features of each ──► network ──► list
    event  ──► counts of the sources; after each batch of events, one step of the network

A target outside the candidates is a miss whatever the length of the list. Counts follow each event before the next one
is scored; the weights of the network are those of the last batch.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipeline.arrays import Array, is_among
from pipeline.config import Config
from pipeline.events.allowed import Allowed
from pipeline.events.candidate_scores import CandidateScores, log_probabilities
from pipeline.events.windows import PADDING, Ids
from pipeline.metrics.ranking import NOT_SCORED
from pipeline.online.decayed_popularity import DecayedPopularity
from pipeline.online.item_neighbours import ItemNeighbours
from pipeline.online.item_recency import ItemRecency
from pipeline.online.item_transitions import ItemTransitions
from pipeline.online.loops import compile_loops
from pipeline.online.sparse_scores import SparseScores
from pipeline.recommend.candidates.expert import ExpertItems
from pipeline.recommend.candidates.neighbours import NeighbourItems
from pipeline.recommend.candidates.newest import NewestItems
from pipeline.recommend.candidates.own import OwnItems
from pipeline.recommend.candidates.popularity import PopularItems, RegionalPopularity
from pipeline.recommend.candidates.query import Query
from pipeline.recommend.candidates.scores import RankedScores, Scores
from pipeline.recommend.candidates.source import CandidateSource, SparseSource, TieOrder, best, union
from pipeline.recommend.candidates.text import TextNeighbours, Texts, TextsLike, all_texts
from pipeline.recommend.candidates.transitions import NextItems, NextOfLast
from pipeline.recommend.events import Event, Retained, rank_in
from pipeline.recommend.found import Candidates, Found, lists_of, with_features
from pipeline.recommend.item_lists import ItemLists
from pipeline.recommend.ranking.features import NEIGHBOURS, TRANSITIONS, CandidateFacts, Evidence, FeatureTable
from pipeline.recommend.ranking.network import RankedList, RankingNetwork
from pipeline.setup.artifacts import SetUp

SEED = 0
"""Seed of the network's initial weights, the same for replay, gate and server."""

PASSES = 3
"""Passes over the held-out windows of set-up before the stream."""

KEPT = 1_024
"""Lists of set-up that are learned more than once."""


class _Asked(NamedTuple):
    """Scores of the sources for one window.

    Attributes:
        sparse: those of transitions and neighbours.
        scores: source -> scores, of all that propose items but the models.
    """

    sparse: Mapping[str, SparseScores]
    scores: Mapping[str, RankedScores]


class _Batch(NamedTuple):
    """Events between two steps of the network.

    Attributes:
        events: of the stream.
        texts: scores by text after each of their windows.
        beside: windows of set-up that are learned with them, and the scores by text after each.
    """

    events: Sequence[Event]
    texts: Sequence[RankedScores]
    beside: Sequence[tuple[Event, RankedScores]]


class SecondStage:
    """Sources, features and network.

    Args:
        setup: the state before any event.
        config: sections `trend`, `windows` and `ranking`.
        regions: number of set-up regions that are counted.
        experts: names of the models in `Query.experts`, the adapted one first.
        texts: text embeddings in force.
        ids: id of every catalogue row; it may grow.
        like: finds texts in a large catalogue.

    Attributes:
        features: names and computation of the features.
        lists: lists by the same counts.
        events: number of events of this gate counted since set-up.
        started: True once the events of set-up are counted.
    """

    def __init__(
        self,
        setup: SetUp,
        config: Config,
        regions: int,
        experts: Sequence[str],
        texts: Texts,
        ids: Sequence[str],
        like: TextsLike = all_texts,
    ) -> None:
        compile_loops()
        trend, ranking, length = config.trend, config.ranking, config.windows.length
        half_lives, most = trend.half_lives, ranking.candidates
        self._popularity = DecayedPopularity(setup.counts, regions, half_lives, trend.shrinkage)
        self._recent = ItemTransitions(trend.followed_events, length)
        self._all = ItemTransitions(ranking.events, length)
        self._neighbours = ItemNeighbours(ranking.events, ranking.history)
        self._recency = ItemRecency()
        self._popular = [PopularItems(self._popularity, i, h, most) for i, h in enumerate(half_lives)]
        self._regional = RegionalPopularity(self._popularity, len(half_lives) // 2)
        following = [NextItems("next_recent", self._recent, most), NextItems("next_all", self._all, most)]
        of_last = [NextOfLast("next_recent_last", self._recent), NextOfLast("next_all_last", self._all)]
        neighbours = NeighbourItems(self._neighbours, ranking.history, most)
        self._sparse: list[SparseSource] = [*following, *of_last, neighbours]
        self._own = OwnItems(ranking.history) if config.windows.repeats else None
        self._others: list[CandidateSource] = [NewestItems(self._recency), *([self._own] if self._own else [])]
        self._text = TextNeighbours(texts, most, like)
        self.lists = ItemLists(self._popularity, trend.shrinkage, self._recency, neighbours, self._text)
        self._experts = [ExpertItems(name, most) for name in experts]
        counted: list[CandidateSource] = [*self._popular, *following, neighbours, *self._others]
        self._most = {source.name: source.most for source in (*counted, self._text, *self._experts)}
        self._order = TieOrder(len(setup.catalogue), ids)
        self.features = FeatureTable([source.name for source in self._popular], experts, repeats=self._own is not None)
        self._batch, self._history = ranking.batch, ranking.history
        self._network = RankingNetwork(len(self.features.names), ranking.learning_rate, ranking.batch, SEED)
        self.events, self.started = 0, False
        self.resize(len(setup.catalogue))

    @property
    def memory_bytes(self) -> int:
        """Bytes of counts and weights."""
        return sum(array.nbytes for array in self.to_arrays().values())

    # Ranking.

    def candidates(self, queries: Sequence[Query], allowed: Sequence[Allowed]) -> list[Candidates]:
        """Find the candidates of n windows, and describe them."""
        asked = zip(queries, allowed, self._text.scores_together(queries), strict=True)
        return with_features(self.features, [self._find(query, items, text) for query, items, text in asked])

    def scores(self, candidates: Sequence[Candidates]) -> list[NDArray[np.float32]]:
        """(m,) scores of the candidates of each of n windows, higher is better."""
        if not candidates:
            return []
        together = self._network.scores(np.concatenate([one.features for one in candidates]))
        return np.split(together, np.cumsum([len(one.rows) for one in candidates])[:-1])

    def contributions(self, candidates: Candidates) -> NDArray[np.float32]:
        """(m, features) part of each feature in the scores; see `RankingNetwork.contributions`."""
        return self._network.contributions(candidates.features)

    def rank(self, query: Query, allowed: Allowed, target: int) -> int:
        """Rank of a target after a window, 1 = top; see `rank_in`."""
        candidates = self.candidates([query], [allowed])
        return rank_in(candidates[0].rows, self.scores(candidates)[0], target, allowed)

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
        for batch in self._batches(events, retained):
            found = self._find_and_count(batch)
            ranks += self._ranks(batch.events, found)
            written += [None if one is None else one.to_scores() for one in found]
            lists = [None if one is None else one.list_of(e.target) for one, e in zip(found, batch.events, strict=True)]
            self._learn([one for one in lists if one is not None], batch)
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
        known = iter(written)
        for batch in self._batches(events, retained):
            self._learn(self._lists_again(batch, list(islice(known, len(batch.events)))), batch)

    def begin(self, events: Iterable[tuple[Query, int, bool]]) -> None:
        """Start from set-up: count its events, and learn from the held-out ones.

        Args:
            events: window, target and whether it was held out, in event order; only the latter need models.
        """
        kept: list[RankedList] = []
        taken = self._recency.counts > 0.0
        for query, target, is_held_out in events:
            if not is_held_out:
                self.count(query, target)
                taken[target] = target != PADDING
                continue
            allowed = Allowed(taken, query.window[:0] if self._own else query.window)
            found = self.candidates([query], [allowed])[0].list_of(target)
            if found is not None:
                kept.append(found)
        self._learn_kept(kept[-KEPT:])
        self.events, self.started = 0, True

    def count(self, query: Query, target: int) -> None:
        """Count an event in every source, and as one of this gate."""
        self.count_elsewhere(query, target)
        self.events += 1

    def count_elsewhere(self, query: Query, target: int) -> None:
        """Count an event of another gate in every source."""
        self._popularity.add(query.setup_shares, target)
        self._recent.add(query.taken_context, target)
        self._all.add(query.taken_context, target)
        self._neighbours.add(query.history(self._history), target)
        self._recency.add(target)

    # Catalogue and state.

    def resize(self, items: int) -> None:
        """Make room for catalogue rows up to `items`."""
        self._popularity.resize(items)
        self._neighbours.resize(items)
        self._recency.resize(items)

    def forget(self, rows: Sequence[int]) -> None:
        """Drop what is counted of (m,) catalogue rows, which other items may get."""
        if len(rows):
            gone = np.array(rows, dtype=np.int64)
            for part in (self._popularity, self._recent, self._all, self._neighbours, self._recency):
                part.forget(gone)

    def popularity_ranks(self, events: Sequence[Event]) -> list[int]:
        """Ranks of the targets by decayed popularity as it stands, 0 where they are no candidates.

        Args:
            events: of one batch, so that the same items exist for all but for a few.
        """
        ranked = [(event.target, event.allowed) for event in events if event.allowed is not None]
        ranks = iter(self._popularity.ranks([target for target, _ in ranked], [allowed for _, allowed in ranked]))
        return [NOT_SCORED if event.allowed is None else next(ranks) for event in events]

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
            if of is not self._network:
                of.restore(_part_of(arrays, part), rows)
        self.restore_weights(arrays)
        self.resize(int(rows.max(initial=0)))
        self.events, self.started = int(arrays["events"]), True

    def restore_weights(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Take over what was learned, and not what was counted, from the result of `to_arrays`."""
        self._network.restore(_part_of(arrays, "network"))

    def has_weights_like(self, arrays: Mapping[str, NDArray[Any]]) -> bool:
        """True for weights over the same features, by the result of `to_arrays`."""
        mine, theirs = self._network.to_arrays(), _part_of(arrays, "network")
        return all(name in theirs and theirs[name].shape == array.shape for name, array in mine.items())

    def _parts(self) -> list[tuple[str, Any]]:
        names = ("popularity", "recent", "all", "neighbours", "recency", "network")
        pairs: tuple[Any, ...] = (self._recent, self._all)
        return list(zip(names, (self._popularity, *pairs, self._neighbours, self._recency, self._network), strict=True))

    def _batches(self, events: Sequence[Event], retained: Retained) -> Iterator[_Batch]:
        """Events in batches; what does not depend on counts is computed for all of them together."""
        beside = retained(self.events, len(events))
        learned = [event for event in beside if event is not None]
        texts = self._text.scores_together([event.query for event in (*events, *learned)])
        of_learned = iter(texts[len(events) :])
        besides = [None if event is None else (event, next(of_learned)) for event in beside]
        for start in range(0, len(events), self._batch):
            part = slice(start, start + self._batch)
            yield _Batch(events[part], texts[: len(events)][part], [one for one in besides[part] if one is not None])

    def _find_and_count(self, batch: _Batch) -> list[Candidates | None]:
        """Candidates of each event, found before it is counted; None where the target is none."""
        found = []
        for event, text in zip(batch.events, batch.texts, strict=True):
            found.append(None if event.allowed is None else self._find(event.query, event.allowed, text))
            self.count(event.query, event.target)
        described = iter(with_features(self.features, [one for one in found if one is not None]))
        return [None if one is None else next(described) for one in found]

    def _lists_again(self, batch: _Batch, written: Sequence[CandidateScores | None]) -> list[RankedList]:
        """Lists of events that were ranked before, each by the counts before it; they are counted."""
        found, targets = [], []
        for event, text, known in zip(batch.events, batch.texts, written, strict=True):
            if known is not None:
                rows, experts, before = known.unpacked()
                asked = self._ask(event.query, text)
                found.append(self._describe(event.query, asked, rows, experts, before, known.distinct, {}))
                targets.append(event.target)
            self.count(event.query, event.target)
        return lists_of(with_features(self.features, found), targets)

    def _find(self, query: Query, allowed: Allowed, text: RankedScores) -> Found:
        """Candidates of a window by the counts as they are."""
        asked = self._ask(query, text)
        scores = dict(asked.scores) | {source.name: source.scores(query) for source in self._experts}
        found = {name: best(scores[name], allowed, most, self._order) for name, most in self._most.items()}
        rows, taken = union(found.values(), self._order), query.taken
        experts = {source.name: log_probabilities(query.experts[source.name].at(rows)) for source in self._experts}
        before = is_among(rows, taken).astype(np.float64)
        return self._describe(query, asked, rows, experts, before, len(taken), found)

    def _ask(self, query: Query, text: RankedScores) -> _Asked:
        """Scores of all sources but the models, those of the text as given."""
        sparse = {source.name: source.scores(query) for source in self._sparse}
        others = {source.name: source.scores(query) for source in (*self._popular, *self._others)}
        return _Asked(sparse, {**others, **sparse, self._text.name: text})

    def _describe(
        self,
        query: Query,
        asked: _Asked,
        rows: Ids,
        experts: Mapping[str, Array],
        taken_before: Array,
        distinct: int,
        found_by: Mapping[str, Ids],
    ) -> Found:
        recency, last = self._recency, self._text.to_last(query, rows)
        of_items = (recency.counts[rows], recency.ages(rows), recency.idle(rows))
        facts = CandidateFacts(*of_items, last, taken_before, distinct)
        totals = [asked.sparse[name].total for name in TRANSITIONS]
        evidence = Evidence(totals, asked.sparse[NEIGHBOURS].highest, self._popular[0].highest)
        scores: dict[str, Scores] = {**asked.scores, self._regional.name: self._regional.scores(query)}
        described = self.features.describe(query, rows, scores, evidence, experts, facts)
        return Found(rows, experts, taken_before, distinct, found_by, described)

    def _ranks(self, batch: Sequence[Event], found: Sequence[Candidates | None]) -> list[int]:
        scores = iter(self.scores([one for one in found if one is not None]))
        return [
            NOT_SCORED
            if one is None or event.allowed is None
            else rank_in(one.rows, next(scores), event.target, event.allowed)
            for event, one in zip(batch, found, strict=True)
        ]

    def _learn(self, lists: list[RankedList], batch: _Batch) -> None:
        """Take a step over lists of events and of the set-up windows beside them."""
        beside = [(event, text) for event, text in batch.beside if event.allowed is not None]
        found = [self._find(e.query, e.allowed, text) for e, text in beside if e.allowed is not None]
        lists += lists_of(with_features(self.features, found), [event.target for event, _ in beside])
        self._network.learn(lists, len(batch.events))

    def _learn_kept(self, kept: Sequence[RankedList]) -> None:
        random = np.random.default_rng(SEED)
        for number in range(PASSES):
            order = np.arange(len(kept)) if not number else random.permutation(len(kept))
            for start in range(0, len(order), self._batch):
                batch = [kept[i] for i in order[start : start + self._batch].tolist()]
                self._network.learn(batch, len(batch))


def _part_of(arrays: Mapping[str, NDArray[Any]], part: str) -> dict[str, NDArray[Any]]:
    """Arrays of one part, by their names in it."""
    front = f"{part}."
    return {name.removeprefix(front): array for name, array in arrays.items() if name.startswith(front)}
