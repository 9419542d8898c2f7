"""Candidate sources against scores of all items: the same best ones, whatever is forgotten, withdrawn, tied or new."""

import math
from dataclasses import dataclass, field

import numpy as np
import pytest

from pipeline.arrays import Array
from pipeline.events.allowed import Allowed
from pipeline.events.windows import Ids
from pipeline.models.text_vectors import TextVectors
from pipeline.online import popularity_pool
from pipeline.online.decayed_popularity import DecayedPopularity, base_probabilities, probability_of_new
from pipeline.online.dense_scores import DenseScores
from pipeline.online.item_neighbours import ItemNeighbours
from pipeline.online.item_recency import ItemRecency
from pipeline.online.item_transitions import ItemTransitions
from pipeline.recommend.candidates.expert import ExpertItems
from pipeline.recommend.candidates.neighbours import NeighbourItems
from pipeline.recommend.candidates.newest import NewestItems
from pipeline.recommend.candidates.own import OwnItems
from pipeline.recommend.candidates.popularity import PopularItems, RegionalPopularity
from pipeline.recommend.candidates.query import Query
from pipeline.recommend.candidates.source import CandidateSource, TieOrder, best
from pipeline.recommend.candidates.text import TextNeighbours, all_texts
from pipeline.recommend.candidates.transitions import NextItems

HALF_LIVES, REGIONS, LENGTH, HISTORY, MOST = (5.0, 40.0, 400.0), 3, 4, 6, 5

SHRINKAGE = 10.0


@dataclass
class World:
    """Counts of a random stream over a catalogue that grows, and the sources that read them."""

    setup: int
    seed: int
    items: int = field(init=False)

    def __post_init__(self) -> None:
        self.rng, self.items = np.random.default_rng(self.seed), self.setup
        self.usual = self.rng.integers(0, 4, self.setup + 1)
        self.popularity = DecayedPopularity(self.usual, REGIONS, HALF_LIVES, SHRINKAGE)
        self.transitions, self.neighbours = ItemTransitions(60, LENGTH), ItemNeighbours(60, HISTORY)
        self.recency, self.texts = ItemRecency(), np.zeros((1, 8), dtype=np.float32)
        shuffled = self.rng.permutation(4_000)
        self.order = TieOrder(self.setup, ["", *(f"{i:04d}" for i in shuffled.tolist())])
        self.resize(self.setup)
        popular = [PopularItems(self.popularity, i, h, MOST) for i, h in enumerate(HALF_LIVES)]
        self.sources: list[tuple[CandidateSource, float]] = [
            *((source, -math.inf) for source in popular),
            (NextItems("next", self.transitions, MOST), 0.0),
            (NeighbourItems(self.neighbours, HISTORY, MOST), 0.0),
            (NewestItems(self.recency), -math.inf),
            (OwnItems(HISTORY), 0.0),
            (TextNeighbours(lambda: TextVectors(self.texts), MOST, all_texts), 0.0),
            (ExpertItems("model", MOST), -math.inf),
        ]
        self.shortest = popular[0]

    def resize(self, items: int) -> None:
        self.items = items
        for part in (self.popularity, self.neighbours, self.recency):
            part.resize(items)
        more = self.rng.normal(size=(items + 1 - len(self.texts), 8)).astype(np.float32)
        self.texts = np.concatenate([self.texts, more])

    def rows(self, number: int) -> Ids:
        """Random rows, of which the first ones are far more frequent, and padding."""
        return np.minimum(self.rng.geometric(min(0.5, 8.0 / self.items), number) - 1, self.items)

    def query(self) -> Query:
        context = np.sort(self.rows(LENGTH) * (self.rng.random(LENGTH) < 0.9))
        shares = self.rng.dirichlet([0.4] * REGIONS)
        coarse = self.rng.integers(0, 3 * MOST, self.items + 1) / (3.0 * MOST)
        return Query(context, np.unique(self.rows(HISTORY)), shares, 0.0, 0.0, {"model": DenseScores(coarse)})

    def step(self) -> Query:
        """Count an event, and let items come and go now and then; the next window."""
        query, row = self.query(), int(self.rows(1)[0])
        self.popularity.add(query.setup_shares, row)
        self.transitions.add(query.context, row)
        self.neighbours.add(query.history(HISTORY), row)
        self.recency.add(row)
        if self.rng.random() < 0.1:
            self.resize(self.items + int(self.rng.integers(1, 6)))
        if self.rng.random() < 0.1:
            gone = np.unique(self.rng.integers(1, self.items + 1, 3))
            for part in (self.popularity, self.transitions, self.neighbours, self.recency):
                part.forget(gone)
        return self.query()

    def allowed(self, hidden: float) -> Allowed:
        existing = self.rng.random(self.items + 1) >= hidden
        existing[0] = False
        return Allowed(existing, self.rows(LENGTH))


