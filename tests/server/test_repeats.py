"""Repeated consumption: replay and server follow one setting, and a request says what it leaves out."""

from collections.abc import Iterator
from functools import cache
from pathlib import Path
from tempfile import mkdtemp

import numpy as np
import pytest

from consumers.runtime.asyncapi import document
from pipeline.config import Config
from pipeline.datasets.dataset import Dataset, read_dataset
from pipeline.evaluation.protocols import plan_replay
from pipeline.evaluation.replay import prepare
from pipeline.evaluation.segment_masks import candidates_of
from pipeline.models.catalogue import make_catalogue
from pipeline.models.text.hashing import HashingEncoder
from pipeline.setup.artifacts import SetUp
from pipeline.setup.bootstrap import set_up
from pipeline.strategies.base import StrategyContext
from pipeline.strategies.registry import STRATEGIES
from pipeline.streams.topics import USERS
from tests.replay.small import config, write_log
from tests.server.world import LENGTH, Server, World, eventually, serving, the_setup

USER_COUNT = 40


@cache
def returning() -> Dataset:
    """40 users who return to their three items."""
    rows = [
        [f"u{n % 40:02d}", f"i{(3 * (n % 40) + (n // 40) % 3) % 120:03d}", str(1_700_000_000 + 60 * n)]
        for n in range(2400)
    ]
    return read_dataset(write_log(Path(mkdtemp()) / "log", [["user_id", "item_id", "timestamp"], *rows]))


def settings(repeats: bool) -> Config:
    return config(
        f"windows.repeats={str(repeats).lower()}", "log.partitions=2", "setup.max_epochs=8", "trend.half_lives=[100]"
    )


@cache
def start(repeats: bool) -> SetUp:
    asked = settings(repeats)
    plan, catalogue = prepare(returning(), asked, lambda *_: None)
    return set_up(asked, catalogue, plan.setup, seed=0)


def context(repeats: bool, folder: Path) -> StrategyContext:
    asked, encoder = settings(repeats), HashingEncoder()
    plan = plan_replay(returning(), asked)
    catalogue = make_catalogue(plan.timeline.item_ids, returning().items, encoder)
    return StrategyContext(
        start(repeats), asked, plan.setup, 0, folder, plan.timeline, returning().items, catalogue, encoder
    )


def newest(user: str) -> list[str]:
    """Items of a user's window before the last event of the log."""
    return [e.item_id for e in returning().interactions if e.user_id == user][-LENGTH - 1 : -1]


def next_of(user: str) -> str:
    return next(e.item_id for e in reversed(returning().interactions) if e.user_id == user)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    world = World(tmp_path)
    yield world
    world.close()


@pytest.mark.parametrize("repeats", [True, False])
@pytest.mark.parametrize("strategy", ["static", "popularity_recent", "sequential_rules", "ensemble_ranked", "raie"])
def test_a_return_is_a_hit_of_a_replay_where_repeats_are_allowed_and_else_a_miss(tmp_path, repeats, strategy):
    of = STRATEGIES[strategy](context(repeats, tmp_path / "state"))
    windows = plan_replay(returning(), settings(repeats)).stream[slice(0, 600)]
    ranks = of.observe(windows).ranks
    of.close()
    if repeats:
        # Popularity alone does not know whose items they are; the second stage learns it.
        least = {"popularity_recent": 0.0, "raie": 0.9, "ensemble_ranked": 0.9}
        assert np.mean((ranks >= 1) & (ranks <= 10)) >= least.get(strategy, 1.0)
        assert (ranks > 0).all()
    else:
        assert (ranks == 0).all()


@pytest.mark.parametrize("repeats", [True, False])
def test_the_server_recommends_what_a_replay_scores(world, repeats):
    users = [f"u{n:02d}" for n in range(USER_COUNT)]
    for user in users:
        record = {"history": newest(user), "latest": {"event_id": "e", "timestamp": 1.0}, "seen": "", "input": 0}
        world.send(USERS, record, user)
    with serving(world, settings=settings(repeats), made=lambda: start(repeats)) as server:
        eventually(lambda: len(server.service.users) == USER_COUNT)
        hits = [next_of(user) in listed(server, user_id=user) for user in users]
    assert hits == [repeats] * USER_COUNT


def test_candidates_of_a_replay_are_all_items_with_repeats_and_the_others_without():
    for repeats, number in ((True, 120), (False, 117)):
        plan = plan_replay(returning(), settings(repeats))
        counts = candidates_of(plan.stream[slice(0, 50)], plan.timeline)
        # A target of the window is counted with the candidates: its rank is 0 in any case.
        assert set(counts.tolist()) <= {number, number + 1}


def test_the_server_describes_the_records_of_the_log(world):
    with serving(world) as server:
        status, found = server.ask("GET", "/asyncapi.json")
    assert status == 200
    assert found == document()


def listed(server: Server, **ask: object) -> list[str]:
    return [item["item_id"] for item in server.recommend(**{"k": 10, **ask})["items"]]


def test_a_request_leaves_out_nothing_the_window_or_everything_taken(world):
    ids = the_setup().catalogue.item_ids
    window, left = list(ids[:LENGTH]), list(ids[LENGTH : LENGTH + 5])
    record = {"history": window, "latest": {"event_id": "e", "timestamp": 1.0}, "seen": "", "input": 0, "schema": 2}
    world.send(USERS, {**record, "taken": left}, "long")
    world.send(USERS, record, "of before")
    world.send(USERS, {**record, "taken": 7}, "broken")
    with serving(world) as server:
        eventually(lambda: len(server.service.users) == 2)

        def left_out(**ask: object) -> set[str]:
            return {*ids} - set(listed(server, k=len(ids), **ask))

        assert left_out(user_id="long") == left_out(user_id="long", exclude="window") == {*window}
        assert left_out(user_id="long", exclude="nothing") == set()
        assert left_out(user_id="long", exclude="taken") == {*window, *left}
        assert left_out(user_id="long", exclude=[ids[50]]) == {*window, ids[50]}
        assert left_out(user_id="long", exclude="nothing", exclude_items=[ids[50]]) == {ids[50]}
        assert left_out(user_id="of before", exclude="taken") == {*window}
        long = [*ids[:30]]
        assert left_out(history=long, exclude="taken") == {*long}
        assert left_out(history=long) == {*long[-LENGTH:]}
        assert server.ask("POST", "/recommend", {"user_id": "long", "exclude": "everything"})[0] == 422
        assert server.ask("POST", "/recommend", {"user_id": "long", "exclude": None})[0] == 200
        world.erase("long")
        eventually(lambda: len(server.service.users) == 1)
        assert server.service.users.taken("long") == ()
