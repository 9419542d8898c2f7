"""What came of an edit: what its regions have learned by it, and when they may be asked about again."""

from pipeline.events.edit import AUDIT, Edit, Operation, Outcome, held_out
from pipeline.monitor.region_state import LONGEST_BACKOFF
from pipeline.monitor.state import State
from pipeline.regions.region import Origin


def take_in(state: State, edit: Edit, outcome: Outcome) -> None:
    """Take in what came of an edit; the regions are those after it."""
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
            pass  # Nothing is left to keep of a region that ended.


def _after_update(state: State, edit: Edit, outcome: Outcome) -> None:
    region_state = state.regions.get(edit.region_id)
    if region_state is None:
        return
    learned = _learned(state, edit, outcome)
    region_state.tried = set() if outcome.published else {e.event_id for e in edit.windows}
    region_state.learn(edit.windows, learned)
    region_state.settle(_quiet_until(state))
    for origin in state.of_origin(Origin.BASE):
        if origin.in_question:
            origin.taught += sum(s.evidence.event_id in learned for s in origin.seen)


def _after_add(state: State, edit: Edit, outcome: Outcome) -> None:
    for region_id in edit.reason["regions"]:
        _answered(state, region_id, outcome.published, again=True)
    learned = _learned(state, edit, outcome)
    if outcome.operation is Operation.UPDATE:
        # No region more was earned: the parent learned the windows instead.
        state.regions[outcome.region_id].learn(edit.windows, learned)
    elif outcome.published:
        region_state = state.unseen(state.bank[edit.region_id], {})
        region_state.sample.extend(edit.windows)
        region_state.fresh.extend(edit.windows)
        region_state.learn(edit.windows, learned)
        region_state.quiet_until = _quiet_until(state)
        state.regions[edit.region_id] = region_state
        _refitted(state)


def _after_expand(state: State, edit: Edit, outcome: Outcome) -> None:
    if edit.reason["signal"] == AUDIT:
        _audited(state, edit, outcome.published)
        if not outcome.published:
            return
    target = state.regions.get(edit.region_id)
    opened = target if target and target.region.origin == Origin.STREAM else None
    if outcome.published or opened is None:
        # Where an opened region was refused, the alarm stands: the next answer to it is an Add.
        for region_id in edit.reason.get("regions", [edit.region_id]):
            _answered(state, region_id, outcome.published)
    if opened is None:
        return
    opened.quiet_until = _quiet_until(state)
    if not outcome.published:
        opened.fitted = len(opened.sample)
        for region_id in edit.reason.get("regions", []):
            if region_id in state.regions:
                state.regions[region_id].refused = True
        return
    known = {e.event_id for e in opened.sample}
    waiting = {e.event_id for e in opened.fresh} | known
    opened.sample.extend(e for e in edit.windows if e.event_id not in known)
    opened.fresh.extend(e for e in edit.windows if e.event_id not in waiting)
    _refitted(state)


def _after_merge(state: State, edit: Edit, outcome: Outcome) -> None:
    for region_id in (edit.region_id, edit.other_region_id):
        region_state = state.regions.get(region_id) if region_id is not None else None
        if region_state is not None:
            region_state.apart = 0 if outcome.published else region_state.apart + 1
            region_state.unmerged = state.at_event


def _answered(state: State, region_id: int, helped: bool, again: bool = False) -> None:
    """An edit answered the alarms of a region, for better or worse.

    Where the next one may ask `again`, alarms that were not helped stand until twice the windows, twice over, were in
    vain: a few dozen held-out windows can be wrong, and what has been settled is what all that comes is compared with.
    """
    region_state = state.regions.get(region_id)
    if region_state is not None:
        stands = again and not helped and region_state.backoff < LONGEST_BACKOFF
        region_state.weigh(helped)
        region_state.taught, region_state.refused = 0, False
        region_state.quiet_until = _quiet_until(state)
        if not stands:
            region_state.settle(region_state.quiet_until)


def _audited(state: State, edit: Edit, helped: bool) -> None:
    """After an audit in vain, the next one of the region needs more windows."""
    for region_id in edit.reason["regions"]:
        region_state = state.regions[region_id]
        region_state.audited = state.at_event
        region_state.audits = 0 if helped else region_state.audits + 1


def _refitted(state: State) -> None:
    """Every boundary was fitted to all that is known."""
    for region_state in state.of_origin(Origin.STREAM):
        region_state.fitted = len(region_state.sample)


def _learned(state: State, edit: Edit, outcome: Outcome) -> set[str]:
    """Ids of the windows of an edit that were trained on; those held out are still to be learned."""
    if not outcome.published:
        return set()
    judged = held_out(edit.reason, len(edit.windows), state.config.edits)
    return {e.event_id for e, unseen in zip(edit.windows, judged, strict=True) if not unseen}


def _quiet_until(state: State) -> int:
    """The event before which regions of an edit that was just settled raise no other."""
    return state.at_event + state.config.edits.cool_down
