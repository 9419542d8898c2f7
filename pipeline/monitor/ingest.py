"""Taking in a gated record: which windows an edit may come to rest on, and what the detectors are shown."""

from collections.abc import Sequence

from pipeline.events.edit import Evidence
from pipeline.events.gated import GatedEvent
from pipeline.monitor.region_state import OF_ONE_WINDOW, Observation, RegionState
from pipeline.monitor.separability import tell
from pipeline.monitor.state import LastShown, Move, State, Visit
from pipeline.monitor.statistics import count
from pipeline.regions.region import Origin


def take_in(state: State, gated: GatedEvent, offset: int) -> None:
    """Take in one record of `gated`, which lies at this offset."""
    state.at_event += 1
    state.timestamp = max(state.timestamp, gated.timestamp)
    state.visits.append(Visit(gated.region_id, gated.setup_region))
    count(state, gated)
    if gated.cold:
        return
    state.learnable += 1
    region_state = state.regions.get(gated.region_id)
    if region_state is None:
        return
    setup = region_state.region.origin == Origin.BASE
    # Inside set-up the margin among set-up regions counts: it stays as it is when a region is opened.
    scores = (gated.angle, -(gated.setup_margin if setup else gated.margin), gated.loss, gated.rarity)
    evidence = Evidence(gated.event_id, offset, region_state.region_id)
    region_state.seen.append(Observation(state.at_event, evidence, scores, gated.setup_rival, gated.user_id))
    tell(state, region_state)
    _collect(state, evidence, region_state, gated.route)
    _test(state, region_state, scores, gated.user_id, gated.setup_region)


def _collect(state: State, evidence: Evidence, origin: RegionState, route: Sequence[int]) -> None:
    """Windows that an opened region takes part in are what it learns from and what its boundary encloses."""
    for region_id in route:
        opened = state.regions.get(region_id)
        if opened is not None:
            mine = evidence.for_region(region_id)
            opened.fresh.append(mine)
            opened.sample.append(mine)
    # Asked of the few windows that are in question: to look for the largest region costs more than all the rest here.
    target = state.largest_opened() if origin.in_question else None
    if target is not None and target.region_id not in route:
        target.fresh.append(evidence.for_region(target.region_id))


def _test(state: State, region_state: RegionState, scores: tuple[float, ...], user: str, setup_region: int) -> None:
    """Show the scores to the detectors; windows of one user overlap, so only every so-manieth is shown."""
    shown = state.users.get(user)
    if shown is None:
        shown = state.users[user] = LastShown(0, [None] * len(state.phases))
    turn = shown.windows % state.stride
    shown.windows += 1
    for place, signal in enumerate(OF_ONE_WINDOW):
        # The losses of a user are nearly independent, given the windows; the rarities of his items are not.
        if turn == 0 or signal == "loss":
            _show(state, region_state, signal, scores[place])
    if turn in state.phases:
        _show_move(state, shown, user, setup_region, state.phases.index(turn))


def _show_move(state: State, shown: LastShown, user: str, setup_region: int, phase: int) -> None:
    """Show the detector of the region that a user's last window of the lane was in whether this one left it."""
    origin, shown.setup_regions[phase] = shown.setup_regions[phase], setup_region
    region_state = state.regions.get(origin) if origin is not None else None
    if region_state is None:
        return
    moved = setup_region != region_state.region_id
    if moved:
        state.moves.append(Move(state.at_event, region_state.region_id, setup_region, user))
    region_state.moves[phase].append(float(moved))
    _show(state, region_state, "shift", float(moved), phase)


def _show(state: State, region_state: RegionState, signal: str, score: float, phase: int = 0) -> None:
    """Show a detector one value, and note since when its evidence builds up and whether it raises an alarm."""
    detectors = region_state.detectors.get(signal)
    if detectors is None:
        return
    detector = detectors[phase]
    detector.update(score)
    if detector.since <= 1:
        region_state.rising[signal, phase] = state.at_event
    if detector.drift_detected and signal not in region_state.raised:
        first = not region_state.in_question
        region_state.raised[signal] = (region_state.rising[signal, phase], detector.statistic)
        if first and region_state.in_question:
            _teach(state, region_state, signal)


def _teach(state: State, region_state: RegionState, signal: str) -> None:
    """What looks new in a set-up region is for an opened region to learn, if there is one."""
    target = state.largest_opened()
    if target is not None:
        known = {e.event_id for e in target.sample} | {e.event_id for e in target.fresh}
        found = [s.evidence for s in region_state.excursion([signal]) if s.evidence.event_id not in known]
        target.fresh.extend(e.for_region(target.region_id) for e in found)
