"""Inject: new items get output vectors from their texts and from the windows that preceded them."""

from itertools import islice

from pipeline.events.edit import Operation
from pipeline.monitor.edit_factory import Proposal
from pipeline.monitor.new_items import MOST_WAIT
from pipeline.monitor.state import State

LEAST_JUDGED = 64
"""Windows needed to judge an injection."""


def inject(state: State) -> Proposal | None:
    """Propose to inject the items with news, if there are enough of them."""
    new = state.new_items
    if not new.news or len(new.news) < new.needed:
        return None
    items = sorted(islice(new.news, MOST_WAIT))
    windows = sorted({e for item_id in items for e in new.news[item_id]}, key=lambda e: e.offset)
    if len(new.recent) < LEAST_JUDGED:
        return None
    text = f"{len(items)} items are new or were taken anew, after {len(windows)} windows"
    reason = {"signal": "new items", "statistic": float(len(items)), "threshold": float(new.needed), "text": text}
    return Proposal(Operation.INJECT, None, reason, windows, samples=list(new.recent), items=items)
