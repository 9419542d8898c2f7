"""A law of every strategy: what it says of an interaction follows from the past alone."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pipeline.events.windows import Windows
from pipeline.setup.artifacts import SetUp
from pipeline.strategies.base import Scored, Strategy, StrategyContext
from pipeline.strategies.baselines.finetune import FineTune
from pipeline.strategies.registry import STRATEGIES
from tests.replay.small import config, plan

FIRST, SECOND, CHANGED = 128, 96, 40
"""Windows of two parts with learning in between, and the row of the second from which on the future differs."""

Make = Callable[[StrategyContext], Strategy]


def stream() -> Windows:
    return plan().stream[slice(0, FIRST + SECOND)]


def another_future(windows: Windows, items: int) -> Windows:
    """The same windows up to row `CHANGED` of the second part, other targets and contexts from there on."""
    rng = np.random.default_rng(1)
    targets, contexts = windows.targets.copy(), windows.contexts.copy()
    later = FIRST + CHANGED
    targets[later:] = rng.integers(1, items + 1, len(windows) - later)
    contexts[later + 1 :] = rng.integers(1, items + 1, contexts[later + 1 :].shape)
    return replace(windows, targets=targets, contexts=contexts)


def answers(make: Make, setup: SetUp, windows: Windows, folder: Path) -> Scored:
    planned = plan()
    strategy = make(StrategyContext(setup, config(), planned.setup, 0, folder))
    strategy.observe(windows[slice(0, FIRST)])
    strategy.learn()
    return strategy.observe(windows[slice(FIRST, None)])


def assert_honest(make: Make, setup: SetUp, folder: Path) -> None:
    here = answers(make, setup, stream(), folder / "here")
    there = answers(make, setup, another_future(stream(), len(setup.catalogue)), folder / "there")
    for name in ("ranks", "regions", "confidence"):
        one, other = getattr(here, name), getattr(there, name)
        # The context of the row at which the future begins is still the same, its target is not.
        assert one is other is None or np.array_equal(one[:CHANGED], other[:CHANGED])
    assert not np.array_equal(here.ranks[CHANGED:], there.ranks[CHANGED:])


@pytest.mark.parametrize("name", STRATEGIES)
def test_later_events_never_change_earlier_answers(name, setup, tmp_path):
    assert_honest(STRATEGIES[name], setup, tmp_path)


def test_a_strategy_that_learns_before_it_answers_is_caught(setup, tmp_path):
    class Peeking(FineTune):
        def observe(self, windows: Windows) -> Scored:
            super().observe(windows)
            self.learn()
            return self.score(windows)

    with pytest.raises(AssertionError):
        assert_honest(Peeking, setup, tmp_path)


@pytest.mark.parametrize("name", STRATEGIES)
def test_scoring_takes_nothing_in(name, setup, tmp_path):
    start = StrategyContext(setup, config(), plan().setup, 0, tmp_path)
    strategy = STRATEGIES[name](start)
    part, asked = stream()[slice(0, FIRST)], stream()[slice(FIRST, None)]
    strategy.observe(part)
    strategy.learn()
    cost = strategy.trained_windows
    first, second = strategy.score(asked), strategy.score(asked)
    np.testing.assert_array_equal(first.ranks, second.ranks)
    assert strategy.trained_windows == cost
