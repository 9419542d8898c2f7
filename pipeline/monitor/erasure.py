"""Erasure of a user from the monitor's state.

Counts, detectors and regions are of many users, and stay. Windows of the user are no evidence any more, as far as the
state still knows whose they are: the newest windows of each region.
"""

from collections import deque
from collections.abc import Callable
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

    for region in regions:
        region.observations = _without(region.observations, lambda o: o.user == user)
        region.sample = _without(region.sample, is_of_user)
        region.fresh = _without(region.fresh, is_of_user)
        region.rejected_windows -= windows
    state.new_items.erase(windows)


def _without(kept: deque[T], is_gone: Callable[[T], bool]) -> deque[T]:
    return deque((one for one in kept if not is_gone(one)), maxlen=kept.maxlen)
