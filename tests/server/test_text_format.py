"""A server over a language model that reads texts: the gate's answers, and items that come and change."""

from collections.abc import Iterator
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from pipeline.evaluation.replay import prepare
from pipeline.models.seeding import make_deterministic
from pipeline.recommend.backends import BatchedBackend
from pipeline.recommend.scorer import Scorer
from pipeline.setup.artifacts import SetUp
from pipeline.setup.bootstrap import set_up
from tests.replay.small import config, dataset, plan, reading
from tests.server import gates, test_open_items, test_recommend, world
from tests.server.world import FIRSTS, A, Server, World, eventually, histories, serving, taken

SETTINGS = config(
    *("trend.half_lives=[20, 100]", "trend.shrinkage=5", "log.partitions=2", "ranking.events=500"),
    *(f"backbone.{name}={value}" for name, value in reading().items()),
    "setup.learning_rate=0.01",
)


@cache
def text_setup() -> SetUp:
    make_deterministic()
    return set_up(SETTINGS, prepare(dataset(), SETTINGS, lambda *_: None)[1], plan().setup[slice(-400, None)], seed=0)


@pytest.fixture(autouse=True)
def _texts(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Put the set-up and the settings of this file in the place of those of the world."""
    with gates.with_setup(monkeypatch, text_setup, SETTINGS, test_recommend, test_open_items):
        yield


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path)
    made.open_both()
    made.snapshot(world.fresh_state())
    for region_id, first in FIRSTS.items():
        for i, history in enumerate(histories(first, 5).tolist()):
            made.user(f"{'a' if region_id == A else 'b'}{i}", history)
    usual = text_setup().counts.argsort()[::-1][:30].reshape(3, 10)
    for i, history in enumerate(usual.tolist()):
        made.user(f"s{i}", history, since_setup=0)
    yield made
    made.close()


@pytest.fixture
def served(opened: World) -> Iterator[Server]:
    with serving(opened, settings=SETTINGS, made=text_setup) as server:
        yield server


def test_answers_are_those_of_the_gate_through_peft(opened: World, served: Server) -> None:
    gate, live, setup = gates.gate_of(opened, SETTINGS), served.service.live, text_setup()
    scorer = Scorer(BatchedBackend(live.forward), setup.view, SETTINGS.gate.floor)
    for first in (*FIRSTS.values(), 61):
        windows = taken(histories(first, 1))
        expected = gate.score(windows, gates.everything())
        found = scorer.score(live.view.bank, windows.contexts, windows.since_setup, served.service.items.existence)
        np.testing.assert_allclose(found.posterior.probabilities, expected.posterior.probabilities, rtol=1e-4)
        np.testing.assert_allclose(found.scores.probabilities, expected.scores.probabilities, rtol=1e-4)
        ranked = gates.ranked(gate, windows.contexts[0])
        history = [setup.catalogue.item_ids[row - 1] for row in windows.contexts[0].tolist()]
        for item in served.recommend(history=history, k=20)["items"]:
            # The second stage keeps the probabilities of the model in half precision.
            np.testing.assert_allclose(item["score"], ranked[setup.catalogue.row_of[item["item_id"]]], rtol=5e-2)


def test_an_update_changes_no_answer_of_others(opened: World, served: Server) -> None:
    test_recommend.test_an_update_of_one_region_changes_no_answer_of_those_whose_route_lacks_it(opened, served)


def test_an_item_that_arrives_is_read_by_its_text(opened: World, served: Server) -> None:
    texts = text_setup().catalogue.texts
    opened.item("new", texts[0])
    eventually(lambda: test_open_items.listed(served, "new"))
    tokens = served.service.live.forward.backbone.tokens
    row = served.service.items.catalogue.row_of["new"]
    assert tokens[row].tolist() == tokens[1].tolist()
    before = served.recommend(history=["new"], k=1000)
    opened.item("new", texts[5])
    eventually(lambda: served.ask("GET", "/items/new")[1]["text"] == texts[5])
    after = served.recommend(history=["new"], k=1000)
    assert not test_recommend.same(before, after)
    with serving(opened, instance="late", settings=SETTINGS, made=text_setup) as late:
        assert test_recommend.same(late.recommend(history=["new"], k=1000), after)
