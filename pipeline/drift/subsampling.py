"""Subsampling of a user's windows, so that those that one detector is updated with do not overlap.

A window shares items with the next ones of its user, so their scores come in bursts, which look like drift to a
detector. It is therefore shown one window in a *stride*. Moves of a user are pairs of windows one stride apart, in two
*phases* half a stride apart, each with a detector of its own. The earlier alarm of the two counts; each has twice the
expected run, so that both together raise no more false alarms than one would.
"""

from pipeline.config import Config


def stride(config: Config) -> int:
    """Number of windows of a user from one that a detector is shown to the next."""
    return config.monitor.thinning or config.windows.length


def phases(stride: int) -> tuple[int, ...]:
    """First window of each phase within a stride; a stride of one window has one phase."""
    return (0, stride // 2) if stride > 1 else (0,)
