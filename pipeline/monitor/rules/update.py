"""Update: an opened region's adapter learns its new windows."""

from pipeline.events.edit import Operation
from pipeline.monitor.proposal import Proposal, reason_of
from pipeline.monitor.region_state import RegionState
from pipeline.monitor.signals import Kind
from pipeline.monitor.state import State

UPDATE_SIGNAL = "loss"
"""Signal of a stream region whose alarm leads to an early Update."""


def updates(state: State) -> list[Proposal]:
    """An Update of each opened region that no edit is under way for and that has new windows enough."""
    pending = {e.region_id for e in state.pending.values()}
    free = [w for region_id, w in sorted(state.regions.items()) if w.region.adapter and region_id not in pending]
    return [proposal for proposal in (_update(state, region_state) for region_state in free) if proposal]


def needed(state: State, region_state: RegionState, alarm: bool) -> int:
    """How many windows that no Update in vain was made of the next one needs, where an alarm calls for it or not."""
    settings, tried = state.config.edits, len(region_state.tried)
    # What doubles a region's knowledge is worth an Update; what adds a little can wait for more.
    usual = min(settings.update_windows, max(settings.min_windows, region_state.learned))
    least = settings.min_windows if alarm else usual
    # Windows of an Update in vain wait for as many more: alone they would only fail again.
    return min(max(least - tried, tried), settings.pool_windows)


def _update(state: State, region_state: RegionState) -> Proposal | None:
    alarm = UPDATE_SIGNAL in region_state.alarms(state.at_event, Kind.NEW)
    new = len(region_state.fresh)
    if region_state.untried() < needed(state, region_state, alarm) or state.affordable() < new:
        return None
    text = f"region {region_state.region_id} has {new} windows that its adapter has not learned"
    if alarm:
        reason = reason_of(region_state, UPDATE_SIGNAL, f"{text}, and its loss has risen")
    else:
        reason = reason_of(None, "new windows", text)
    return Proposal(Operation.UPDATE, region_state.region, reason, list(region_state.fresh))
