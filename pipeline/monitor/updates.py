"""Update: an opened region's adapter learns its new windows, and once those that went by before it was opened."""

from pipeline.edits import MISSED, Edit, Operation
from pipeline.monitor.asking import new_edit, reason_of
from pipeline.monitor.state import State
from pipeline.monitor.watched import Watched
from pipeline.regions import SET_UP


def updates(state: State) -> list[Edit]:
    """An Update of each opened region that no edit is under way for and that has new windows enough."""
    asked = {e.region_id for e in state.asked.values()}
    free = [w for region_id, w in sorted(state.watched.items()) if w.region.adapter and region_id not in asked]
    return [edit for edit in (_catch_up(state, watched) or _update(state, watched) for watched in free) if edit]


def _catch_up(state: State, watched: Watched) -> Edit | None:
    """What set-up regions had before this one was opened; whether a window would have been its own, the gate says."""
    if watched.caught_up:
        return None
    watched.caught_up = True
    known = {e.event_id for e in watched.sample}
    passed = [s for w in state.of_origin(SET_UP) for s in w.seen if s.at_event <= watched.region.opened_at]
    missed = [s.evidence for s in sorted(passed, key=lambda s: s.at_event) if s.evidence.event_id not in known]
    most = min(state.affordable(), state.config.edits.pool_windows)
    evidence = [e.for_region(watched.region_id) for e in missed[-most:]] if most else []
    if len(evidence) < state.config.edits.min_windows:
        return None
    text = f"{len(evidence)} windows went by before region {watched.region_id} was opened; its own of them are learned"
    return new_edit(state, Operation.UPDATE, watched.region, None, reason_of(None, MISSED, text), evidence)


def _update(state: State, watched: Watched) -> Edit | None:
    settings = state.config.edits
    alarm = "loss" in watched.alarms(state.at_event)
    # What doubles a region's knowledge is worth an Update; what adds a little can wait for more.
    usual = min(settings.update_windows, max(settings.min_windows, watched.learned))
    need = (settings.min_windows if alarm else usual) * watched.backoff
    new = len(watched.fresh)
    if watched.untried() < min(need, settings.pool_windows) or state.affordable() < new:
        return None
    text = f"region {watched.region_id} has {new} windows that its adapter has not learned"
    if alarm:
        reason = reason_of(watched, "loss", f"{text}, and its loss has risen")
    else:
        reason = reason_of(None, "new windows", text)
    return new_edit(state, Operation.UPDATE, watched.region, None, reason, list(watched.fresh))