def best_of_all(values: Array, allowed: Allowed, most: int, least: float, order: TieOrder) -> list[int]:
    """The best rows by sorting all of them, those of equal scores in the order of ties."""
    rows = order.sorted(np.flatnonzero(allowed.mask() & (values > least)))
    best_first: list[int] = rows[np.argsort(-values[rows], kind="stable")].tolist()
    return sorted(best_first[:most])


@pytest.mark.parametrize("hidden", [0.0, 0.3, 0.97])
@pytest.mark.parametrize("setup", [2, 30, 600])
def test_the_best_are_those_of_all_items(setup: int, hidden: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(popularity_pool, "EVENTS", 25)
    world = World(setup, seed=setup)
    for _ in range(80):
        query, allowed = world.step(), world.allowed(hidden)
        everything = np.arange(world.items + 1)
        for source, least in world.sources:
            scores = source.scores(query)
            values = scores.at(everything)
            expected = best_of_all(values, allowed, source.most, least, world.order)
            assert sorted(best(scores, allowed, source.most, world.order).tolist()) == expected, source.name
        assert world.shortest.highest == world.popularity.overall_by(0)[1:].max()


def test_scores_of_some_rows_are_those_of_all() -> None:
    world = World(200, seed=1)
    regional = RegionalPopularity(world.popularity, 1)
    for _ in range(60):
        query, rows = world.step(), np.unique(world.rows(30))
        for source, _ in world.sources:
            values = source.scores(query).at(np.arange(world.items + 1))
            np.testing.assert_array_equal(source.scores(query).at(rows), values[rows], err_msg=source.name)
        of_all = world.popularity.regional_by(1, query.setup_shares)
        np.testing.assert_array_equal(regional.scores(query).at(rows), of_all[rows])


def test_ranks_by_popularity_are_those_among_all_items() -> None:
    world = World(40, seed=2)
    for _ in range(60):
        world.step()
        existing = world.rng.random(world.items + 1) > 0.2
        existing[0] = False
        allowed = [Allowed(existing, world.rows(LENGTH)) for _ in range(5)]
        targets = [int(world.rng.choice(np.flatnonzero(one.mask()))) for one in allowed]
        found, arrays = world.popularity.ranks(targets, allowed), world.popularity.to_arrays()
        usual = np.append(base_probabilities(world.usual), np.full(world.items - 40, probability_of_new(world.usual)))
        scores = arrays["counts"][0, -1] + SHRINKAGE * arrays["weight"][0] * usual
        for rank, target, one in zip(found, targets, allowed, strict=True):
            rivals = scores[np.setdiff1d(np.flatnonzero(one.mask()), [target])]
            assert rank == 1 + (rivals > scores[target]).sum() + (rivals == scores[target]).sum() // 2
    assert world.popularity.ranks([], []) == []


def test_a_pool_that_is_collected_at_another_time_finds_the_same() -> None:
    """As after a restart, which begins without a pool."""
    world, again = World(300, seed=3), World(300, seed=3)
    for number in range(300):
        query = world.step()
        again.step()
        if number % 7 == 0:
            again.popularity.restore(again.popularity.to_arrays(), np.arange(again.items + 1))
            again.recency.restore(again.recency.to_arrays(), np.arange(again.items + 1))
        allowed = world.allowed(0.3)
        again.allowed(0.3)
        for (one, _), (other, _) in zip(world.sources, again.sources, strict=True):
            expected = np.sort(best(one.scores(query), allowed, one.most, world.order))
            np.testing.assert_array_equal(np.sort(best(other.scores(query), allowed, one.most, again.order)), expected)
