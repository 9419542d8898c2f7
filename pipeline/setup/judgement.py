"""Judgement of a new set-up: it is compared with the present one on events that neither has learned.

Both score the same events, each before it learns from it. Events of one user are not independent, so the interval is
that of a ratio of sums over users, whose error is

    sqrt(u / (u - 1) sum over users of (d_u - d n_u)^2) / n

for u users with n events in all, n_u of a user, of which the second set-up hits d_u more than the first, and d = sum of
d_u / n (linearisation; Cochran, 1977, section 6.3). One look at it has the stated error, so a refresh is judged once.
"""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from pipeline.metrics.ranking import LIST_LENGTH, recall_at_k

STANDARD_ERRORS = 1.959964
"""Half width of a 95% interval."""


@dataclass(frozen=True)
class Judgement:
    """Comparison of two set-ups.

    Attributes:
        passed: True where the whole interval lies above the least gain.
        events: number of events that both have scored.
        users: number of users with such events.
        before, after: Recall@10 of the present set-up and of the new one.
        low, high: 95% interval of `after - before`; None with fewer than two users.
    """

    passed: bool
    events: int
    users: int
    before: float
    after: float
    low: float | None
    high: float | None

    def to_record(self) -> dict[str, Any]:
        """As a JSON object."""
        return asdict(self)

    def __str__(self) -> str:
        """The comparison in a sentence."""
        if not self.events:
            return "no event yet that both have scored"
        interval = "" if self.low is None else f" (95% interval {self.low:+.4f} to {self.high:+.4f})"
        difference = f"difference {self.after - self.before:+.4f}{interval}"
        of = f"{self.events:,} events of {self.users:,} users that neither had learned"
        return f"Recall@{LIST_LENGTH} {self.after:.4f} against {self.before:.4f}, {difference}, on {of}"


def judge(before: ArrayLike, after: ArrayLike, users: ArrayLike, least_gain: float = 0.0) -> Judgement:
    """Compare two set-ups by the ranks that they gave the same targets.

    Args:
        before: (n,) ranks under the present set-up, 1 = top, 0 = not scored, which counts as a miss.
        after: (n,) ranks under the new one, of the same events.
        users: (n,) the user of each event.
        least_gain: difference that the whole interval must exceed; a negative one allows a loss.

    Raises:
        ValueError: the shapes differ, or a rank is negative or no integer.
    """
    first, second = recall_at_k(before, LIST_LENGTH), recall_at_k(after, LIST_LENGTH)
    if not first.shape == second.shape == np.shape(users):
        raise ValueError(f"shapes differ: {first.shape}, {second.shape} and {np.shape(users)}")
    events = len(first)
    names, places = np.unique(np.asarray(users), return_inverse=True)
    means = (float(first.mean()), float(second.mean())) if events else (0.0, 0.0)
    if len(names) < 2:
        return Judgement(False, events, len(names), *means, None, None)
    gains, counts = np.bincount(places, second - first), np.bincount(places)
    difference = gains.sum() / events
    spread = np.sum((gains - difference * counts) ** 2) * len(names) / (len(names) - 1)
    margin = STANDARD_ERRORS * float(np.sqrt(spread)) / events
    low, high = float(difference - margin), float(difference + margin)
    return Judgement(low > least_gain, events, len(names), *means, low, high)
