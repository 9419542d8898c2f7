"""Second stage: candidates, ranks, learning, and what is counted nowhere."""

from collections.abc import Sequence

import numpy as np
import pytest

from pipeline.arrays import Array
from pipeline.events.allowed import Allowed
from pipeline.models.text_vectors import TextVectors
from pipeline.online.dense_scores import DenseScores
from pipeline.recommend.candidates.query import Query
from pipeline.recommend.candidates.source import TieOrder, best
from pipeline.recommend.events import Event, rank_in
from pipeline.recommend.ranking.features import TABLE, places
from pipeline.recommend.ranking.network import RankedList, RankingNetwork
from pipeline.recommend.second_stage import SecondStage
from pipeline.setup.artifacts import SetUp
from tests.replay.small import config

NO_ONE = np.zeros(0, dtype=np.int32)
NO_ROWS = np.zeros(0, dtype=np.int64)


def stage(setup: SetUp, *settings: str, experts: Sequence[str] = ("model", "backbone")) -> SecondStage:
    """A second stage that has counted nothing."""
    vectors = setup.catalogue.vectors
    texts = TextVectors(np.concatenate([np.zeros((1, vectors.shape[1]), dtype=np.float32), vectors]))
    ids = ["", *setup.catalogue.item_ids]
    made = SecondStage(setup, config("ranking.batch=8", *settings), 1, experts, lambda: texts, ids)
    made.begin([])
    return made


def query(setup: SetUp, items: Sequence[int], experts: dict[str, Array] | None = None) -> Query:
    """Window of items, with models that find every item alike unless given."""
    context = np.zeros(config().windows.length, dtype=np.int64)
    context[len(context) - len(items) :] = items
    even = np.full(len(setup.catalogue) + 1, 1.0 / len(setup.catalogue))
    scores = experts or {"model": even, "backbone": even}
    return Query(context, NO_ONE, np.ones(1), 1.0, 0.5, {name: DenseScores(of) for name, of in scores.items()})


def allowed(setup: SetUp, *excluded: int) -> Allowed:
    return Allowed(np.arange(len(setup.catalogue) + 1) > 0, np.array(excluded, dtype=np.int64))


def of_rows(rows: Sequence[int]) -> Allowed:
    return Allowed(np.isin(np.arange(10), rows), NO_ROWS)


