"""A server over a language model that reads labelled examples: dislikes count as they do in the gate."""

from collections.abc import Iterator
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from pipeline.datasets.dataset import read_dataset
from pipeline.evaluation.protocols import plan_setup
from pipeline.evaluation.replay import prepare
from pipeline.models.seeding import make_deterministic
from pipeline.recommend.backends import BatchedBackend
from pipeline.recommend.scorer import Scorer
from pipeline.setup.artifacts import SetUp
from pipeline.setup.bootstrap import set_up
from tests.replay.small import config, rated, reading
from tests.server import gates, test_recommend, world
from tests.server.world import FIRSTS, LENGTH, Server, World, eventually, histories, serving, taken

SETTINGS = config(
    *("trend.half_lives=[20, 100]", "trend.shrinkage=5", "log.partitions=2", "ranking.events=500"),
    *(f"backbone.{name}={value}" for name, value in reading("examples").items()),
    *("setup.learning_rate=0.01", "data.positive_from=3"),
)


@cache
def examples_setup() -> SetUp:
    make_deterministic()
    dataset = read_dataset(rated())
    learned = plan_setup(dataset, SETTINGS).setup[slice(-400, None)]
    assert (learned.contexts < 0).any()
    return set_up(SETTINGS, prepare(dataset, SETTINGS, lambda *_: None)[1], learned, seed=0)


@pytest.fixture(autouse=True)
def _examples(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Put the set-up and the settings of this file in the place of those of the world."""
    with gates.with_setup(monkeypatch, examples_setup, SETTINGS):
        yield


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path)
    made.open_both()
    made.snapshot(world.fresh_state())
    yield made
    made.close()


@pytest.fixture
def served(opened: World) -> Iterator[Server]:
    with serving(opened, settings=SETTINGS, made=examples_setup) as server:
        yield server


def with_dislikes(first: int) -> np.ndarray:
    """(1, length) window whose fourth and last item are disliked."""
    window = histories(first, 1).copy()
    window[0, [3, -1]] *= -1
    return window


@pytest.mark.parametrize("first", [*FIRSTS.values(), 61])
def test_the_batched_pass_reads_dislikes_as_peft_does(opened: World, served: Server, first: int) -> None:
    gate, live, setup = gates.gate_of(opened, SETTINGS), served.service.live, examples_setup()
    scorer = Scorer(BatchedBackend(live.forward), setup.view, SETTINGS.gate.floor)
    liked, windows = taken(histories(first, 1)), taken(with_dislikes(first))
    found, of_liked = (
        scorer.score(live.view.bank, one.contexts, one.since_setup, served.service.items.existence)
        for one in (windows, liked)
    )
    expected = gate.score(windows, gates.everything())
    np.testing.assert_allclose(found.posterior.probabilities, expected.posterior.probabilities, rtol=1e-4)
    np.testing.assert_allclose(found.scores.probabilities, expected.scores.probabilities, rtol=1e-4)
    assert not np.allclose(found.scores.probabilities, of_liked.scores.probabilities, rtol=1e-2)


def test_a_user_with_dislikes_is_answered_as_by_the_gate(opened: World, served: Server) -> None:
    window, setup = with_dislikes(FIRSTS[world.A])[0], examples_setup()
    opened.user("likes", np.abs(window).tolist())
    opened.user("dislikes", window.tolist())
    eventually(lambda: len(served.service.users) == 2)
    answer = served.recommend(user_id="dislikes", k=20)
    assert not test_recommend.same(answer, served.recommend(user_id="likes", k=20))
    gate = gates.gate_of(opened, SETTINGS)
    rows = [setup.catalogue.row_of[item["item_id"]] for item in answer["items"]]
    found = np.log([item["score"] for item in answer["items"]])
    expected, of_likes = ([gates.ranked(gate, one).get(row, 1e-9) for row in rows] for one in (window, np.abs(window)))
    # The second stage keeps the probabilities of the model in half precision.
    assert np.abs(found - np.log(expected)).max() < 0.2
    assert np.abs(found - np.log(expected)).mean() < 0.3 * np.abs(found - np.log(of_likes)).mean()
    # What was taken is left out of the list; what was disliked may be in it.
    held = {setup.catalogue.item_ids[row - 1] for row in window.tolist() if row > 0}
    assert len(held) == LENGTH - 2
    assert not held & {item["item_id"] for item in served.recommend(user_id="dislikes", k=1000)["items"]}


def test_a_request_may_name_the_dislikes_of_its_history(opened: World, served: Server) -> None:
    window, ids = with_dislikes(FIRSTS[world.A])[0], examples_setup().catalogue.item_ids
    opened.user("dislikes", window.tolist())
    eventually(lambda: len(served.service.users) == 1)
    history = [ids[abs(row) - 1] for row in window.tolist()]
    places = np.flatnonzero(window < 0).tolist()
    answer = served.recommend(history=history, disliked=places, k=20)
    assert test_recommend.same(answer, served.recommend(user_id="dislikes", k=20))
    assert not test_recommend.same(answer, served.recommend(history=history, k=20))
    # An item that nobody knows takes no place, and moves none.
    assert test_recommend.same(
        answer, served.recommend(history=["nobody", *history], disliked=[0, *(place + 1 for place in places)], k=20)
    )


@pytest.mark.parametrize("disliked", [[LENGTH], [-1], ["a"]])
def test_places_that_are_not_there_are_refused(served: Server, disliked: list[object]) -> None:
    history = examples_setup().catalogue.item_ids[:LENGTH]
    status, answer = served.ask("POST", "/recommend", {"history": list(history), "disliked": disliked})
    assert status == 422, answer
