"""`peso`, `evorec`, `live_update` and `adaptive_el`: what each does that a single adapter does not.

That later events change no earlier answer is tested with all strategies in `test_honesty`.
"""

from pathlib import Path

import numpy as np
import pytest
import torch

from pipeline.drift.ddm import Ddm
from pipeline.events.windows import Windows
from pipeline.setup.artifacts import SetUp
from pipeline.strategies.base import Strategy, StrategyContext
from pipeline.strategies.baselines.adaptive_el import AdaptiveEl
from pipeline.strategies.baselines.evorec import EvoRec, most_sensitive, newest_windows
from pipeline.strategies.baselines.live_update import LiveUpdate
from pipeline.strategies.baselines.lora import LoraRows
from pipeline.strategies.baselines.peso import Peso
from pipeline.strategies.registry import STRATEGIES
from tests.replay.small import context_of, plan

RIVALS = ("peso", "evorec", "live_update", "adaptive_el")


@pytest.fixture
def start(setup: SetUp, tmp_path: Path) -> StrategyContext:
    return context_of(setup, tmp_path)


def part(number: int = 0) -> Windows:
    return plan().update_intervals(3)[number]


def warm(windows: Windows) -> Windows:
    return windows[~windows.cold]


def taught(strategy: Strategy, parts: int = 1) -> Strategy:
    """A strategy after so many parts."""
    for number in range(parts):
        strategy.observe(part(number))
        strategy.learn()
    return strategy


def weights(strategy: LoraRows) -> dict[str, torch.Tensor]:
    """Factors of the adapter in force, by layer, A and B in one row."""
    assert strategy._adapter
    layers = strategy._host.factors(strategy._adapter)
    return {layer: torch.cat([factor.detach().flatten() for factor in pair]) for layer, pair in layers.items()}


@pytest.mark.parametrize("name", RIVALS)
def test_the_same_events_give_the_same_bytes(name, setup, tmp_path):
    one, other = (taught(STRATEGIES[name](context_of(setup, tmp_path / str(run)))) for run in range(2))
    np.testing.assert_array_equal(one.observe(part(1)).ranks, other.observe(part(1)).ranks)
    assert (one.trained_windows, one.memory_bytes) == (other.trained_windows, other.memory_bytes)
    one.close()
    other.close()


@pytest.mark.parametrize("name", ["peso", "evorec", "live_update"])
def test_each_window_is_learned_once_and_one_adapter_is_kept(name, start):
    strategy, single = taught(STRATEGIES[name](start), 2), taught(STRATEGIES["lora_rows"](start), 2)
    assert strategy.trained_windows == single.trained_windows == len(warm(part())) + len(warm(part(1)))
    assert strategy.memory_bytes == single.memory_bytes > 0


def test_a_proximal_term_ties_an_adapter_to_its_last_state(setup, tmp_path):
    start = context_of(setup, tmp_path, "training.epochs=4")
    free, tied = Peso(start), Peso(start)
    free.weight = tied.weight = 0.0
    before, single = weights(taught(tied)), weights(taught(LoraRows(start)))
    assert all(torch.equal(before[layer], single[layer]) for layer in single), "without the term it is `lora_rows`"
    tied.weight = 1e5
    moved = []
    for strategy in (taught(free), tied):
        strategy.observe(part(1))
        strategy.learn()
        after = weights(strategy)
        moved.append(sum(float((after[layer] - before[layer]).square().sum()) for layer in before))
    assert 0.0 < moved[1] < 0.5 * moved[0]


def test_the_layers_that_move_most_are_located_within_their_share():
    moved, sizes = {"a": 0.1, "b": 0.4, "c": 0.3, "d": 0.2}, {"a": 10, "b": 20, "c": 10, "d": 60}
    assert most_sensitive(moved, sizes, 0.3) == ["b", "c"]
    assert most_sensitive(moved, sizes, 0.29) == ["b"]
    assert most_sensitive(moved, sizes, 0.1) == ["b"], "at least one"


def test_an_update_leaves_the_layers_that_were_not_located(start):
    strategy = taught(EvoRec(start))
    assert strategy._adapter
    before, located = weights(strategy), strategy._located(strategy._adapter, warm(part(1)))
    strategy.observe(part(1))
    strategy.learn()
    after = weights(strategy)
    assert {layer for layer in before if not torch.equal(before[layer], after[layer])} == set(located)
    sizes = {layer: len(before[layer]) for layer in before if layer.startswith("blocks.")}
    assert 0 < sum(sizes.get(layer, 0) for layer in located) <= 0.3 * sum(sizes.values())