def follow(setup: SetUp, ranked: SecondStage, n: int, seed: int = 0) -> list[int]:
    """Ranks of n events in which an even item follows its odd neighbour."""
    rng, events = np.random.default_rng(seed), []
    for _ in range(n):
        odd = 2 * int(rng.integers(1, len(setup.catalogue) // 2 - 1)) + 1
        events.append(Event(query(setup, [odd]), odd + 1, allowed(setup, odd)))
    return ranked.rank_and_learn(events, lambda *_: [])[0]


def test_it_learns_which_source_is_right(setup: SetUp) -> None:
    ranked = stage(setup)
    ranks = np.array(follow(setup, ranked, 600))
    early, late = ranks[:50] <= 3, ranks[-50:] <= 3
    assert late.mean() > early.mean() + 0.5
    assert late.mean() > 0.9


def test_one_item_a_source_is_a_candidate_at_least_and_a_target_outside_is_a_miss(setup: SetUp) -> None:
    ranked = stage(setup, "ranking.candidates=1")
    model = np.full(len(setup.catalogue) + 1, 1e-6)
    model[7] = 0.9
    asked = query(setup, [3], {"model": model, "backbone": model})
    (found,) = ranked.candidates([asked], [allowed(setup, 3)])
    assert 7 in found.rows and "model" in found.sources_of(7)
    assert len(found.rows) < 32
    outside = next(row for row in range(1, len(setup.catalogue)) if row not in found.rows and row != 3)
    assert ranked.rank(asked, allowed(setup, 3), outside) == allowed(setup, 3).count


def test_only_what_is_allowed_is_a_candidate(setup: SetUp) -> None:
    ranked = stage(setup)
    few = np.isin(np.arange(len(setup.catalogue) + 1), [4, 9])
    assert ranked.candidates([query(setup, [3])], [Allowed(few, NO_ROWS)])[0].rows.tolist() == [4, 9]


def test_a_restored_stage_goes_on_to_the_bit(setup: SetUp) -> None:
    one, other = stage(setup), stage(setup)
    follow(setup, one, 100)
    other.restore(one.to_arrays(), np.arange(len(setup.catalogue) + 1))
    assert follow(setup, one, 60, seed=1) == follow(setup, other, 60, seed=1)
    for name, array in one.to_arrays().items():
        np.testing.assert_array_equal(array, other.to_arrays()[name], err_msg=name)


def test_every_feature_is_in_the_table(setup: SetUp) -> None:
    named = {name.replace("*", ""): name for name in TABLE}
    for name in stage(setup).features.names:
        assert name in TABLE or any(name.startswith(start) for start, key in named.items() if "*" in key), name
    alone = stage(setup, experts=()).features.names
    assert not [name for name in alone if "model" in name or "backbone" in name]


def test_an_answer_is_explained_by_the_parts_of_its_score(setup: SetUp) -> None:
    ranked = stage(setup)
    follow(setup, ranked, 300)
    (found,) = ranked.candidates([query(setup, [5])], [allowed(setup, 5)])
    parts, (scores,) = ranked.contributions(found), ranked.scores([found])
    assert parts.shape == (len(found.rows), len(ranked.features.names))
    top = int(scores.argmax())
    assert found.rows[top] == 6
    leading = {ranked.features.names[i] for i in np.argsort(-np.abs(parts[top]))[:8]}
    assert any("next" in name or "neighbours" in name for name in leading)


@pytest.mark.parametrize(("scores", "target", "rank"), [([3, 2, 1], 11, 2), ([1, 1, 1], 10, 2), ([5, 1, 1], 12, 2)])
def test_ranks_are_those_among_candidates(scores: list[int], target: int, rank: int) -> None:
    everything = Allowed(np.ones(20, dtype=np.bool_), NO_ROWS)
    assert rank_in(np.array([10, 11, 12]), np.array(scores, dtype=np.float32), target, everything) == rank


def test_the_best_rows_and_their_places() -> None:
    scores = np.array([9.0, 1.0, 5.0, 5.0, 0.0, 7.0])
    of_setup, by_id = TieOrder(5, "_abcde"), TieOrder(1, "_azyxw")

    def found(rows: Sequence[int], most: int, least: float, order: TieOrder) -> list[int]:
        return sorted(best(DenseScores(scores, least), of_rows(rows), most, order).tolist())

    everything = [1, 2, 3, 4, 5]
    assert found([1, 2, 3, 4], 2, -np.inf, of_setup) == [2, 3]
    assert found(everything, 2, -np.inf, of_setup) == [2, 5], "those of set-up by row"
    assert found(everything, 2, -np.inf, by_id) == [3, 5], "others by id: y before z"
    assert found([1, 4], 2, 0.0, of_setup) == [1]
    assert found([5, 8], 2, 0.0, of_setup) == [5], "a row without a score is none"
    assert by_id.sorted(np.array(everything)).tolist() == [1, 5, 4, 3, 2]
    np.testing.assert_allclose(places(scores[None, :3]), [[1 / 3, 1 / 5, 1 / 4]])


def test_a_step_of_fewer_events_is_shorter_in_proportion() -> None:
    features = np.random.default_rng(0).normal(size=(6, 3)).astype(np.float32)
    moved = {}
    for events in (8, 2):
        network = RankingNetwork(3, 0.01, 8, seed=0)
        before = network.to_arrays()["weights"]
        network.learn([RankedList(features, 1)], events)
        moved[events] = np.abs(network.to_arrays()["weights"] - before).max()
    assert moved[2] == pytest.approx(moved[8] / 4, rel=1e-4)
