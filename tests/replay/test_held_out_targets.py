"""Targets that retention is measured on are counted by no source of the second stage, not even after the stream."""

from pathlib import Path

import numpy as np
import pytest

from pipeline.datasets.dataset import Dataset, read_dataset
from pipeline.evaluation.protocols import Plan, plan_replay
from pipeline.models.catalogue import make_catalogue
from pipeline.models.text import open_text_encoder
from pipeline.setup.bootstrap import set_up
from pipeline.strategies.base import Strategy, StrategyContext
from pipeline.strategies.baselines.ranked import Ranked
from pipeline.strategies.registry import STRATEGIES
from tests.replay.small import Rows, config, emerging, rows_of, write_log

SETTINGS = config("setup.max_epochs=1")


def own_items(folder: Path) -> Dataset:
    """A log in which the target of each held-out set-up window is an item that is never taken at any other time."""
    (head, *rows), items = rows_of(emerging()), rows_of(emerging(), "items.csv")
    plan = plan_replay(read_dataset(emerging()), SETTINGS)
    last = dict(zip(plan.scored["S_new"].users.tolist(), plan.scored["S_new"].timestamps.tolist(), strict=True))
    renamed: Rows = [[u, f"only-{u}" if last.get(u) == float(t) else i, t] for u, i, t in rows]
    described = [[f"only-{user}", "Crispy Banquet. Cookery"] for user in last]
    return read_dataset(write_log(folder, [head, *renamed], [*items, *described]))


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Plan, Strategy]:
    folder = tmp_path_factory.mktemp("held-out")
    log = own_items(folder / "log")
    plan, encoder = plan_replay(log, SETTINGS), open_text_encoder(SETTINGS.items.text_encoder, None)
    catalogue = make_catalogue(plan.timeline.item_ids, log.items, encoder)
    setup = set_up(SETTINGS, catalogue.first(plan.timeline.setup_items), plan.setup, 0)
    context = StrategyContext(setup, SETTINGS, plan.setup, 0, folder, plan.timeline, log.items, catalogue, encoder)
    strategy = STRATEGIES["ranker"](context)
    for interval in plan.update_intervals(3):
        strategy.observe(interval)
        strategy.learn()
    return plan, strategy


def test_no_source_counts_a_held_out_target(run: tuple[Plan, Strategy]) -> None:
    plan, strategy = run
    assert isinstance(strategy, Ranked)
    windows, stage = plan.scored["S_new"], strategy._stage
    assert len(windows) > 20
    targets = np.unique(windows.targets)
    assert len(targets) == len(windows)
    taken = np.unique(plan.stream.contexts)
    assert np.isin(targets, taken).any(), "later windows hold them"
    assert not stage._recency.counts[targets].any()
    assert not stage._popularity._counts[:, :, targets].any()
    everything = np.concatenate([plan.setup.contexts, plan.stream.contexts])
    for source in (stage._recent, stage._all):
        followed = [source.scores(context).at(targets) for context in everything[::7]]
        assert not np.any(followed)
    # Later events count the held-out item as a part of their user's history: as a neighbour of what was taken then.
    # So a held-out window knows of its target where the user takes one of its items again, and nowhere else.
    held = [distinct[distinct != 0] for distinct in np.concatenate([windows.earlier, windows.contexts], axis=1)]
    stream = plan.stream
    later = [stream.targets[stream.users == user] for user in windows.users]
    again = [np.isin(targets, of).any() for targets, of in zip(later, held, strict=True)]
    found = [stage._neighbours.scores(items).at(windows.targets[i : i + 1])[0] for i, items in enumerate(held)]
    assert not np.any(np.array(found)[~np.array(again)])
    assert np.count_nonzero(~np.array(again)) > 5


def test_held_out_windows_hold_nothing_later_of_their_users(run: tuple[Plan, Strategy]) -> None:
    plan, _ = run
    windows = plan.scored["S_new"]
    for i, user in enumerate(windows.users.tolist()):
        before = plan.setup.users == user
        known = set(plan.setup.targets[before & (plan.setup.timestamps <= windows.timestamps[i])].tolist())
        held = {*windows.contexts[i].tolist(), *windows.earlier[i].tolist()} - {0}
        assert held <= known
        assert int(windows.targets[i]) not in held
