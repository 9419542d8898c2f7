"""Retire: a region that is hardly visited any more ends."""

from collections.abc import Iterator

from pipeline.events.edit import Operation
from pipeline.monitor.edit_factory import Proposal
from pipeline.monitor.region_state import RegionState
from pipeline.monitor.state import State
from pipeline.monitor.visits import visit_shares
from pipeline.regions.region import Origin

ENDS = (Operation.MERGE, Operation.RETIRE)
"""Operations that end a region."""

LEAST_VISITS = 40
"""Least number of expected visits whose absence counts as evidence."""


def retire(state: State) -> Iterator[Proposal]:
    """Propose to retire regions whose visits fell below `edits.retire_share` of what they were."""
    for region_id, share in visit_shares(state).items():
        yield from _retire(state, state.regions[region_id], share)


def _retire(state: State, region_state: RegionState, share: float) -> Iterator[Proposal]:
    window, region = state.config.monitor.visits_window, region_state.region
    setup = region.origin == Origin.BASE
    usual = region.prior if setup else max(region_state.peak_share, share)
    least = state.config.edits.retire_share * usual
    old_enough = state.at_event - region.opened_at >= window
    if share >= least or usual * window < LEAST_VISITS or not old_enough or (setup and _is_last(state)):
        return
    text = f"{share:.2%} of the last {window} windows visited region {region.region_id}, {usual:.2%} used to"
    reason = {"signal": "visits", "statistic": share, "threshold": least, "text": text}
    yield Proposal(Operation.RETIRE, region, reason)


def _is_last(state: State) -> bool:
    """Say whether one set-up region is left that no pending edit ends."""
    pending = state.pending.values()
    ending = {
        e.other_region_id if e.operation is Operation.MERGE else e.region_id for e in pending if e.operation in ENDS
    }
    return sum(w.region_id not in ending for w in state.of_origin(Origin.BASE)) == 1
