"""The order in which a strategy is shown the stream, and where its answers end up."""

import numpy as np
import pytest

from pipeline.evaluation.strategy_run import Stopwatch, run_strategy
from pipeline.events.windows import Windows
from pipeline.strategies.base import Scored
from tests.replay.small import plan


class Recorder:
    """Answers with the targets themselves, and remembers what it was asked."""

    name = "recorder"
    trained_windows = 0

    def __init__(self) -> None:
        self.calls: list[tuple[str, list[str]]] = []

    def observe(self, windows: Windows) -> Scored:
        self.calls.append(("observe", windows.event_ids.tolist()))
        return Scored(windows.targets, windows.targets % 3, windows.timestamps)

    def learn(self) -> None:
        self.calls.append(("learn", []))

    def score(self, windows: Windows) -> Scored:
        self.calls.append(("score", windows.event_ids.tolist()))
        return Scored(windows.targets)


@pytest.mark.parametrize("protocol", ["prequential", "windows"])
def test_each_part_is_scored_before_it_is_learned_and_the_rest_at_the_end(protocol):
    planned, recorder, steps = plan(f"protocol={protocol}", "windows.length=4"), Recorder(), []
    answers = run_strategy(
        recorder, planned, 3, Stopwatch(lambda: 0.0), lambda done, total: steps.append((done, total))
    )
    parts = [("observe", part.event_ids.tolist()) for part in planned.update_intervals(3)]
    learned = [call for part in parts for call in (part, ("learn", []))]
    scored = [("score", windows.event_ids.tolist()) for windows in planned.scored.values()]
    assert recorder.calls == learned + scored
    total = 3 + len(planned.scored)
    assert steps == [(done, total) for done in range(total + 1)]
    assert list(answers) == list(planned.by_slice)
    for name, windows in planned.by_slice.items():
        np.testing.assert_array_equal(answers[name].ranks, windows.targets)
        if name in planned.observed:
            np.testing.assert_array_equal(answers[name].regions, windows.targets % 3)
            np.testing.assert_array_equal(answers[name].confidence, windows.timestamps)


def test_seconds_are_counted_by_strategy_and_phase():
    now = iter([0.0, 1.0, 3.0, 10.0, 14.0, 20.0])
    stopwatch = Stopwatch(lambda: next(now))
    for _ in range(2):
        with stopwatch.phase("raie", "observe"):
            pass
    assert stopwatch.take("raie") == {"observe": 6.0}
    assert stopwatch.take("raie") == {}
    assert stopwatch.total == 20.0


def test_what_was_spared_counts_for_the_strategy_and_not_for_the_whole():
    now = iter([0.0, 1.0, 3.0, 20.0])
    stopwatch = Stopwatch(lambda: next(now))
    with stopwatch.phase("ensemble", "learn"):
        stopwatch.spare(5.0)
    assert stopwatch.take("ensemble") == {"learn": 7.0}
    assert stopwatch.total == 20.0
