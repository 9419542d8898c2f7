"""The streams of the drift benchmark: `shown` gives the detectors the values that the monitor gives them."""

import numpy as np
import pytest

from benchmarks.gated_streams import DRIFTED, LENGTH, Planted, draw, gated, monitor, shown
from pipeline.config import load_config

EVENTS = 4_800


@pytest.mark.parametrize("thinning", [LENGTH, LENGTH // 2])
def test_the_values_shown_are_those_of_the_monitor(thinning: int) -> None:
    config = load_config(overrides=(f"monitor.thinning={thinning}",))
    stream = draw(EVENTS, thinning, 3, Planted(EVENTS // 2, lambda _, places: np.full(len(places), 2.0)))
    long, short = monitor(config, 3), monitor(config, 3)
    for offset, record in enumerate(gated(stream)):
        long.observe(record, offset)
    for (region_id, signal, phase), values in shown(stream).items():
        detector = short.state.regions[region_id].detectors[signal][phase]
        for value in values.tolist():
            detector.update(value)
        assert detector.state() == long.state.regions[region_id].detectors[signal][phase].state()
    assert {i for i, region in long.state.regions.items() if region.raised} == {DRIFTED}


def test_windows_of_a_user_come_in_bursts_that_overlap() -> None:
    scores = draw(EVENTS, LENGTH, 1).scores[:, 0].reshape(-1, 40)
    near, far = (np.corrcoef(scores[:, :-lag].ravel(), scores[:, lag:].ravel())[0, 1] for lag in (1, LENGTH))
    assert near == pytest.approx(0.9, abs=0.05)
    assert far == pytest.approx(0.0, abs=0.1)
    between_users = np.corrcoef(scores[:-1, -1], scores[1:, 0])[0, 1]
    assert abs(between_users) < 0.4


def test_an_edit_is_right_after_the_drift_and_about_its_region() -> None:
    made = monitor(load_config(overrides=(f"monitor.thinning={LENGTH}",)), 3)
    planted = Planted(EVENTS // 2, lambda _, places: np.full(len(places), 2.0))
    edits = []
    for offset, record in enumerate(gated(draw(EVENTS, LENGTH, 3, planted))):
        made.observe(record, offset)
        edits += made.decide() if offset % 128 == 0 else []
    assert [planted.found_by(edit) for edit in edits] == [True]
    assert not Planted(EVENTS, planted.rise).found_by(edits[0])
