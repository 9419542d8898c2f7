"""Update: an opened region's adapter learns its new windows."""

from pipeline.events.edit import Edit, Operation
from pipeline.monitor.edit_factory import new_edit, reason_of
from pipeline.monitor.region_state import Watched
from pipeline.monitor.state import State


def updates(state: State) -> list[Edit]:
    """An Update of each opened region that no edit is under way for and that has new windows enough."""
    asked = {e.region_id for e in state.asked.values()}
    free = [w for region_id, w in sorted(state.watched.items()) if w.region.adapter and region_id not in asked]
    return [edit for edit in (_update(state, watched) for watched in free) if edit]


def needed(state: State, watched: Watched, alarm: bool) -> int:
    """How many windows that no Update in vain was made of the next one needs, where an alarm calls for it or not."""
    settings, tried = state.config.edits, len(watched.tried)
    # What doubles a region's knowledge is worth an Update; what adds a little can wait for more.
    usual = min(settings.update_windows, max(settings.min_windows, watched.learned))
    least = settings.min_windows if alarm else usual
    # Windows of an Update in vain wait for as many more: alone they would only fail again.
    return min(max(least - tried, tried), settings.pool_windows)


def _update(state: State, watched: Watched) -> Edit | None:
    alarm = "loss" in watched.alarms(state.at_event)
    new = len(watched.fresh)
    if watched.untried() < needed(state, watched, alarm) or state.affordable() < new:
        return None
    text = f"region {watched.region_id} has {new} windows that its adapter has not learned"
    if alarm:
        reason = reason_of(watched, "loss", f"{text}, and its loss has risen")
    else:
        reason = reason_of(None, "new windows", text)
    return new_edit(state, Operation.UPDATE, watched.region, None, reason, list(watched.fresh))
