"""Outcomes of edits: windows learned, alarms reset or kept, and cool-downs of the regions concerned."""

from pipeline.events.edit import AUDIT, Edit, Operation, Outcome, held_out
from pipeline.monitor.region_state import MAX_BACKOFF, RegionState
from pipeline.monitor.state import State
from pipeline.regions.region import Origin


def apply(state: State, edit: Edit, outcome: Outcome) -> None:
    """Update the state with the outcome of an edit.

    Args:
        state: of the monitor, with the regions as they are after the edit.
        edit: pending until now.
        outcome: of the edit.
    """
    match edit.operation:
        case Operation.UPDATE:
            _after_update(state, edit, outcome)
        case Operation.ADD:
            _after_add(state, edit, outcome)
        case Operation.EXPAND:
            _after_expand(state, edit, outcome)
        case Operation.MERGE:
            _after_merge(state, edit, outcome)
        case Operation.RETIRE:
            pass  # A retired region has no state left.
        case Operation.INJECT:
            state.new_items.apply(edit, outcome.published)
        case Operation.UNLEARN:
            _after_unlearn(state)


def _after_update(state: State, edit: Edit, outcome: Outcome) -> None:
    region_state = state.regions.get(edit.region_id)
    if region_state is None:
        return
    learned = _learned(state, edit, outcome)
    region_state.rejected_windows = set() if outcome.published else {e.event_id for e in edit.windows}
    region_state.mark_learned(edit.windows, learned)
    region_state.reset(_quiet_until(state))
    for origin in state.of_origin(Origin.BASE):
        if origin.is_new_in_setup:
            origin.learned_by_target += sum(o.evidence.event_id in learned for o in origin.observations)


def _after_add(state: State, edit: Edit, outcome: Outcome) -> None:
    for region_id in edit.reason["regions"]:
        _close_alarms(state, region_id, outcome.published, retry=True)
    learned = _learned(state, edit, outcome)
    if outcome.operation is Operation.UPDATE:
        # The parent's Update did as well as a new region, and was published instead.
        state.regions[outcome.region_id].mark_learned(edit.windows, learned)
    elif outcome.published:
        region_state = state.new_region_state(state.bank[edit.region_id], {})
        region_state.sample.extend(edit.windows)
        region_state.fresh.extend(edit.windows)
        region_state.mark_learned(edit.windows, learned)
        region_state.quiet_until = _quiet_until(state)
        state.regions[edit.region_id] = region_state
        _record_fit(state)


def _after_expand(state: State, edit: Edit, outcome: Outcome) -> None:
    if edit.reason["signal"] == AUDIT:
        _record_audit(state, edit, outcome.published)
        if not outcome.published:
            return
    target = state.regions.get(edit.region_id)
    opened = target if target and target.region.origin == Origin.STREAM else None
    if outcome.published or opened is None:
        # After a rejected Expand of a stream region the alarms stay: an Add answers them next.
        for region_id in edit.reason.get("regions", [edit.region_id]):
            _close_alarms(state, region_id, outcome.published)
    if opened is not None:
        opened.quiet_until = _quiet_until(state)
        (_after_accepted if outcome.published else _after_rejected)(state, edit, opened)


def _after_rejected(state: State, edit: Edit, opened: RegionState) -> None:
    """Record a rejected Expand of a stream region."""
    opened.fitted_windows = len(opened.sample)
    for region_id in edit.reason.get("regions", []):
        if region_id in state.regions:
            state.regions[region_id].expand_rejected = True


def _after_accepted(state: State, edit: Edit, opened: RegionState) -> None:
    """Add the windows of an accepted Expand of a stream region to its evidence."""
    known = {e.event_id for e in opened.sample}
    waiting = {e.event_id for e in opened.fresh} | known
    opened.sample.extend(e for e in edit.windows if e.event_id not in known)
    opened.fresh.extend(e for e in edit.windows if e.event_id not in waiting)
    _record_fit(state)


def _after_merge(state: State, edit: Edit, outcome: Outcome) -> None:
    for region_id in (edit.region_id, edit.other_region_id):
        region_state = state.regions.get(region_id) if region_id is not None else None
        if region_state is not None:
            region_state.failed_merges = 0 if outcome.published else region_state.failed_merges + 1
            region_state.last_merge_attempt = state.at_event


def _after_unlearn(state: State) -> None:
    """Compare from here on with the answers of the adapters that were trained anew."""
    for region_state in state.of_origin(Origin.STREAM):
        region_state.reset(_quiet_until(state))


def _close_alarms(state: State, region_id: int, accepted: bool, retry: bool = False) -> None:
    """Start the cool-down of a region after an edit, and reset its alarms.

    With `retry`, the alarms of a rejected edit stay until edits on twice and four times the windows were rejected too:
    a few dozen held-out windows can mislead, and after a reset the drifted windows count as normal.
    """
    region_state = state.regions.get(region_id)
    if region_state is not None:
        keep = retry and not accepted and region_state.backoff < MAX_BACKOFF
        region_state.update_backoff(accepted)
        region_state.learned_by_target, region_state.expand_rejected = 0, False
        region_state.quiet_until = _quiet_until(state)
        if not keep:
            region_state.reset(region_state.quiet_until)


def _record_audit(state: State, edit: Edit, accepted: bool) -> None:
    """Record an audit of each region; after a rejected one, the next needs more windows."""
    for region_id in edit.reason["regions"]:
        region_state = state.regions[region_id]
        region_state.last_audit = state.at_event
        region_state.failed_audits = 0 if accepted else region_state.failed_audits + 1


def _record_fit(state: State) -> None:
    """Record that every boundary was fitted on all of its sample."""
    for region_state in state.of_origin(Origin.STREAM):
        region_state.fitted_windows = len(region_state.sample)


def _learned(state: State, edit: Edit, outcome: Outcome) -> set[str]:
    """Event ids of an edit's windows that were trained on; held-out windows are still to be learned."""
    if not outcome.published:
        return set()
    judged = held_out(edit.reason, len(edit.windows), state.config.edits)
    return {e.event_id for e, unseen in zip(edit.windows, judged, strict=True) if not unseen}


def _quiet_until(state: State) -> int:
    """End of a cool-down that starts now, in events."""
    return state.at_event + state.config.edits.cool_down
