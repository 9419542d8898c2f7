"""What the gate said of each region's events, for people: no decision hangs on it."""

from bisect import bisect_left
from collections import Counter
from typing import Any, NamedTuple

import numpy as np

from pipeline.events.gated import GatedEvent
from pipeline.monitor.state import State, Tallied
from pipeline.regions.region import Origin

NARROW = 0.2
"""A margin below this is reported as doubtful; no decision hangs on it."""


def count(state: State, gated: GatedEvent) -> None:
    """Count an event in the statistics of the one region of its top posterior, whatever becomes of it."""
    region_id = gated.region_id
    said = Tallied(gated.confidence, gated.margin, _novelty(state, region_id, gated.angle))
    state.tally.setdefault(region_id, []).append(said)


class Shares(NamedTuple):
    """Where the newest visits went.

    Attributes:
        own: share of a region in all of them.
        since: of those of its taste, the share that looks as since set-up; 0 for opened regions, nobody's taste.
    """

    own: float
    since: float


def shares(state: State) -> dict[int, Shares]:
    """Shares of live regions in the newest visits, by id."""
    tops, setup_regions = Counter(v.region_id for v in state.visits), Counter(v.setup_region for v in state.visits)
    opened = {w.region_id for w in state.of_origin(Origin.STREAM)}
    since = Counter(v.setup_region for v in state.visits if v.region_id in opened)
    visits = max(1, len(state.visits))
    return {i: Shares(tops[i] / visits, since[i] / max(1, setup_regions[i])) for i in sorted(state.regions)}


def rows(state: State) -> list[dict[str, Any]]:
    """A row for each region that had events since the last call; they are then forgotten."""
    now = shares(state)
    made = [_row(state, i, tallied, now.get(i, Shares(0.0, 0.0))) for i, tallied in sorted(state.tally.items())]
    state.tally.clear()
    state.ended.clear()
    return made


def _row(state: State, region_id: int, tallied: list[Tallied], share: Shares) -> dict[str, Any]:
    # A region that has ended may still have had events, gated before that was known.
    region_state = state.regions.get(region_id) or state.ended.get(region_id)
    detectors = [(s, d) for s, phases in region_state.detectors.items() for d in phases] if region_state else []
    confidence, margin, novelty = np.array(tallied).mean(axis=0)
    signal, loudest = max(detectors, key=lambda of: of[1].statistic, default=(None, None))
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
        "told_apart": region_state.told if region_state else None,
        "share": share.own,
        "since_share": share.since,
    }


def _novelty(state: State, region_id: int, angle: float) -> float:
    """Conformal p-value of the angle among the region's held-out set-up windows; 1 for opened regions."""
    reference = state.angles.get(region_id)
    if reference is None:
        return 1.0
    stranger = len(reference) - bisect_left(reference, angle)
    return (stranger + 1) / (len(reference) + 1)
