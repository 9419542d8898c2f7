"""How far a set-up region has come from set-up as a whole: the two-sample statistic, for people; it has no vote.

A detector looks at one score and at its rises. This looks at the scores of a window together, and both ways. It takes a
fit, so it comes once in so many windows; and its windows overlap, so what it is without drift is known only about.
"""

import numpy as np

from pipeline.drift.two_sample import LEAST_WINDOWS, tell_apart
from pipeline.monitor import signals
from pipeline.monitor.region_state import RegionState
from pipeline.monitor.state import State


def tell(state: State, region_state: RegionState) -> None:
    """Count a window of a set-up region, and tell those since the last telling apart if they are enough."""
    setup, windows = state.setup_scores.get(region_state.region_id), state.config.monitor.telling_windows
    if setup is None or windows == 0:
        return
    region_state.untold += 1
    if region_state.untold < windows:
        return
    region_state.untold = 0
    places = [place for place, signal in enumerate(signals.of_windows()) if signal.compared]
    newest = np.array([[seen.scores[place] for place in places] for seen in list(region_state.seen)[-windows:]])
    if min(len(setup), len(newest)) >= 2 * LEAST_WINDOWS:
        older, newer = np.array_split(newest, 2)
        region_state.told = tell_apart(setup, older, newer, state.config.gate.penalty, state.seed).auc
