"""A detector is shown no two windows of a user that share an item."""

import numpy as np
import pytest

from pipeline.config import load_config
from pipeline.drift.subsampling import phases, stride
from tests.consumers.run_of_raie import the_setup
from tests.monitor.test_monitor import Driven, config

AS_SHIPPED = ("monitor.thinning=0", "windows.length=10")


def test_windows_are_a_whole_length_apart_unless_told_otherwise() -> None:
    assert stride(load_config(overrides=("windows.length=20",))) == 20
    assert stride(load_config(overrides=("windows.length=20", "monitor.thinning=3"))) == 3


@pytest.mark.parametrize(("stride", "expected"), [(1, (0,)), (2, (0, 1)), (7, (0, 3)), (10, (0, 5))])
def test_the_second_phase_begins_halfway(stride: int, expected: tuple[int, ...]) -> None:
    assert phases(stride) == expected


def test_one_window_in_a_length_is_shown_and_every_loss() -> None:
    driven = Driven(config(*AS_SHIPPED))
    for _ in range(40):
        driven.show(1, user_id="ann")
    detectors = driven.monitor.state.regions[1].detectors
    seen = {signal: [detector.seen for detector in of] for signal, of in detectors.items()}
    assert seen == {"novelty": [4], "doubt": [4], "rarity": [4], "loss": [40], "shift": [3, 3]}


def test_a_move_shows_once_in_each_phase_between_windows_that_do_not_overlap() -> None:
    driven = Driven(config(*AS_SHIPPED))
    for window in range(40):
        driven.show(1 if window < 13 else 2, user_id="ann")
    state = driven.monitor.state
    # Windows 5 and 15 in one phase, 10 and 20 in the other; events are counted from one.
    assert [(move.at_event, move.origin, move.target) for move in state.moves] == [(16, 1, 2), (21, 1, 2)]
    assert [list(phase) for phase in state.regions[1].moves] == [[0.0, 1.0], [1.0]]
    assert [list(phase) for phase in state.regions[2].moves] == [[0.0], [0.0, 0.0]]


def test_an_alarm_of_either_phase_is_an_alarm_and_its_edit_resets_both() -> None:
    driven = Driven(config(*AS_SHIPPED, "monitor.visits_window=4000"))
    for n in range(60):
        # Fifteen windows in region 1 and one elsewhere: only the pair of windows 5 and 15 sees the user move.
        for window in range(16):
            driven.show(1 if window < 15 else 2, user_id=f"mover{n}")
    region = driven.monitor.state.regions[1]
    first, second = region.detectors["shift"]
    assert second.drift_detected and not first.drift_detected
    assert region.raised["shift"][1] >= second.threshold
    (edit,) = driven.monitor.decide()
    assert edit.reason["signal"] == "shift"
    driven.settle(edit, published=True)
    assert not second.drift_detected and first.seen == second.seen == 0


def test_calibration_has_the_moves_of_each_phase() -> None:
    calibrated = the_setup().calibration
    assert set(calibrated.moved_lane) == {0, 1}
    assert len(calibrated.moved_lane) == len(calibrated.moved_from) == len(calibrated.moved)
    in_second = int(calibrated.moved_lane.sum())
    # A user's second phase begins later, so it has as many pairs as the first or one less.
    assert 0 < in_second <= len(calibrated.moved_lane) - in_second
    assert set(np.unique(calibrated.moved)) == {0.0, 1.0}
