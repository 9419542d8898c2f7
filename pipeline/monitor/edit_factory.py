"""Proposals of the rules, and the edits made of them: id, versions, seed and time."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pipeline.events.edit import MOVES_BOUNDARIES, Edit, Evidence, Operation, edit_id, touched_regions
from pipeline.monitor.region_state import RegionState
from pipeline.monitor.state import State
from pipeline.regions.injection import EVERY_REGION
from pipeline.regions.region import Origin, Region

MOST_SAMPLES = 8_192
"""Windows of stream regions that an edit names for fitting boundaries, or one of each region where there are more."""


@dataclass(frozen=True, slots=True)
class Proposal:
    """An edit that a rule finds due.

    Attributes:
        operation: the kind of edit.
        region: to be changed; None for a new region, whose id the monitor issues, for an Inject and for an Unlearn.
        reason: signal, statistic, threshold, a sentence, and the operation's own fields.
        windows: evidence to train and judge on, in event order; that of a new region is relabelled with its id.
        other: id of the second region, where there are two.
        fresh: windows that a boundary is moved over, beside the newest evidence of every stream region.
        samples: windows that judge an Inject.
        passes: see `Edit`.
        items: see `Edit`.
    """

    operation: Operation
    region: Region | None
    reason: Mapping[str, Any]
    windows: Sequence[Evidence] = ()
    other: int | None = None
    fresh: Sequence[Evidence] = ()
    samples: Sequence[Evidence] = ()
    passes: int | None = None
    items: Sequence[str] = ()

    @property
    def touched(self) -> frozenset[int]:
        """See `Edit.touched`; the id of a new region is not issued yet."""
        return touched_regions(self.region.region_id if self.region else None, self.other, self.reason)


def new_edit(state: State, proposal: Proposal, new_region_id: int) -> Edit:
    """Make the edit of a proposal as of now.

    Args:
        state: of the monitor.
        proposal: of a rule.
        new_region_id: id of the region that an Add opens.
    """
    region, windows = proposal.region, proposal.windows
    region_id, version = (new_region_id, 0) if region is None else (region.region_id, region.version)
    if proposal.operation is Operation.INJECT:
        region_id, version = EVERY_REGION, state.bank.injection.version
    elif proposal.operation is Operation.UNLEARN:
        region_id, version = EVERY_REGION, state.unlearnings
    elif region is None:
        windows = [e.for_region(region_id) for e in windows]
    samples = boundary_samples(state, proposal.fresh) if proposal.operation in MOVES_BOUNDARIES else proposal.samples
    events = (e.event_id for e in windows)
    identity = edit_id(proposal.operation, region_id, version, events, _content(state, proposal), state.seed)
    return Edit(
        identity,
        proposal.operation,
        region_id,
        proposal.other,
        version,
        state.bank.gate_version,
        proposal.reason,
        tuple(windows),
        tuple(samples),
        state.at_event,
        state.timestamp,
        int(identity[:8], 16),
        proposal.passes,
        tuple(proposal.items),
    )


def _content(state: State, proposal: Proposal) -> dict[str, Any]:
    """Content of an edit that its id depends on, beside the windows."""
    training = state.config.training.model_dump() | state.config.adapter.model_dump()
    # The gate's version stands for all boundary moves since: two edits on the same windows have two ids.
    gate_version = state.bank.gate_version
    content = {**training, "gate_version": gate_version, "other": proposal.other, "passes": proposal.passes}
    return content | ({"items": list(proposal.items)} if proposal.items else {})


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
    room = max(1, MOST_SAMPLES // max(1, len(opened)))
    newest = {(e.region_id, e.event_id): e for w in opened for e in list(w.sample)[-room:]}
    newest.update({(e.region_id, e.event_id): e for e in fresh})
    return sorted(newest.values(), key=lambda e: (e.region_id, e.offset))
