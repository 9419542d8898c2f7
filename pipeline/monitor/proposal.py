"""Proposals of the rules: edits without an id, and the reasons and samples that they share."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pipeline.events.edit import Evidence, Operation
from pipeline.monitor.region_state import RegionState
from pipeline.monitor.state import State
from pipeline.regions.region import Origin, Region

MOST_SAMPLES = 8_192
"""Windows of stream regions that an edit names for fitting boundaries."""


@dataclass(frozen=True, slots=True)
class Proposal:
    """An edit that a rule finds due.

    Attributes:
        operation: the kind of edit.
        region: to be changed; None for a new region, whose id the monitor issues.
        reason: signal, statistic, threshold, a sentence, and the operation's own fields.
        windows: evidence to train and judge on, in event order; that of a new region is relabelled with its id.
        other: id of the second region, where there are two.
        samples: see `Edit`.
        passes: see `Edit`.
    """

    operation: Operation
    region: Region | None
    reason: Mapping[str, Any]
    windows: Sequence[Evidence] = ()
    other: int | None = None
    samples: Sequence[Evidence] = ()
    passes: int | None = None


def reason_of(region_state: RegionState | None, signal: str, text: str) -> dict[str, Any]:
    """Build the reason of an edit.

    Args:
        region_state: the region whose alarm leads to the edit; None without an alarm.
        signal: cause of the edit; where it is no raised signal of the region, its alarm of the highest statistic
            stands instead.
        text: a sentence.
    """
    if region_state is None:
        return {"signal": signal, "statistic": None, "threshold": None, "text": text}
    raised = region_state.raised
    name = signal if signal in raised else max(raised, key=lambda s: raised[s][1])
    threshold = region_state.detectors[name][0].threshold
    return {"signal": name, "statistic": raised[name][1], "threshold": threshold, "text": text}


def boundary_samples(state: State, fresh: Sequence[Evidence] = ()) -> list[Evidence]:
    """Newest evidence of every stream region, and `fresh`, each window once a region."""
    opened = state.of_origin(Origin.STREAM)
    # An edit is one record of the log: many regions share the room in it.
    room = MOST_SAMPLES // max(1, len(opened))
    newest = {(e.region_id, e.event_id): e for w in opened for e in list(w.sample)[-room:]}
    newest.update({(e.region_id, e.event_id): e for e in fresh})
    return sorted(newest.values(), key=lambda e: (e.region_id, e.offset))
