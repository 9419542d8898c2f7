"""Retire: a region that is hardly visited any more ends."""

from pipeline.events.edit import Operation
from pipeline.monitor.edit_factory import Proposal, boundary_samples
from pipeline.monitor.region_state import RegionState
from pipeline.monitor.state import State
from pipeline.monitor.visits import visit_shares
from pipeline.regions.region import Origin

LEAST_VISITS = 40
"""Least number of expected visits whose absence counts as evidence."""


def retire(state: State) -> Proposal | None:
    """Propose to retire the first region whose visits fell below `edits.retire_share` of what they were."""
    proposals = (_retire(state, state.regions[i], share) for i, share in visit_shares(state).items())
    return next(filter(None, proposals), None)


def _retire(state: State, region_state: RegionState, share: float) -> Proposal | None:
    window, region = state.config.monitor.visits_window, region_state.region
    setup = region.origin == Origin.BASE
    usual = region.prior if setup else max(region_state.peak_share, share)
    least = state.config.edits.retire_share * usual
    alone = len(state.of_origin(region.origin)) == 1 and setup
    old_enough = state.at_event - region.opened_at >= window
    if share >= least or usual * window < LEAST_VISITS or not old_enough or alone:
        return None
    text = f"{share:.2%} of the last {window} windows visited region {region.region_id}, {usual:.2%} used to"
    reason = {"signal": "visits", "statistic": share, "threshold": least, "text": text}
    return Proposal(Operation.RETIRE, region, reason, samples=boundary_samples(state))
