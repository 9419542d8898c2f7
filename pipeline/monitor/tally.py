"""What the gate said of each region's events, for people: no decision hangs on it."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from pipeline.monitor.state import State, Tallied

NARROW = 0.2
"""A margin below this is reported as doubtful; no decision hangs on it."""


def count(state: State, gated: Mapping[str, Any]) -> None:
    """Count an event in the statistics of the one region of its top posterior, whatever becomes of it."""
    region_id = gated["region_id"]
    said = Tallied(gated["confidence"], gated["margin"], _novelty(state, region_id, gated["angle"]))
    state.tally.setdefault(region_id, []).append(said)


def rows(state: State) -> list[dict[str, Any]]:
    """A row for each region that had events since the last call; they are then forgotten."""
    made = [_row(state, region_id, tallied) for region_id, tallied in sorted(state.tally.items())]
    state.tally.clear()
    state.ended.clear()
    return made


def _row(state: State, region_id: int, tallied: list[Tallied]) -> dict[str, Any]:
    # A region that has ended may still have had events, gated before that was known.
    watched = state.watched.get(region_id) or state.ended.get(region_id)
    detectors = watched.detectors if watched else {}
    confidence, margin, novelty = np.array(tallied).mean(axis=0)
    signal = max(detectors, key=lambda s: detectors[s].statistic, default=None)
    loudest = detectors[signal] if signal else None
    return {
        "region_id": region_id,
        "origin": state.bank[region_id].origin,
        "at_event": state.at_event,
        "timestamp": state.timestamp,
        "windows": len(tallied),
        "confidence": float(confidence),
        "margin": float(margin),
        "novelty": float(novelty),
        "doubtful_share": float(np.mean([t.margin < NARROW for t in tallied])),
        "signal": signal,
        "drift_statistic": loudest.statistic if loudest else 0.0,
        "threshold": loudest.threshold if loudest else float(np.log(state.config.monitor.expected_run)),
    }


def _novelty(state: State, region_id: int, angle: float) -> float:
    """Conformal p-value of the angle among the region's held-out set-up windows; 1 for opened regions."""
    reference = state.angles.get(region_id)
    if reference is None:
        return 1.0
    stranger = len(reference) - int(np.searchsorted(reference, angle))
    return (stranger + 1) / (len(reference) + 1)
