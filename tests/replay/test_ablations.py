"""Ablations of RAIE: each lacks its part and nothing else."""

from collections.abc import Callable, Iterator

import numpy as np
import pytest

from pipeline.events.edit import Operation
from pipeline.events.existence import Existence
from pipeline.events.windows import Windows
from pipeline.regions.vmf import log_density
from pipeline.setup.artifacts import SetUp
from pipeline.strategies.base import StrategyContext
from pipeline.strategies.raie.replayed import Raie
from pipeline.strategies.raie.scheduled import SCHEDULED
from pipeline.strategies.registry import STRATEGIES
from tests.replay.small import config, context_of, plan


class Runs(dict[str, Raie]):
    """RAIE and its ablations after the whole stream, each run when a test first asks for it."""

    def __init__(self, context: Callable[[str], StrategyContext]) -> None:
        super().__init__()
        self._context = context

    def __missing__(self, name: str) -> Raie:
        made = STRATEGIES[name](self._context(name))
        assert isinstance(made, Raie)
        for part in plan().update_intervals(3):
            made.observe(part)
            made.learn()
        self[name] = made
        return made


@pytest.fixture(scope="module")
def ran(setup: SetUp, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runs]:
    runs = Runs(lambda name: context_of(setup, tmp_path_factory.mktemp(name), "edits.confidence=0"))
    yield runs
    for strategy in runs.values():
        strategy.close()


def published(strategy: Raie) -> list[Operation]:
    return [outcome.operation for _, outcome in strategy.ledger if outcome.published]


def asked(strategy: Raie) -> tuple[Windows, Existence]:
    """Windows with a history, in rows of a strategy, and what existed for each."""
    return strategy._items.of(plan().stream[~plan().stream.cold])


def test_the_whole_method_does_what_its_ablations_leave_out(ran):
    assert {Operation.ADD, Operation.EXPAND} <= set(published(ran["raie"]))


@pytest.mark.parametrize(("name", "operation"), [("raie_no_expand", Operation.EXPAND), ("raie_no_add", Operation.ADD)])
def test_a_refused_operation_is_asked_for_and_never_made(ran, name, operation):
    wanted = [outcome for edit, outcome in ran[name].ledger if edit.operation is operation]
    assert wanted
    assert operation not in published(ran[name])
    assert sum(outcome.trained_windows for outcome in wanted) == 0


def test_without_add_and_trend_everyone_is_answered_by_the_backbone(setup, tmp_path):
    start = context_of(setup, tmp_path, "trend.half_lives=[]", "edits.inject_items=0")
    closed, static = STRATEGIES["raie_no_add"](start), STRATEGIES["static"](start)
    ranks = [strategy.observe(plan().stream).ranks.tolist() for strategy in (closed, static)]
    closed.close()
    assert ranks[0] == ranks[1]


def test_static_inject_makes_injections_and_nothing_else(setup, tmp_path):
    strategy = STRATEGIES["static_inject"](context_of(setup, tmp_path))
    ranks = strategy.observe(plan().stream).ranks
    strategy.close()
    assert set(published(strategy)) == {Operation.INJECT}
    assert strategy.trained_windows == 0
    static = STRATEGIES["static"](context_of(setup, tmp_path))
    assert ranks.tolist() != static.observe(plan().stream).ranks.tolist()


def test_without_inject_no_item_is_injected(setup, tmp_path):
    strategy = STRATEGIES["raie_no_inject"](context_of(setup, tmp_path))
    strategy.observe(plan().stream)
    strategy.close()
    assert Operation.INJECT not in {edit.operation for edit, _ in strategy.ledger}


def test_one_open_region_is_never_joined_by_a_second(ran):
    opened = 0
    for _, outcome in ran["raie_one"].ledger:
        if outcome.published:
            opened += (outcome.operation is Operation.ADD) - (outcome.operation is Operation.RETIRE)
        assert opened <= 1
    assert len(ran["raie_one"].live.bank.stream) == 1


def test_hard_routing_asks_one_place_about_each_window(ran):
    # Without the origin prior, which moves weight between the backbone and the region that a window has.
    routes = []
    for name in ("raie_hard", "raie"):
        windows, existence = asked(ran[name])
        routes.append(ran[name]._gate.score_content(windows.contexts, windows.since_setup, existence).route)
    hard, soft = routes
    assert set(np.unique(hard)) == {0.0, 1.0}
    assert (hard.sum(axis=1) == 1.0).all()
    assert ((soft > 0.0).sum(axis=1) > 1).any()


def test_a_gate_of_centroids_is_the_posterior_of_their_densities(ran, setup):
    live, windows = ran["raie_centroids"].live, asked(ran["raie_centroids"])[0]
    assert live.bank.stream
    encoded = setup.view(live.host.states(windows.contexts, None), windows.contexts, windows.since_setup)
    density = np.stack(
        [log_density(encoded.means, r.centroid[None], np.array([r.concentration]))[:, 0] for r in live.bank.live],
        axis=1,
    )
    odds = np.exp(density) * np.array([r.prior for r in live.bank.live])
    found = live.bank.posterior(encoded)
    np.testing.assert_allclose(found.probabilities, odds / odds.sum(axis=1, keepdims=True), atol=1e-9)
    assert found.stream_regions == len(live.bank.stream)


def test_frozen_rows_are_not_moved(ran):
    host = ran["raie_frozen_rows"].live.host
    assert host.names
    for name in host.names:
        np.testing.assert_array_equal(host.vectors(name).numpy(), host.vectors(None).numpy())


def test_replay_trains_on_a_set_up_window_beside_each_new_one(ran):
    epochs = config().training.epochs
    for edit, outcome in ran["raie_replay"].ledger:
        if outcome.trained_windows:
            assert outcome.trained_windows > 1.5 * epochs * 0.7 * len(edit.windows)
    assert any(outcome.trained_windows for _, outcome in ran["raie_replay"].ledger)
    plain = {e.edit_id: o.trained_windows for e, o in ran["raie"].ledger}
    both = [(plain[e.edit_id], o.trained_windows) for e, o in ran["raie_replay"].ledger if plain.get(e.edit_id)]
    assert both
    assert all(replayed == 2 * new for new, replayed in both)


def test_scheduled_edits_cost_what_drift_triggered_ones_do_and_wait_for_their_date(ran):
    scheduled, triggered = ran["raie_scheduled"], ran["raie"]
    assert triggered.trained_windows > 0
    least = config().training.epochs * 32
    assert 0 <= triggered.trained_windows - scheduled.trained_windows < least
    dates = set(np.cumsum([len(part) for part in plan().update_intervals(3)]).tolist())
    trained = [edit for edit, outcome in scheduled.ledger if outcome.trained_windows]
    assert trained
    assert {edit.at_event for edit in trained} <= dates
    assert {edit.reason["signal"] for edit in trained} == {SCHEDULED}
    assert not {edit.at_event for edit, outcome in triggered.ledger if outcome.trained_windows} <= dates


def test_a_global_trend_counts_no_region_and_changes_no_edit(ran):
    one, stride = ran["raie_global_trend"], ran["raie"]
    counts, by_region = (raie._gate.online.to_arrays()["popularity.counts"] for raie in (one, stride))
    np.testing.assert_array_equal(counts[:, -1], by_region[:, -1])
    assert by_region[:, :-1].any() and not counts[:, :-1].any()
    assert [edit.edit_id for edit, _ in one.ledger] == [edit.edit_id for edit, _ in stride.ledger]
