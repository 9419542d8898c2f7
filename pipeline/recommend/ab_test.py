"""Sequential test of two click rates: it may be evaluated after every click.

The evidence is the Bayes factor of two rates against one, each with Jeffreys' prior, Beta(1/2, 1/2) (Gunel and Dickey,
1974): B(c + 1/2, m + 1/2) B(c' + 1/2, m' + 1/2) / (B(1/2, 1/2) B(c + c' + 1/2, m + m' + 1/2)) for c clicked and m other
answers of one version, c' and m' of the other. Under one rate it is a martingale that begins at 1, so the probability
that it ever reaches 1 / error is at most `error` (Ville, 1939), averaged over rates drawn from the prior. It depends on
the counts alone: neither their order nor the size of the shares matters.

This holds for independent answers, and answers to the same user are not. All counts are therefore first divided by the
design effect, as in surveys of households (Rao and Scott, 1992): the variance of clicks between buckets of users over
that of independent answers.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Self

import numpy as np
from numpy.typing import NDArray
from scipy.special import betaln

Counts = NDArray[np.int64]
"""(buckets, 2) shown requests and clicked ones of each bucket."""


TYPICAL = 0.02
"""Difference of two click rates that intervals are narrowest for; they hold for any."""

LEAST_SHOWN = 50
"""Independent answers of each version from which on there is an interval: clicks of fewer are far from normal."""


class Verdict(StrEnum):
    """Result of a trial for the version on trial."""

    BETTER = "better"
    WORSE = "worse"
    ALIKE = "alike"


@dataclass
class Rate:
    """Number of shown requests, and of clicked ones among them."""

    shown: int = 0
    clicked: int = 0

    @property
    def hit_rate(self) -> float | None:
        """Clicked requests over shown ones, or None before any was shown."""
        return self.clicked / self.shown if self.shown else None


@dataclass(frozen=True)
class Interval:
    """Estimate of a difference, and bounds that hold at every time, with a given error over the whole trial."""

    estimate: float
    low: float
    high: float


@dataclass(frozen=True)
class Trial:
    """State of a trial.

    Attributes:
        tried: rate of the version on trial.
        incumbent: rate of the other version, over the same time.
        evidence: natural log of the Bayes factor of two rates against one.
    """

    tried: Rate
    incumbent: Rate
    evidence: float

    @classmethod
    def of(cls, counts: Counts, reached: NDArray[np.bool_]) -> Self:
        """The trial of a version that the `reached` buckets get."""
        tried, incumbent = (Rate(*counts[chosen].sum(axis=0).tolist()) for chosen in (reached, ~reached))
        return cls(tried, incumbent, evidence(tried, incumbent, design_effect(counts)))

    def verdict(self, error: float, most: int) -> Verdict | None:
        """Decide the trial, or return None as long as it is open.

        Args:
            error: upper bound of the probability that one of two equal versions is taken for the better.
            most: shown requests of both versions after which they count as equal.
        """
        if self.evidence >= -np.log(error):
            rises = self.tried.clicked * self.incumbent.shown > self.incumbent.clicked * self.tried.shown
            return Verdict.BETTER if rises else Verdict.WORSE
        return Verdict.ALIKE if self.tried.shown + self.incumbent.shown >= most else None


def difference(counts: Counts, reached: NDArray[np.bool_], error: float) -> Interval | None:
    """Click rate of the version on trial minus that of the other; None as long as too few answers were shown.

    A sequence of intervals for a normal mean whose mixture has the standard deviation `TYPICAL` (Johari, Pekelis and
    Walsh, 2017): estimate +- sqrt(v (1 + v / t) (2 log(1 / error) + log(1 + t / v))) with v the variance of the
    estimate and t that of the mixture. It may be looked at after every click.

    Args:
        counts: of the trial.
        reached: buckets that get the version on trial.
        error: largest probability that the true difference is ever outside.
    """
    effect, mixture = design_effect(counts), TYPICAL**2
    arms = [counts[chosen].sum(axis=0) / effect for chosen in (reached, ~reached)]
    if min(shown for shown, _ in arms) < LEAST_SHOWN:
        return None
    # Half a click and half a miss more, as by Jeffreys' prior: a version that nobody clicked has a variance, too.
    rates = [(clicked + 0.5) / (shown + 1.0) for shown, clicked in arms]
    variance = sum(rate * (1.0 - rate) / shown for rate, (shown, _) in zip(rates, arms, strict=True))
    estimate = float(rates[0] - rates[1])
    bound = variance * (1.0 + variance / mixture) * (2.0 * np.log(1.0 / error) + np.log1p(mixture / variance))
    return Interval(estimate, estimate - float(np.sqrt(bound)), estimate + float(np.sqrt(bound)))


def evidence(one: Rate, other: Rate, effect: float = 1.0) -> float:
    """Natural log of the Bayes factor of two rates against one; 0 where nothing was shown.

    Args:
        one: rate of one version.
        other: rate of another.
        effect: design effect; all counts are divided by it.
    """
    together = Rate(one.shown + other.shown, one.clicked + other.clicked)
    return _log_marginal(one, effect) + _log_marginal(other, effect) - _log_marginal(together, effect)


def design_effect(counts: Counts) -> float:
    """Variance of clicks between buckets over that of independent answers; at least 1.

    sum (c_i - p n_i)^2 / (p (1 - p) sum n_i) with c_i of n_i answers of bucket i clicked, and p of all.
    """
    shown, clicked = counts.T
    rate = clicked.sum() / max(shown.sum(), 1)
    independent = float(rate * (1.0 - rate) * shown.sum())
    return max(1.0, float(np.square(clicked - rate * shown).sum()) / independent) if independent else 1.0


def _log_marginal(rate: Rate, effect: float) -> float:
    """Log of the marginal probability of these clicks under the prior."""
    clicked, others = rate.clicked / effect, (rate.shown - rate.clicked) / effect
    return float(betaln(clicked + 0.5, others + 0.5) - betaln(0.5, 0.5))
