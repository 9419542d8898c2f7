"""Ingestion of one gated event: counts, evidence for edits, and updates of the drift detectors."""

from collections.abc import Sequence

from pipeline.events.edit import Evidence
from pipeline.events.gated import GatedEvent
from pipeline.metrics.ranking import NOT_SCORED
from pipeline.monitor import signals
from pipeline.monitor.region_state import Observation, RegionState
from pipeline.monitor.separability import measure_separability
from pipeline.monitor.state import LastShown, Move, State, Visit
from pipeline.monitor.statistics import count


def observe(state: State, event: GatedEvent, offset: int) -> None:
    """Update the state with one event.

    Args:
        state: of the monitor.
        event: as the gate scored it.
        offset: of its record in `gated`.
    """
    state.at_event += 1
    state.timestamp = max(state.timestamp, event.timestamp)
    state.visits.append(Visit(event.region_id, event.setup_region))
    count(state, event)
    if event.cold:
        return
    state.warm_events += 1
    evidence = Evidence(event.event_id, offset, event.region_id)
    state.new_items.observe(event.target, evidence, existed=event.rank != NOT_SCORED)
    region_state = state.regions.get(event.region_id)
    if region_state is None:
        return
    scores = signals.scores(event, region_state.region.origin)
    observation = Observation(state.at_event, evidence, scores, event.setup_rival, event.user_id)
    region_state.observations.append(observation)
    measure_separability(state, region_state)
    _collect_evidence(state, evidence, region_state, event.route)
    _update_detectors(state, region_state, scores, event.user_id, event.setup_region)


def _collect_evidence(state: State, evidence: Evidence, counted_in: RegionState, route: Sequence[int]) -> None:
    """Add a window to the stream regions of its route: they learn from it, and fit their boundaries on it."""
    for region_id in route:
        region_state = state.regions.get(region_id)
        if region_state is not None:
            relabelled = evidence.for_region(region_id)
            region_state.fresh.append(relabelled)
            region_state.sample.append(relabelled)
    # Few windows get here: finding the largest stream region costs more than the rest of this function.
    target = state.largest_stream_region() if counted_in.is_new_in_setup else None
    if target is not None and target.region_id not in route:
        target.fresh.append(evidence.for_region(target.region_id))


def _update_detectors(
    state: State, region_state: RegionState, scores: tuple[float | None, ...], user: str, setup_region: int
) -> None:
    """Update the detectors that this window of the user is shown to."""
    shown = state.users.get(user)
    if shown is None:
        shown = state.users[user] = LastShown(0, [None] * len(state.phases))
    turn = shown.windows % state.stride
    shown.windows += 1
    for signal, score in zip(signals.of_windows(), scores, strict=True):
        if score is not None and signal.is_shown(turn):
            _update_detector(state, region_state, signal.name, score)
    if turn in state.phases:
        _update_moves(state, shown, user, setup_region, state.phases.index(turn))


def _update_moves(state: State, shown: LastShown, user: str, setup_region: int, phase: int) -> None:
    """Update the detector of the region of the user's last window in this phase: 1 if this window left it, else 0."""
    origin, shown.setup_regions[phase] = shown.setup_regions[phase], setup_region
    region_state = state.regions.get(origin) if origin is not None else None
    if region_state is None:
        return
    moved = setup_region != region_state.region_id
    if moved:
        state.moves.append(Move(state.at_event, region_state.region_id, setup_region, user))
    region_state.moves[phase].append(float(moved))
    for signal in signals.of_moves():
        _update_detector(state, region_state, signal.name, float(moved), phase)


def _update_detector(state: State, region_state: RegionState, name: str, score: float, phase: int = 0) -> None:
    """Update one detector; record the start of a rise, and an alarm."""
    detectors = region_state.detectors.get(name)
    if detectors is None:
        return
    detector = detectors[phase]
    detector.update(score)
    if detector.since <= 1:
        region_state.rising_since[name, phase] = state.at_event
    if detector.drift_detected and name not in region_state.raised:
        first = not region_state.is_new_in_setup
        region_state.raised[name] = (region_state.rising_since[name, phase], detector.statistic)
        if first and region_state.is_new_in_setup:
            _add_to_target(state, region_state, name)


def _add_to_target(state: State, region_state: RegionState, name: str) -> None:
    """Give the windows since the rise to the largest stream region, if there is one, to learn from."""
    target = state.largest_stream_region()
    if target is not None:
        known = {e.event_id for e in target.sample} | {e.event_id for e in target.fresh}
        found = [o.evidence for o in region_state.since_rise([name]) if o.evidence.event_id not in known]
        target.fresh.extend(e.for_region(target.region_id) for e in found)
