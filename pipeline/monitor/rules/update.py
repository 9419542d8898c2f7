"""Update: the adapter of a stream region learns its new windows."""

from collections.abc import Callable

from pipeline.events.edit import Operation
from pipeline.monitor.edit_factory import Proposal, reason_of
from pipeline.monitor.region_state import RegionState
from pipeline.monitor.signals import Kind
from pipeline.monitor.state import State
from pipeline.regions.region import Origin

UPDATE_SIGNAL = "loss"
"""Signal of a stream region whose alarm leads to an early Update."""


def updates(state: State, is_free: Callable[[RegionState], bool]) -> list[Proposal]:
    """Propose an Update of each stream region with enough new windows.

    Args:
        state: of the monitor.
        is_free: False for a region that another edit touches.
    """
    settings = state.config.edits
    # Rejected windows halve what an Update needs at most.
    fewest = min(min(settings.min_windows, settings.update_windows) / 2, settings.pool_windows)
    able = (w for w in state.of_origin(Origin.STREAM) if w.region.adapter and len(w.fresh) >= fewest)
    proposals = ((region_state, _update(state, region_state)) for region_state in able)
    return [proposal for region_state, proposal in proposals if proposal and is_free(region_state)]


def needed_windows(state: State, region_state: RegionState, alarm: bool) -> int:
    """Number of windows, without those of rejected Updates, that the next Update needs.

    Args:
        state: of the monitor.
        region_state: of the region.
        alarm: True if its loss has risen.
    """
    settings, rejected = state.config.edits, len(region_state.rejected_windows)
    # An Update is worth its cost once it doubles the windows learned; later ones wait for more.
    usual = min(settings.update_windows, max(settings.min_windows, region_state.learned_windows))
    least = settings.min_windows if alarm else usual
    # Windows of a rejected Update wait for as many more: alone they would be rejected again.
    return min(max(least - rejected, rejected), settings.pool_windows)


def _update(state: State, region_state: RegionState) -> Proposal | None:
    alarm = UPDATE_SIGNAL in region_state.alarms(state.at_event, Kind.NEW)
    new, needed = len(region_state.fresh), needed_windows(state, region_state, alarm)
    if new < needed or region_state.count_unrejected() < needed or state.affordable_windows() < new:
        return None
    text = f"region {region_state.region_id} has {new} windows that its adapter has not learned"
    if alarm:
        reason = reason_of(region_state, UPDATE_SIGNAL, f"{text}, and its loss has risen")
    else:
        reason = reason_of(None, "new windows", text)
    return Proposal(Operation.UPDATE, region_state.region, reason, list(region_state.fresh))
