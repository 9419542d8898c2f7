"""Erasure of a user from the monitor's state.

Counts, detectors and regions are of many users, and stay. Windows of the user are no evidence any more, as far as the
state still knows whose they are: the newest windows of each region.
"""

from collections import deque
from collections.abc import Callable, Collection
from typing import TypeVar

from pipeline.events.edit import Evidence
from pipeline.monitor.state import State

T = TypeVar("T")


def erase_user(state: State, user: str) -> None:
    """Remove a user's windows and moves from a state."""
    state.users.pop(user, None)
    state.moves = _without(state.moves, lambda move: move.user == user)
    regions = [*state.regions.values(), *state.ended.values()]
    windows = {o.evidence.event_id for region in regions for o in region.observations if o.user == user}

    def is_of_user(evidence: Evidence) -> bool:
        return evidence.event_id in windows

    _forget(state, is_of_user)


def forget_windows(state: State, offsets: Collection[int]) -> None:
    """Remove windows from a state, by their offsets in `gated`: an Unlearn found all of a user's."""
    gone = set(offsets)
    _forget(state, lambda evidence: evidence.offset in gone)


def _forget(state: State, is_gone: Callable[[Evidence], bool]) -> None:
    """Remove evidence, and with it what was observed of it."""
    windows: set[str] = set()
    for region in [*state.regions.values(), *state.ended.values()]:
        known = (*(o.evidence for o in region.observations), *region.sample, *region.fresh)
        windows |= {evidence.event_id for evidence in known if is_gone(evidence)}
        region.observations = _without(region.observations, lambda o: is_gone(o.evidence))
        region.sample = _without(region.sample, is_gone)
        region.fresh = _without(region.fresh, is_gone)
    for region in [*state.regions.values(), *state.ended.values()]:
        region.rejected_windows -= windows
    state.new_items.erase(is_gone)


def _without(kept: deque[T], is_gone: Callable[[T], bool]) -> deque[T]:
    return deque((one for one in kept if not is_gone(one)), maxlen=kept.maxlen)
