"""Trainings shared by strategies: run once, with the results of separate runs."""

from collections.abc import Iterator
from dataclasses import replace
from itertools import count
from pathlib import Path

import numpy as np
import pytest

from pipeline.setup.artifacts import SetUp
from pipeline.strategies.base import StrategyContext
from pipeline.strategies.baselines.lora import LoraRows
from pipeline.strategies.common import adapter_learner
from pipeline.strategies.common.trainings import Trainings, key_of
from pipeline.strategies.registry import STRATEGIES
from tests.replay.small import config, context_of, plan

Taught = tuple[list[list[int]], int]
"""Ranks of every fifth window of S after each part, and the number of windows trained on."""


class Shared:
    """Cache of trainings with a clock that advances one second at each reading."""

    def __init__(self, folder: Path) -> None:
        self.spared: list[float] = []
        ticks: Iterator[int] = count()
        folder.mkdir()
        self.trainings = Trainings(folder, lambda: float(next(ticks)), self.spared.append)


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Number of windows of each training that ran."""
    runs: list[int] = []
    fit = adapter_learner.fit

    def counted(model, windows, *rest, **options):  # type: ignore[no-untyped-def]
        runs.append(len(windows))
        return fit(model, windows, *rest, **options)

    monkeypatch.setattr(adapter_learner, "fit", counted)
    return runs


def taught(name: str, start: StrategyContext) -> Taught:
    strategy, ranks = STRATEGIES[name](start), []
    for windows in plan().update_intervals(3):
        strategy.observe(windows)
        strategy.learn()
        ranks.append(strategy.score(plan().scored["S"][slice(None, None, 5)]).ranks.tolist())
    return ranks, strategy.trained_windows


def test_each_strategy_answers_as_if_it_had_trained_by_itself(setup: SetUp, tmp_path: Path, trained: list[int]) -> None:
    alone = context_of(setup, tmp_path)
    names = ("lora", "raie_k1", "ensemble", "ensemble_ranked", "lora_rows", "lora_replay", "lora_replay_ranked", "mole")
    expected = {name: taught(name, alone) for name in names}
    by_itself = len(trained)
    shared = Shared(tmp_path / "shared")
    together = replace(alone, trainings=shared.trainings)
    trained.clear()
    assert {name: taught(name, together) for name in names} == expected
    assert len(trained) == by_itself - 4 * 3, "three after `raie_k1`, and one after `lora_replay`, for three parts"
    assert shared.spared == [1.0] * 12


def test_a_training_of_other_windows_another_seed_or_other_settings_is_another_one(
    setup: SetUp, tmp_path: Path, trained: list[int]
) -> None:
    shared = Shared(tmp_path / "shared")
    first = replace(context_of(setup, tmp_path), trainings=shared.trainings)
    slower = first.config.training.model_copy(update={"learning_rate": 1e-4})
    starts = [
        first,
        replace(first, seed=1),
        replace(first, config=first.config.model_copy(update={"training": slower})),
        replace(first, config=config("adapter.rank=2")),
    ]
    for number, start in enumerate(starts, start=1):
        for _ in range(2):
            taught("raie_k1", start)
        assert len(trained) == 3 * number
    strategy = STRATEGIES["raie_k1"](first)
    strategy.observe(plan().update_intervals(2)[0])
    strategy.learn()
    assert len(trained) == 3 * len(starts) + 1


def test_a_training_of_some_layers_is_another_one(setup: SetUp, tmp_path: Path, trained: list[int]) -> None:
    start = replace(context_of(setup, tmp_path), trainings=Shared(tmp_path / "shared").trainings)
    windows = plan().update_intervals(3)[0]
    learner = LoraRows(start)
    for number, layers in enumerate((None, None, ["blocks.0.qkv"]), start=1):
        learner._create(f"r0001_v{number:04d}", windows[~windows.cold], None, 0)
        learner._fit(f"r0001_v{number:04d}", windows[~windows.cold], 0, layers=layers)
    assert len(trained) == 2


def test_keys_tell_names_shapes_and_kinds_apart() -> None:
    flat = np.arange(6, dtype=np.int64)
    given = [
        ("a", {"x": flat}),
        ("b", {"x": flat}),
        ("a", {"y": flat}),
        ("a", {"x": flat.reshape(2, 3)}),
        ("a", {"x": flat.reshape(2, 3).T}),
        ("a", {"x": flat.view(np.float64)}),
        ("a", {"x": flat + 1}),
    ]
    assert len({key_of(*each) for each in given}) == len(given)
    assert key_of("a", {"x": flat, "y": flat}) == key_of("a", {"y": flat.copy(), "x": flat.copy()})
