"""Unlearn: the published edits are carried out again without the windows of users whose unlearning was requested."""

from pipeline.events.edit import ERASURE, Operation
from pipeline.monitor.edit_factory import Proposal
from pipeline.monitor.state import State


def unlearn(state: State) -> Proposal:
    """Propose to answer all requests that wait; there is at least one."""
    text = "a user was erased, and is to be unlearned: edits are carried out again without the windows of the user"
    reason = {"signal": ERASURE, "statistic": None, "threshold": None, "text": text, "requests": list(state.requests)}
    return Proposal(Operation.UNLEARN, None, reason)
