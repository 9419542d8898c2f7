"""Which windows of a user are shown to which drift detector: those that one detector sees do not overlap.

A window shares items with the next ones of its user, so their scores come in bursts, and a detector takes bursts for
drift. It is therefore shown one window in so many. Whether a user moved is said by two windows that far apart; such
pairs have two lanes, each with a detector of its own: what is in one of them begins halfway through what is in the
other. The first to alarm is sooner than either, and each is asked for twice the run, so that both together raise no
more false alarms than one would.
"""

from pipeline.config import Config


def stride(config: Config) -> int:
    """Windows of a user from one that a detector is shown to the next."""
    return config.monitor.thinning or config.windows.length


def phases(stride: int) -> tuple[int, ...]:
    """Which of every so many windows of a user belongs to each lane of moves; one lane where there is no halfway."""
    return (0, stride // 2) if stride > 1 else (0,)
