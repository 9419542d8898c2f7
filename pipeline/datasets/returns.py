"""Returns: interactions with an item that is among the newest ones of their user."""

import numpy as np

from pipeline.events.interactions import Interactions


def share_of_returns(events: Interactions, length: int) -> float:
    """Return the share of interactions whose item is one of the `length` items before it of their user.

    Args:
        events: in order, at least one.
        length: items of a window.
    """
    order = np.argsort(events.users, kind="stable")
    users, items = events.users[order], events.items[order]
    is_return = np.zeros(len(events), dtype=np.bool_)
    for before in range(1, min(length, len(events) - 1) + 1):
        is_return[before:] |= (users[before:] == users[:-before]) & (items[before:] == items[:-before])
    return float(is_return.mean())
