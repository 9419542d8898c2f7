"""Shares of regions in the newest visits, and the highest share so far, which Retire compares with."""

from collections import Counter

from pipeline.events.edit import Operation
from pipeline.monitor.edit_factory import Proposal
from pipeline.monitor.state import State
from pipeline.regions.region import Origin


def visit_shares(state: State) -> dict[int, float]:
    """Share of each live region in the newest visits, by id; empty until `monitor.visits_window` events have come.

    A set-up region is visited by every window that it is the likeliest set-up region of, even if a stream region
    has the higher posterior.
    """
    window = state.config.monitor.visits_window
    if len(state.visits) < window:
        return {}
    tops, setup_regions = Counter(v.region_id for v in state.visits), Counter(v.setup_region for v in state.visits)
    base = {w.region_id for w in state.of_origin(Origin.BASE)}
    return {i: (setup_regions if i in base else tops)[i] / window for i in sorted(state.regions)}


def record_peaks(state: State, decided: Proposal | None) -> None:
    """Raise the peak shares of live regions to the present ones.

    Args:
        state: of the monitor.
        decided: the proposal of this decision; after a Retire, the regions that follow the retired one are left for
            the next decision.
    """
    retired = decided.region if decided and decided.operation is Operation.RETIRE else None
    for region_id, share in visit_shares(state).items():
        region_state = state.regions[region_id]
        region_state.peak_share = max(region_state.peak_share, share)
        if region_state.region is retired:
            break
