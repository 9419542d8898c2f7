"""Whether two versions are clicked alike: a test that may be looked at after every click.

The evidence is the Bayes factor of two rates against one, each with Jeffreys' prior, Beta(1/2, 1/2) (Gunel and Dickey,
1974): B(c + 1/2, m + 1/2) B(c' + 1/2, m' + 1/2) / (B(1/2, 1/2) B(c + c' + 1/2, m + m' + 1/2)) for c clicked and m other
answers of one version, c' and m' of the other. Where there is one rate it is a martingale that begins at 1, so it
ever reaches 1 / error with a chance of at most `error` (Ville, 1939), averaged over rates drawn from the prior. It is a
function of counts: in which order they came makes no difference, and neither does how large the shares are.

That holds for answers that are independent, and those to one user are not. So all counts are first divided by the
design effect, as in surveys of households (Rao and Scott, 1992): by how much more the clicks of crowds of users
differ than those of independent answers would.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Self

import numpy as np
from numpy.typing import NDArray
from scipy.special import betaln

Counts = NDArray[np.int64]
"""(crowds, 2) shown requests and clicked ones of each crowd."""


class Verdict(StrEnum):
    """What a trial says of the version on trial."""

    BETTER = "better"
    WORSE = "worse"
    ALIKE = "alike"


@dataclass
class Rate:
    """How many requests were shown, and how many of these clicked."""

    shown: int = 0
    clicked: int = 0

    @property
    def hit_rate(self) -> float | None:
        """Clicked requests over shown ones, or None before any was shown."""
        return self.clicked / self.shown if self.shown else None


@dataclass(frozen=True)
class Trial:
    """How a trial stands.

    Attributes:
        tried: of the version on trial.
        incumbent: of the other one, over the same time.
        evidence: natural log of the Bayes factor of two rates against one.
    """

    tried: Rate
    incumbent: Rate
    evidence: float

    @classmethod
    def of(cls, counts: Counts, reached: NDArray[np.bool_]) -> Self:
        """A trial whose version on trial answers the crowds that are `reached`."""
        tried, incumbent = (Rate(*counts[chosen].sum(axis=0).tolist()) for chosen in (reached, ~reached))
        return cls(tried, incumbent, evidence(tried, incumbent, design_effect(counts)))

    def verdict(self, error: float, most: int) -> Verdict | None:
        """Say what the clicks say, or None as long as they say nothing.

        Args:
            error: chance, at most, that one of two that are clicked alike is taken for the better.
            most: shown requests of both, after which they are alike.
        """
        if self.evidence >= -np.log(error):
            rises = self.tried.clicked * self.incumbent.shown > self.incumbent.clicked * self.tried.shown
            return Verdict.BETTER if rises else Verdict.WORSE
        return Verdict.ALIKE if self.tried.shown + self.incumbent.shown >= most else None


def evidence(one: Rate, other: Rate, effect: float = 1.0) -> float:
    """Natural log of the Bayes factor of two rates against one; 0 where nothing was shown.

    Args:
        one: of one version.
        other: of another.
        effect: design effect, by which all counts are divided.
    """
    together = Rate(one.shown + other.shown, one.clicked + other.clicked)
    return _log_chance(one, effect) + _log_chance(other, effect) - _log_chance(together, effect)


def design_effect(counts: Counts) -> float:
    """How many times as much the clicks of crowds differ as those of independent answers would; at least 1.

    sum (c_i - p n_i)^2 / (p (1 - p) sum n_i) with c_i of n_i answers of crowd i clicked, and p of all.
    """
    shown, clicked = counts.T
    rate = clicked.sum() / max(shown.sum(), 1)
    independent = float(rate * (1.0 - rate) * shown.sum())
    return max(1.0, float(np.square(clicked - rate * shown).sum()) / independent) if independent else 1.0


def _log_chance(rate: Rate, effect: float) -> float:
    """Log of the chance of these clicks, over all rates."""
    clicked, others = rate.clicked / effect, (rate.shown - rate.clicked) / effect
    return float(betaln(clicked + 0.5, others + 0.5) - betaln(0.5, 0.5))
