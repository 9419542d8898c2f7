"""Regions that end: Merge of two that came to coincide, Retire of one that nobody visits."""

from collections import Counter

from pipeline.events.edit import Edit, Operation
from pipeline.monitor.edit_factory import boundary_samples, new_edit
from pipeline.monitor.state import State
from pipeline.regions.region import Origin

LEAST_VISITS = 40
"""Fewer expected visits than this say nothing when they fail to come."""


def retire(state: State) -> Edit | None:
    """A region that nobody visits any more."""
    window = state.config.monitor.visits_window
    if len(state.visits) < window:
        return None
    tops, setup_regions = Counter(v.region_id for v in state.visits), Counter(v.setup_region for v in state.visits)
    for region_id, region_state in sorted(state.regions.items()):
        setup = region_state.region.origin == Origin.BASE
        # A set-up region is visited while its taste is, even if an opened region answers.
        share = (setup_regions if setup else tops)[region_id] / window
        region_state.peak = max(region_state.peak, share)
        usual = region_state.region.prior if setup else region_state.peak
        least = state.config.edits.retire_share * usual
        alone = len(state.of_origin(region_state.region.origin)) == 1 and setup
        old_enough = state.at_event - region_state.region.opened_at >= window
        if share < least and usual * window >= LEAST_VISITS and old_enough and not alone:
            text = f"{share:.2%} of the last {window} windows visited region {region_id}, {usual:.2%} used to"
            reason = {"signal": "visits", "statistic": share, "threshold": least, "text": text}
            return new_edit(state, Operation.RETIRE, region_state.region, None, reason, [], boundary_samples(state))
    return None
