"""Making an edit: what it asks for, on which windows, and the reason that it gives."""

from collections.abc import Mapping, Sequence
from typing import Any

from pipeline.events.edit import Edit, Evidence, Operation, edit_id
from pipeline.monitor.region_state import RegionState
from pipeline.monitor.state import State
from pipeline.regions.region import Origin, Region

MOST_SAMPLES = 8_192
"""Windows of opened regions that an edit names for fitting boundaries."""


def new_edit(
    state: State,
    operation: Operation,
    region: Region | int,
    other: int | None,
    reason: Mapping[str, Any],
    windows: Sequence[Evidence],
    samples: Sequence[Evidence] = (),
    passes: int | None = None,
) -> Edit:
    """Make an edit as of now; the caller decides whether it is asked for.

    Args:
        state: what is known.
        operation: what to do.
        region: the region to change, or the id of a new one.
        other: id of the second region, where there are two.
        reason: signal, statistic, threshold, a sentence, and what else the operation needs.
        windows: evidence to train and judge on, in event order.
        samples: see `Edit`.
        passes: see `Edit`.
    """
    region_id, version = (region, 0) if isinstance(region, int) else (region.region_id, region.version)
    training = state.config.training.model_dump() | state.config.adapter.model_dump()
    # The gate's version stands for what moved since: two edits on the same windows are two edits.
    pending = {**training, "gate_version": state.bank.gate_version, "other": other, "passes": passes}
    identity = edit_id(operation, region_id, version, (e.event_id for e in windows), pending, state.seed)
    return Edit(
        identity,
        operation,
        region_id,
        other,
        version,
        state.bank.gate_version,
        reason,
        tuple(windows),
        tuple(samples),
        state.at_event,
        state.timestamp,
        int(identity[:8], 16),
        passes,
    )


def reason_of(region_state: RegionState | None, signal: str, text: str) -> dict[str, Any]:
    """Why an edit is asked for.

    Args:
        region_state: the region whose alarm calls for it, or None where no alarm does.
        signal: what calls for it; where that is none of the region's signals, its loudest alarm stands in.
        text: a sentence.
    """
    if region_state is None:
        return {"signal": signal, "statistic": None, "threshold": None, "text": text}
    name = (
        signal if signal in region_state.raised else max(region_state.raised, key=lambda s: region_state.raised[s][1])
    )
    return {
        "signal": name,
        "statistic": region_state.raised[name][1],
        "threshold": region_state.detectors[name][0].threshold,
        "text": text,
    }


def boundary_samples(state: State, fresh: Sequence[Evidence] = ()) -> list[Evidence]:
    """Newest evidence of every opened region, and the fresh, each window once a region."""
    opened = state.of_origin(Origin.STREAM)
    # An edit is one record of the log: many regions have to share the room in it.
    room = MOST_SAMPLES // max(1, len(opened))
    newest = {(e.region_id, e.event_id): e for w in opened for e in list(w.sample)[-room:]}
    newest.update({(e.region_id, e.event_id): e for e in fresh})
    return sorted(newest.values(), key=lambda e: (e.region_id, e.offset))
