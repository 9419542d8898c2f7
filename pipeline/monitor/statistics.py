"""Per-region statistics of the gate's scores, for metrics and reports; no rule reads them."""

from bisect import bisect_left
from collections import Counter
from typing import Any, NamedTuple

import numpy as np

from pipeline.events.gated import GatedEvent
from pipeline.metrics.ranking import LIST_LENGTH, NOT_SCORED
from pipeline.monitor.state import EventTally, State
from pipeline.regions.region import Origin

NARROW = 0.2
"""Margin below which an event is reported as doubtful."""


def count(state: State, event: GatedEvent) -> None:
    """Count an event, cold or not, in the statistics of the region of its highest posterior."""
    region_id = event.region_id
    listed = (float(NOT_SCORED < rank <= LIST_LENGTH) for rank in (event.rank, event.popularity_rank))
    tally = EventTally(event.confidence, event.margin, _novelty(state, region_id, event.angle), *listed)
    state.tally.setdefault(region_id, []).append(tally)


class Shares(NamedTuple):
    """Shares of one region in the newest visits.

    Attributes:
        own: share of the visits that are counted in the region.
        since: share, of the visits whose likeliest set-up region it is, that are counted in a stream region; 0 for
            stream regions.
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
    """Make a row for each region with events since the last call, and clear the counts."""
    now = shares(state)
    made = [_row(state, i, tallies, now.get(i, Shares(0.0, 0.0))) for i, tallies in sorted(state.tally.items())]
    state.tally.clear()
    state.ended.clear()
    return made


def _row(state: State, region_id: int, tallies: list[EventTally], share: Shares) -> dict[str, Any]:
    # A region that has ended may still get events that were gated before.
    region_state = state.regions.get(region_id) or state.ended.get(region_id)
    detectors = [(s, d) for s, phases in region_state.detectors.items() for d in phases] if region_state else []
    means = zip(EventTally._fields, np.array(tallies).mean(axis=0).tolist(), strict=True)
    signal, loudest = max(detectors, key=lambda of: of[1].statistic, default=(None, None))
    return {
        "region_id": region_id,
        "origin": state.bank[region_id].origin,
        "at_event": state.at_event,
        "timestamp": state.timestamp,
        "windows": len(tallies),
        **dict(means),
        "doubtful_share": float(np.mean([t.margin < NARROW for t in tallies])),
        "signal": signal,
        "drift_statistic": loudest.statistic if loudest else 0.0,
        "threshold": loudest.threshold if loudest else float(np.log(state.config.monitor.expected_run)),
        "told_apart": region_state.separability if region_state else None,
        "share": share.own,
        "since_share": share.since,
    }


def _novelty(state: State, region_id: int, angle: float) -> float:
    """Conformal p-value of the angle among the region's held-out set-up windows; 1 for stream regions."""
    reference = state.angles.get(region_id)
    if reference is None:
        return 1.0
    stranger = len(reference) - bisect_left(reference, angle)
    return (stranger + 1) / (len(reference) + 1)