def test_a_layer_is_as_sensitive_as_its_outputs_differ_between_two_windows_of_a_user(start):
    strategy, windows = taught(EvoRec(start)), warm(part(1))
    assert strategy._adapter
    newest, of_user = newest_windows(windows)
    for user in range(len(newest)):
        last = windows[of_user == user]
        assert newest[user].tolist() == [*last.contexts[-1, 1:].tolist(), int(last.targets[-1])]
    outputs = strategy._outputs(strategy._adapter, newest)
    assert set(outputs) == {layer for layer in weights(strategy) if layer.startswith("blocks.")}
    again = strategy._outputs(strategy._adapter, newest[:1])
    for layer in outputs:
        torch.testing.assert_close(again[layer], outputs[layer][:1])
        assert float((outputs[layer][0] - outputs[layer][1]).abs().max()) > 0.0


def test_outdated_items_leave_the_windows_and_no_others(start):
    strategy, windows = EvoRec(start), warm(part(1))
    filtered = strategy._without_outdated(windows)
    newest, of_user = newest_windows(windows)
    items = start.timeline.existence(windows.positions[-1:] + 1).items
    vectors = strategy._host.vectors(None)[: items + 1]
    for row in range(0, len(windows), 10):
        state = strategy._host.states(newest[of_user[row], None], None)[0, -1]
        scores = (vectors @ state).tolist()
        mean = sum(scores[1:]) / items
        *older, last = [int(item) for item in windows.contexts[row] if item]
        kept = [*(item for item in older if scores[item] >= mean), last]
        assert [int(item) for item in filtered.contexts[row] if item] == kept
    assert 0 < (filtered.contexts > 0).sum() < (windows.contexts > 0).sum()
    assert (filtered.contexts[:, -1] > 0).all()


def test_an_adapter_that_learns_where_it_serves_has_update_intervals_of_one_batch(start):
    live, stepwise = LiveUpdate(start), LoraRows(start)
    size, ranks = start.config.gate.batch_size, []
    for begin in range(0, len(part()), size):
        ranks.append(stepwise.observe(part()[slice(begin, begin + size)]).ranks)
        stepwise.learn()
    np.testing.assert_array_equal(live.observe(part()).ranks, np.concatenate(ranks))
    before = weights(live)
    live.learn()
    assert all(torch.equal(before[layer], after) for layer, after in weights(live).items()), "nothing was left"


def after(errors: int, values: int) -> Ddm:
    """A detector after so many values, the errors evenly among them."""
    detector = Ddm()
    for number in range(values):
        detector.update((number + 1) * errors // values > number * errors // values)
    return detector


def test_errors_raise_an_alarm_where_they_become_more_frequent():
    detector = after(100, 500)
    assert not detector.drift_detected
    for number in range(200):
        detector.update(number % 5 == 0)
        assert not detector.drift_detected, "they are as frequent as before"
    needed = 0
    while not detector.drift_detected:
        detector.update(needed % 2 == 0)
        needed += 1
    assert 20 < needed < 200
    rare = after(400, 500)
    for number in range(500):
        rare.update(number % 5 == 0)
        assert not rare.drift_detected, "fewer errors are no alarm"


def test_an_ensemble_stays_as_it_is_without_an_alarm_and_gains_a_member_with_one(start):
    ensemble = AdaptiveEl(start)
    ensemble._detector = after(500, 500)
    still = ensemble.score(warm(part(1))).ranks
    taught(ensemble)
    assert (ensemble.trained_windows, ensemble.memory_bytes) == (0, 0)
    np.testing.assert_array_equal(ensemble.score(warm(part(1))).ranks, still)
    ensemble._detector = after(50, 500)
    taught(ensemble)
    windows = warm(part())
    older, newest = windows[slice(0, round(0.8 * len(windows)))], windows[slice(round(0.8 * len(windows)), None)]
    assert ensemble.trained_windows == len(older)
    alone = LoraRows(start)
    alone._interval = 1
    alone.observe(older)
    alone.learn()
    hits = [
        int(((r := member.score(newest).ranks) > 0)[r <= 10].sum()) for member in (STRATEGIES["static"](start), alone)
    ]
    np.testing.assert_allclose(ensemble._weights, (np.array(hits) + 1.0) / (sum(hits) + 2))
    existence = start.timeline.existence(part(1).positions[:1])
    contexts = warm(part(1)).contexts
    backbone, member = (ensemble._answers(name, contexts, existence) for name in ensemble._members)
    torch.testing.assert_close(member, alone._probabilities(contexts, existence))
    mixed = float(ensemble._weights[0]) * backbone + float(ensemble._weights[1]) * member
    torch.testing.assert_close(ensemble._probabilities(contexts, existence), mixed)
    assert not ensemble._detector.drift_detected, "it starts anew"
