"""Comparison of bets by the delay of their alarms on binary values; basis of `pipeline.drift.binary`.

    python -m benchmarks.binary_bets

Simulates many streams at once: a reference of `VALUES` values, `BEFORE` values without drift, then a higher share of
ones. Every family of bets drives the same Shiryaev-Roberts e-detector at the same bound on its false alarms. Prints
Markdown; takes about two minutes.
"""

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from pipeline.drift.binary import ODDS

Array = NDArray[np.float64]
Bets = Callable[[Array, Array, Array], Array]
"""Gains of the bets, (bets, n), as a function of p-values, estimated shares and ones, (n,) each."""

STREAMS, VALUES, BEFORE, RUN = 400, 300, 200, 1e6
QUIET_RUN, QUIET = 1e3, 6_000


def smooth(p: Array, t: Array, one: Array) -> Array:  # noqa: ARG001
    """Gains of the bets of `ConformalDetector`."""
    return np.stack([a * p ** (a - 1) for a in (0.3, 0.6)] + [1 + b * (1 - 2 * p) for b in (0.4, 0.9)])


def steps(*odds: float) -> Bets:
    """Likelihood ratios of shares with multiples of the odds, one bet for each factor."""

    def bets(p: Array, t: Array, one: Array) -> Array:  # noqa: ARG001
        return np.stack([np.where(one, r, 1.0) / (1 + (r - 1) * t) for r in odds])

    return bets


FAMILIES: Mapping[str, Bets] = {
    "smooth": smooth,
    "odds 4": steps(4),
    "odds 1.5, 3, 6": steps(1.5, 3, 6),
    "odds 2, 4, 8": steps(2, 4, 8),
    "odds 2, 4, 8, 16": steps(*ODDS),
    "odds 4, 8, 16": steps(4, 8, 16),
    "smooth and odds 2, 4, 8": lambda *given: np.concatenate([smooth(*given), steps(2, 4, 8)(*given)]),
}


def alarms(bets: Bets, share: float, shares: Array, run: float, seed: int) -> Array:
    """Place of the first alarm of each stream, infinite if none; `shares` (n,) holds the share of ones by place."""
    rng = np.random.default_rng(seed)
    ones = rng.binomial(VALUES, share, STREAMS).astype(np.float64)
    wealth, first = np.zeros((1, STREAMS)), np.full(STREAMS, np.inf)
    for place, now in enumerate(shares.tolist()):
        seen = VALUES + place + 1
        one, u = rng.random(STREAMS) < now, rng.random(STREAMS)
        p = np.where(one, u * (ones + 1), ones + u * (seen - ones)) / seen
        wealth = (wealth + 1) * bets(np.maximum(p, 1e-6), (ones + 0.5) / seen, one)
        first[(wealth.mean(axis=0) >= run) & np.isinf(first)] = place
        ones += one
    return first


def changes(share: float) -> dict[str, Array]:
    """Shares of ones from the change on, by kind of change."""
    ramp = np.minimum(1.0, np.arange(2_500) / 1_500)
    movers = np.concatenate([np.full(80, share + 10 / 80), np.full(300, share)])
    return {
        "odds x 4": np.full(1_500, 4 * share / (1 + 3 * share)),
        "+ 0.2": np.full(1_500, share + 0.2),
        "+ 0.3 over 1,500": share + 0.3 * ramp,
        "ten movers in 80": movers,
    }


def measured_run(
    bets: Bets, share: float, reference: int, expected: float, streams: int = 4_000, length: int = 2_000
) -> float:
    """Mean number of values between false alarms; a stream gets a new reference after each."""
    rng = np.random.default_rng(2)
    ones, seen = rng.binomial(reference, share, streams).astype(np.float64), reference
    wealth, found = np.zeros((1, streams)), 0
    for _ in range(length):
        one = rng.random(streams) < share
        wealth = (wealth + 1) * bets(one, (ones + 0.5) / (seen + 1), one)
        alarmed = wealth.mean(axis=0) >= expected
        found += int(alarmed.sum())
        ones, seen = ones + one, seen + 1
        wealth[:, alarmed] = 0.0
        ones[alarmed] = rng.binomial(seen, share, alarmed.sum())
    return streams * length / max(found, 1)


def main() -> None:
    """Print the tables of delays and of measured runs."""
    print("| share before | bets | run at 1,000 asked |", " | ".join(changes(0.1)), "|")
    print("|---" * (3 + len(changes(0.1))) + "|")
    for share in (0.01, 0.02, 0.05, 0.15):
        for name, bets in FAMILIES.items():
            print(f"| {share} | {name} |", " | ".join(row(bets, share)), "|", flush=True)
    shares = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 0.6, 0.9, 0.97)
    print("\n| reference |", " | ".join(f"share {share}" for share in shares), "|")
    print("|---" * (1 + len(shares)) + "|")
    for reference in (0, 30, 300):
        runs = [measured_run(steps(*ODDS), share, reference, 1e4) for share in shares]
        print(f"| {reference} |", " | ".join(f"{run:,.0f}" for run in runs), "|", flush=True)


def row(bets: Bets, share: float) -> list[str]:
    """Cells of a table row: run between false alarms, and the median delay after each change."""
    quiet = alarms(bets, share, np.full(QUIET, share), QUIET_RUN, 1)
    cells = [f"{np.minimum(quiet + 1, QUIET).sum() / np.isfinite(quiet).sum():,.0f}"]
    for after in changes(share).values():
        found = alarms(bets, share, np.concatenate([np.full(BEFORE, share), after]), RUN, 0) - BEFORE
        middle = np.median(found)
        cells.append(f"{middle:,.0f}" if np.isfinite(middle) else "none")
        cells[-1] += f" ({np.isfinite(found).mean():.0%})"
    return cells


if __name__ == "__main__":
    main()
