"""Pending alarms: raised signals without an edit so far, and the condition that each waits for."""

from dataclasses import dataclass
from enum import StrEnum

from pipeline.monitor import Monitor, signals
from pipeline.monitor.region_state import RegionState
from pipeline.monitor.rules.add import CHILD_SIGNAL
from pipeline.monitor.rules.update import UPDATE_SIGNAL, needed_windows
from pipeline.monitor.signals import Kind
from pipeline.monitor.state import State
from pipeline.regions.refits import refits_classifier
from pipeline.regions.region import Origin


class Wait(StrEnum):
    """Condition that a pending alarm waits for."""

    COOL_DOWN = "cool-down"
    EDIT = "edit under way"
    EVIDENCE = "evidence"
    LEARNING = "learning"
    ROOM = "room"
    BUDGET = "budget"
    NO_RULE = "no rule"
    TURN = "its turn"


@dataclass(frozen=True, slots=True)
class PendingAlarm:
    """An alarm that has not led to an edit yet.

    Attributes:
        region_id, signal: of the detector that raised it.
        since_event: event at which its evidence began to rise.
        statistic: of the detector when it was raised.
        threshold: of the detector.
        waits_for: the condition.
        text: the condition as a sentence, with numbers.
    """

    region_id: int
    signal: str
    since_event: int
    statistic: float
    threshold: float
    waits_for: Wait
    text: str


def pending_alarms(monitor: Monitor) -> list[PendingAlarm]:
    """List the alarms that are left after the monitor decided, by region and signal."""
    state, found = monitor.state, []
    for region_id, region_state in sorted(state.regions.items()):
        for signal, (since, statistic) in sorted(region_state.raised.items()):
            threshold = region_state.detectors[signal][0].threshold
            found.append(
                PendingAlarm(region_id, signal, since, statistic, threshold, *_waiting(state, region_state, signal))
            )
    return found


def _waiting(state: State, region_state: RegionState, signal: str) -> tuple[Wait, str]:
    if state.at_event < region_state.quiet_until:
        left = region_state.quiet_until - state.at_event
        return Wait.COOL_DOWN, f"{left} events of the cool-down after its last edit are left"
    under_way = [e for e in state.pending.values() if region_state.region_id in e.touched]
    if under_way:
        return Wait.EDIT, f"edit {under_way[0].edit_id} touches the region, and is under way"
    of_setup = region_state.region.origin is Origin.BASE
    new = signal in region_state.raised_of(Kind.NEW)
    refits = [e for e in state.pending.values() if refits_classifier(e.operation, e.touched, state.bank)]
    if refits and (new if of_setup else signal == CHILD_SIGNAL):
        return Wait.EDIT, f"edit {refits[0].edit_id} fits the classifier of origins anew, which one edit does at a time"
    if not of_setup:
        return _in_stream_region(state, region_state, signal)
    return _new(state) if new else _between(state, region_state, signal)


def _in_stream_region(state: State, region_state: RegionState, signal: str) -> tuple[Wait, str]:
    least = state.config.edits.min_windows * region_state.backoff
    if signal == CHILD_SIGNAL:
        return _enough(len(region_state.since_rise([signal])), least) or _room_and_budget(state)
    if signal == UPDATE_SIGNAL:
        needed = needed_windows(state, region_state, alarm=True)
        return _enough(region_state.count_unrejected(), needed) or _budget(state)
    return Wait.NO_RULE, f"{signal} of an opened region leads to no edit: its boundary moves when its evidence doubled"


def _between(state: State, region_state: RegionState, signal: str) -> tuple[Wait, str]:
    least = state.config.edits.boundary_windows * region_state.backoff
    if signal not in {moves.name for moves in signals.of_moves()}:
        return _enough(len(region_state.since_rise([signal])), least) or _turn()
    return Wait.EVIDENCE, f"users who moved from it to one other set-up region have fewer than {least} windows yet"


def _new(state: State) -> tuple[Wait, str]:
    """Windows of new behaviour are counted over all set-up regions together."""
    alarmed = [w for w in state.of_origin(Origin.BASE) if w.alarms(state.at_event, Kind.NEW)]
    windows = sum(len(w.since_rise(w.raised_of(Kind.NEW))) for w in alarmed)
    least = state.config.edits.min_windows
    short = _enough(windows, least * max(w.backoff for w in alarmed))
    target = state.largest_stream_region()
    if short or target is None or all(w.expand_rejected for w in alarmed):
        return short or _room_and_budget(state)
    learned = max(w.learned_by_target for w in alarmed)
    if learned < least:
        region_id = target.region.region_id
        return Wait.LEARNING, f"opened region {region_id} has learned {learned} of the {least} windows it must first"
    return _turn()


def _enough(windows: int, least: int) -> tuple[Wait, str] | None:
    return (Wait.EVIDENCE, f"{windows} of {least} windows have come") if windows < least else None


def _room_and_budget(state: State) -> tuple[Wait, str]:
    live, most = len(state.regions), state.config.edits.max_regions
    if live >= most:
        return Wait.ROOM, f"{live} regions are live, and edits.max_regions is {most}"
    return _budget(state)


def _budget(state: State) -> tuple[Wait, str]:
    paid, least = state.affordable_windows(), state.config.edits.min_windows
    if paid < least:
        return Wait.BUDGET, f"the budget pays for {max(paid, 0)} windows, an edit takes {least} or more"
    return _turn()


def _turn() -> tuple[Wait, str]:
    return Wait.TURN, "other edits came before"
