"""Separability of a set-up region: the AUC of its newest windows against held-out set-up windows, for people.

A detector sees one score and its rises; the classifier two-sample statistic sees the scores of a window together, and
falls as well. No rule reads it: it takes a fit, so it is measured once in `monitor.telling_windows` windows, and its
windows overlap, so its distribution without drift is only known approximately.
"""

import numpy as np

from pipeline.drift.two_sample import LEAST_WINDOWS, compare_samples
from pipeline.monitor import signals
from pipeline.monitor.region_state import RegionState
from pipeline.monitor.state import State


def measure_separability(state: State, region_state: RegionState) -> None:
    """Count a window of a set-up region, and measure its separability when there are enough since the last time."""
    setup, windows = state.setup_scores.get(region_state.region_id), state.config.monitor.telling_windows
    if setup is None or windows == 0:
        return
    region_state.windows_since_separability += 1
    if region_state.windows_since_separability < windows:
        return
    region_state.windows_since_separability = 0
    places = [place for place, signal in enumerate(signals.of_windows()) if signal.compared]
    rows = [[o.scores[place] for place in places] for o in list(region_state.observations)[-windows:]]
    newest = np.array([row for row in rows if None not in row], dtype=np.float64)
    if min(len(setup), len(newest)) >= 2 * LEAST_WINDOWS:
        older, newer = np.array_split(newest, 2)
        region_state.separability = compare_samples(setup, older, newer, state.config.gate.penalty, state.seed).auc
