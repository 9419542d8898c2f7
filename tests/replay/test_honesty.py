"""A law of every strategy: what it says of an interaction follows from the past alone."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pipeline.events.item import Item
from pipeline.events.windows import Windows
from pipeline.models.catalogue import make_catalogue
from pipeline.setup.artifacts import SetUp
from pipeline.strategies import DEFAULT, OF_LANGUAGE_MODELS
from pipeline.strategies.base import Scored, Strategy, StrategyContext
from pipeline.strategies.baselines.finetune import FineTune
from pipeline.strategies.registry import STRATEGIES
from pipeline.strategies.timeline import Stream, Timeline
from tests.replay.small import context_of, plan

FIRST, SECOND, CHANGED = 128, 96, 40
"""Windows of two parts with learning in between, and the row of the second from which on the future differs."""

OF_ANY_BACKBONE = [name for name in STRATEGIES if name not in OF_LANGUAGE_MODELS]

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
    strategy = make(context_of(setup, folder))
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


@pytest.mark.parametrize("name", OF_ANY_BACKBONE)
def test_later_events_never_change_earlier_answers(name, setup, tmp_path):
    assert_honest(STRATEGIES[name], setup, tmp_path)


def with_texts(start: StrategyContext, items: Mapping[str, Item]) -> StrategyContext:
    return replace(start, items=items, catalogue=make_catalogue(start.timeline.item_ids, items, start.encoder))


def with_other_texts_later(start: StrategyContext, from_row: int) -> StrategyContext:
    """The same log, in which the items from a row on have other texts."""
    later = set(start.timeline.item_ids[from_row - 1 :])
    assert len(later) > 3
    texts = {i: replace(item, text=f"changed {i[::-1]}") if i in later else item for i, item in start.items.items()}
    return with_texts(start, texts)


def cut_after(start: StrategyContext, events: int) -> StrategyContext:
    """The log without its events after so many of the stream."""
    planned = plan()
    stream = planned.stream[slice(0, events)]
    ids = [planned.timeline.item_ids[row - 1] for row in stream.targets.tolist()]
    part = Stream(int(stream.positions[0]), stream.timestamps, ids, [], stream.users.tolist())
    setup_ids = planned.timeline.item_ids[: planned.timeline.setup_items]
    return with_texts(replace(start, timeline=Timeline(start.items, setup_ids, part, start.config.items)), start.items)


@pytest.mark.parametrize("name", DEFAULT)
def test_neither_later_texts_nor_later_items_change_what_was_said_before(name, setup, tmp_path):
    whole, shown = context_of(setup, tmp_path / "whole"), FIRST + CHANGED
    last = whole.timeline.last_row(int(plan().stream.positions[shown - 1]))
    starts = [
        whole,
        replace(with_other_texts_later(whole, last + 1), folder=tmp_path / "texts"),
        replace(cut_after(whole, shown), folder=tmp_path / "cut"),
    ]
    found = []
    for start in starts:
        strategy = STRATEGIES[name](start)
        strategy.observe(plan().stream[slice(0, FIRST)])
        strategy.learn()
        found.append(strategy.observe(plan().stream[slice(FIRST, shown)]))
        strategy.close()
    assert len(starts[2].catalogue) == last < len(whole.catalogue)
    for other in found[1:]:
        for field in ("ranks", "regions", "confidence"):
            np.testing.assert_array_equal(getattr(other, field), getattr(found[0], field))


def test_a_strategy_that_learns_before_it_answers_is_caught(setup, tmp_path):
    class Peeking(FineTune):
        def observe(self, windows: Windows) -> Scored:
            super().observe(windows)
            self.learn()
            return self.score(windows)

    with pytest.raises(AssertionError):
        assert_honest(Peeking, setup, tmp_path)


@pytest.mark.parametrize("name", OF_ANY_BACKBONE)
def test_scoring_takes_nothing_in(name, setup, tmp_path):
    start = context_of(setup, tmp_path)
    strategy = STRATEGIES[name](start)
    part, asked = stream()[slice(0, FIRST)], stream()[slice(FIRST, None)]
    strategy.observe(part)
    strategy.learn()
    cost = strategy.trained_windows
    first, second = strategy.score(asked), strategy.score(asked)
    np.testing.assert_array_equal(first.ranks, second.ranks)
    assert strategy.trained_windows == cost
