"""Why the monitor does not act: every alarm that stands, and what it waits for."""

from dataclasses import dataclass
from enum import StrEnum

from pipeline.monitor import Monitor
from pipeline.monitor.region_state import BETWEEN, NEW, RegionState
from pipeline.monitor.rules.update import needed
from pipeline.monitor.state import State
from pipeline.regions.region import Origin


class Wait(StrEnum):
    """What an alarm that stands may wait for."""

    COOL_DOWN = "cool-down"
    EDIT = "edit under way"
    EVIDENCE = "evidence"
    LEARNING = "learning"
    ROOM = "room"
    BUDGET = "budget"
    NOBODY = "nobody"
    TURN = "its turn"


@dataclass(frozen=True, slots=True)
class Standing:
    """An alarm that has not led to an edit yet.

    Attributes:
        region_id, signal: of the detector that raised it.
        since_event: event from which on its evidence built up.
        statistic, threshold: when it was raised; the threshold of its detector.
        waits_for: in a word.
        text: in a sentence, with numbers.
    """

    region_id: int
    signal: str
    since_event: int
    statistic: float
    threshold: float
    waits_for: Wait
    text: str


def standing(monitor: Monitor) -> list[Standing]:
    """Every alarm that stands after the monitor decided, by region and signal."""
    state, found = monitor.state, []
    for region_id, region_state in sorted(state.regions.items()):
        for signal, (since, statistic) in sorted(region_state.raised.items()):
            threshold = region_state.detectors[signal][0].threshold
            found.append(
                Standing(region_id, signal, since, statistic, threshold, *_waiting(state, region_state, signal))
            )
    return found


def _waiting(state: State, region_state: RegionState, signal: str) -> tuple[Wait, str]:
    if state.at_event < region_state.quiet_until:
        left = region_state.quiet_until - state.at_event
        return Wait.COOL_DOWN, f"{left} events of the cool-down after its last edit are left"
    if state.pending:
        return Wait.EDIT, f"edit {next(iter(state.pending))} is under way, and boundaries move one at a time"
    if region_state.region.origin != Origin.BASE:
        return _opened(state, region_state, signal)
    return _between(state, region_state, signal) if signal in BETWEEN else _new(state)


def _opened(state: State, region_state: RegionState, signal: str) -> tuple[Wait, str]:
    least = state.config.edits.min_windows * region_state.backoff
    if signal == "novelty":
        return _enough(len(region_state.excursion([signal])), least) or _room_and_budget(state)
    if signal == "loss":
        return _enough(region_state.untried(), needed(state, region_state, alarm=True)) or _budget(state)
    return Wait.NOBODY, f"{signal} of an opened region leads to no edit: its boundary moves when its evidence doubled"


def _between(state: State, region_state: RegionState, signal: str) -> tuple[Wait, str]:
    least = state.config.edits.boundary_windows * region_state.backoff
    if signal == "doubt":
        return _enough(len(region_state.excursion([signal])), least) or _turn()
    return Wait.EVIDENCE, f"users who moved from it to one other set-up region have fewer than {least} windows yet"


def _new(state: State) -> tuple[Wait, str]:
    """What is new in set-up regions is counted together."""
    alarmed = [w for w in state.of_origin(Origin.BASE) if any(s in NEW for s in w.alarms(state.at_event))]
    windows = sum(len(w.excursion([s for s in NEW if s in w.raised])) for w in alarmed)
    least = state.config.edits.min_windows
    short = _enough(windows, least * max(w.backoff for w in alarmed))
    target = state.largest_opened()
    if short or target is None or all(w.refused for w in alarmed):
        return short or _room_and_budget(state)
    learned = max(w.taught for w in alarmed)
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
    paid, least = state.affordable(), state.config.edits.min_windows
    if paid < least:
        return Wait.BUDGET, f"the budget pays for {max(paid, 0)} windows, an edit takes {least} or more"
    return _turn()


def _turn() -> tuple[Wait, str]:
    return Wait.TURN, "one boundary moves at a time, and another edit came before"
