"""Each baseline does what its name says: shown on a small world, part by part."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional

from pipeline.events.existence import Existence, ranks_of_existing
from pipeline.events.windows import Windows
from pipeline.online.item_transitions import ItemTransitions
from pipeline.regions.mixing import next_item_probabilities
from pipeline.setup.artifacts import SetUp
from pipeline.strategies import DEFAULT
from pipeline.strategies.base import StrategyContext
from pipeline.strategies.baselines.mole import Mole, fit_gate
from pipeline.strategies.baselines.nearest import SHARES
from pipeline.strategies.common.adapter_learner import AdapterLearner
from pipeline.strategies.registry import STRATEGIES
from tests.replay.small import context_of, plan


@pytest.fixture
def start(setup: SetUp, tmp_path: Path) -> StrategyContext:
    return context_of(setup, tmp_path)


def part(number: int = 0) -> Windows:
    return plan().update_intervals(3)[number]


def warm(windows: Windows) -> Windows:
    return windows[~windows.cold]


def existence_at(start: StrategyContext, windows: Windows) -> Existence:
    """Existence at the first of these windows, for any window."""
    return start.timeline.existence(windows.positions[:1])


def taught(name: str, start: StrategyContext, parts: int = 1):
    """A strategy after so many parts."""
    strategy = STRATEGIES[name](start)
    for number in range(parts):
        strategy.observe(part(number))
        strategy.learn()
    return strategy


def ranks(name: str, start: StrategyContext, parts: int = 1) -> list[int]:
    return taught(name, start, parts).score(plan().scored["S"]).ranks.tolist()


def test_the_usual_strategies_are_known_and_each_name_is_its_own():
    assert set(DEFAULT) < set(STRATEGIES)
    assert all(STRATEGIES[name].name == name for name in STRATEGIES)


def test_one_region_and_lora_with_rows_are_one_and_the_same(start):
    assert ranks("raie_k1", start, 2) == ranks("lora_rows", start, 2)


@pytest.mark.parametrize(
    ("name", "passes"),
    [
        ("lora", 1.0),
        ("lora_rows", 1.0),
        ("lora_frozen_replay", 2.0),
        ("lora_replay", 2.0),
        ("finetune", 1.0),
        ("finetune_replay", 2.0),
        ("lora_lwf", 1.0),
        ("lsat", 2.0),
        ("mole", 3.0),
        ("ensemble_25", 1.0),
        ("nearest", 0.0),
        ("popularity_window", 0.0),
        ("sequential_rules", 0.0),
        ("ease", 0.0),
        ("item_knn", 0.0),
        ("v_sknn", 0.0),
        ("stan", 0.0),
    ],
)
def test_what_a_part_costs(name, passes, start):
    strategy = taught(name, start)
    assert strategy.trained_windows == passes * len(warm(part()))
    assert strategy.memory_bytes > 0


def test_static_keeps_nothing_and_an_adapter_less_than_a_model(start):
    kept = {name: taught(name, start).memory_bytes for name in ("static", "lora", "lora_rows", "lsat", "finetune")}
    assert kept["static"] == 0
    assert 0 < kept["lora"] < kept["lora_rows"] < kept["finetune"]
    assert kept["lsat"] == 2 * kept["lora_rows"]


def test_the_memory_of_counts_is_that_of_every_strategy_with_a_second_stage(start):
    kept = {name: STRATEGIES[name](start).memory_bytes for name in ("raie", "raie_no_trend", "static_ranked")}
    assert kept["raie"] > kept["static_ranked"] > 0, "the same counts, and those of each region"
    assert kept["raie_no_trend"] == 0


def test_without_rows_the_items_stay_as_they_were_set_up(start):
    for name in ("lora", "lora_frozen_replay"):
        strategy = taught(name, start)
        torch.testing.assert_close(strategy._host.vectors(strategy._adapter), strategy._host.vectors(None))
    strategy = taught("lora_rows", start)
    assert not torch.equal(strategy._host.vectors(strategy._adapter), strategy._host.vectors(None))


def test_the_second_stage_ranks_by_the_same_counts_whatever_the_model(start):
    """`ranker` reads no model; the others read their own and the frozen backbone, and count the same events."""
    ranked = {name: taught(name, start, 2) for name in ("ranker", "static_ranked", "finetune_ranked")}
    arrays = {name: strategy._stage.to_arrays() for name, strategy in ranked.items()}
    for name, array in arrays["ranker"].items():
        if not name.startswith("network."):
            for other in ("static_ranked", "finetune_ranked"):
                np.testing.assert_array_equal(arrays[other][name], array, err_msg=name)
    assert not {"model", "backbone"} & set(ranked["ranker"]._stage.features.names)
    ranks = {name: strategy.score(warm(part(2))).ranks for name, strategy in ranked.items()}
    assert (ranks["static_ranked"] != ranks["finetune_ranked"]).any()
    assert (ranks["static_ranked"] != ranks["ranker"]).any()


def test_sequential_rules_are_followers_over_counts_with_a_half_life(start):
    """After two parts: what followed in set-up and since, and beside it what the counts of `popularity_recent` say."""
    settings, windows = start.config, warm(plan().scored["S"])
    strategy = taught("sequential_rules", start, 2)
    came = [start.learned, part(0), part(1)]
    transitions = ItemTransitions(settings.trend.followed_events, settings.windows.length)
    for context, target in ((c, t) for some in came for c, t in zip(some.contexts, some.targets, strict=True)):
        transitions.add(context, int(target))
    counts = taught("popularity_recent", start, 2)._counts
    for context, answer in zip(windows.contexts, strategy._probabilities(windows), strict=True):
        followed = transitions.scores(context).at(np.arange(len(answer)))
        evidence = followed.sum() / settings.windows.length**2
        known = evidence / (evidence + settings.trend.shrinkage)
        rest = answer - known * followed / max(followed.sum(), 1.0)
        assert rest.min() > -1e-12
        # Items since set-up have their small probabilities beside those of set-up, which sum to 1.
        assert answer.sum() == pytest.approx(1.0, abs=1e-5)
        assert np.corrcoef(rest, counts[: len(rest)])[0, 1] > 0.9


def test_ensembles_differ_in_weight_alone(start):
    contexts, existence = warm(part(1)).contexts, existence_at(start, part(1))
    names = ("ensemble_25", "ensemble", "ensemble_75", "raie_k1")
    answers = {name: taught(name, start)._probabilities(contexts, existence) for name in names}
    static = next_item_probabilities(taught("raie_k1", start)._host, contexts, None, existence)
    for name, share in (("ensemble_25", 0.25), ("ensemble", 0.5), ("ensemble_75", 0.75)):
        torch.testing.assert_close(answers[name], share * answers["raie_k1"] + (1.0 - share) * static)


def divergence(strategy: AdapterLearner, contexts: np.ndarray, existence: Existence) -> float:
    """KL of what the backbone said before from what the strategy says now."""
    before = next_item_probabilities(strategy._host, contexts, None, existence)
    now = strategy._probabilities(contexts, existence)
    return float(functional.kl_div(now[:, 1:].log(), before[:, 1:], reduction="batchmean"))


def test_distillation_keeps_an_adapter_closer_to_what_it_said_before(setup, tmp_path):
    start = context_of(setup, tmp_path, "training.epochs=8", "training.learning_rate=0.01")
    contexts, existence = warm(part()).contexts, Existence.of_all(len(setup.catalogue))
    kept, free = (divergence(taught(name, start), contexts, existence) for name in ("lora_lwf", "lora_rows"))
    assert 0.0 < kept < 0.8 * free


def test_lsat_mixes_one_adapter_that_carries_on_with_one_that_starts_anew(start):
    lsat, carried = taught("lsat", start, 2), taught("lora_rows", start, 2)
    contexts, existence = warm(part(2)).contexts, existence_at(start, part(2))
    long, short = (next_item_probabilities(lsat._host, contexts, name, existence) for name in (lsat._long, lsat._short))
    torch.testing.assert_close(long, carried._probabilities(contexts, existence))
    torch.testing.assert_close(lsat._probabilities(contexts, existence), 0.6 * long + 0.4 * short)
    fresh = STRATEGIES["lsat"](start)
    fresh._interval = 1
    fresh.observe(part(1))
    fresh.learn()
    # The short one knows the newest part and nothing else, whatever came before it.
    torch.testing.assert_close(next_item_probabilities(fresh._host, contexts, fresh._short, existence), short)
    assert len(lsat._host.names) == 2


def test_experts_are_trained_and_come_to_differ(start):
    mole = taught("mole", start)
    assert isinstance(mole, Mole)
    contexts, existence = warm(part(1)).contexts, existence_at(start, part(1))
    answers = [next_item_probabilities(mole._host, contexts, name, existence) for name in (None, *mole._names)]
    stride = [float((a - b).abs().sum(dim=1).mean()) for i, a in enumerate(answers) for b in answers[:i]]
    assert min(stride) > 1e-3
    gate = mole._gated(mole._features(contexts))
    assert float(gate.std(dim=0).max()) > 0.01
    mixed = sum(gate[:, e, None] * answers[e + 1] for e in range(mole.experts))
    torch.testing.assert_close(mole._probabilities(contexts, existence), mixed)
    torch.testing.assert_close(mole._probabilities(contexts, existence).sum(dim=1), torch.ones(len(contexts)))


def test_a_gate_learns_who_answers_what():
    inputs = torch.cat([torch.randn(200, 3, generator=torch.Generator().manual_seed(0)), torch.ones(200, 1)], dim=1)
    shares = functional.one_hot((inputs[:, 0] > 0).long(), 2).float()
    gate = fit_gate(inputs, shares, torch.zeros(0, 2), 0.7)
    assert float((((inputs @ gate) / 0.7).argmax(dim=1) == shares.argmax(dim=1)).float().mean()) > 0.95


def test_pairwise_edits_cost_and_correct_what_was_answered_wrongly(start):
    windows = warm(part())
    before = STRATEGIES["ebpr"](start)
    # Judged over what exists when it learns.
    after = windows.at(int(windows.positions[-1]) + 1)
    wrong, existence = before.score(after).ranks > 10, existence_at(start, after)
    assert 0 < wrong.sum() < len(windows)
    edited = taught("ebpr", start)
    assert edited.trained_windows == wrong.sum()
    answers = {
        name: s._probabilities(windows[wrong].contexts, existence)
        for name, s in (("before", before), ("after", edited))
    }
    rows, rivals = torch.arange(int(wrong.sum())), edited._rivals
    targets = torch.from_numpy(windows[wrong].targets)
    assert (answers["before"][rows, rivals] > answers["before"][rows, targets]).all()
    gained = (answers["after"].log()[rows, targets] - answers["after"].log()[rows, rivals]) - (
        answers["before"].log()[rows, targets] - answers["before"].log()[rows, rivals]
    )
    assert float(gained.mean()) > 0.0
    barred = windows[wrong].contexts
    assert not (barred == rivals.numpy()[:, None]).any()


def test_a_memory_answers_with_what_followed_windows_like_this(start):
    nearest = STRATEGIES["nearest"](start)
    assert nearest._share in SHARES
    windows, item = warm(part())[slice(0, 40)], 7
    planted = replace(windows, targets=np.full(40, item))
    recalled = nearest._recalled(windows.contexts, len(start.setup.catalogue) + 1)[:, item].mean()
    nearest.observe(planted)
    after = nearest._recalled(windows.contexts, len(start.setup.catalogue) + 1)
    assert after[:, item].mean() > recalled + 0.05
    torch.testing.assert_close(after.sum(dim=1), torch.ones(40))


def test_a_memory_weighs_itself_on_set_up_alone(start):
    known, other = STRATEGIES["nearest"](start), STRATEGIES["nearest"](start)
    other.observe(part())
    assert known._share == other._share


def test_popularity_in_a_window_counts_the_newest_events_and_no_others(setup, tmp_path):
    windows = part()
    start = context_of(setup, tmp_path, "replay.popularity_window=50")
    strategy = STRATEGIES["popularity_window"](start)
    found = strategy.observe(windows).ranks
    history = [*plan().setup.targets.tolist(), *windows.targets.tolist()]
    for i in (0, 30, 49, 50, 51, 200):
        newest = history[: len(plan().setup) + i][-50:]
        one = slice(i, i + 1)
        existence = existence_at(start, windows[one])
        counts = np.bincount(newest, minlength=existence.items + 1).astype(float)[None]
        counts[:, 0] = -np.inf
        assert found[i] == ranks_of_existing(counts, windows.targets[one], windows.contexts[one], existence)[0]


def test_retraining_starts_from_scratch_when_its_turn_comes(setup, tmp_path):
    start = context_of(setup, tmp_path, "replay.retrain_every=2")
    strategy = STRATEGIES["retrain"](start)
    static = ranks("static", start, 0)
    strategy.observe(part())
    strategy.learn()
    assert (strategy.trained_windows, strategy.score(plan().scored["S"]).ranks.tolist()) == (0, static)
    strategy.observe(part(1))
    strategy.learn()
    everything = len(warm(plan().setup)) + len(warm(part())) + len(warm(part(1)))
    assert 0.8 * everything < strategy.trained_windows / 2 < everything
    assert strategy.score(plan().scored["S"]).ranks.tolist() != static


def test_one_adapter_per_region_with_one_region_is_one_adapter(setup, tmp_path):
    bank = replace(setup.bank, regions=setup.bank.regions[:1])
    one = context_of(replace(setup, bank=bank), tmp_path)
    assert ranks("raie_taste", one, 2) == ranks("raie_k1", one, 2)


def test_an_adapter_of_one_set_up_region_answers_that_region_alone(start):
    learner = STRATEGIES["raie_taste"](start)
    windows = warm(part())
    route, existence = learner._route(windows.contexts), existence_at(start, windows)
    alone = (route > 0.0).sum(axis=1) == 1
    first = alone & (route[:, 0] == 1.0)
    assert first.sum() > 5
    assert (alone & ~first).sum() > 5
    before = learner._probabilities(windows[alone & ~first].contexts, existence)
    learner.observe(windows[first])
    learner.learn()
    torch.testing.assert_close(learner._probabilities(windows[alone & ~first].contexts, existence), before)
    assert learner.trained_windows == first.sum()
