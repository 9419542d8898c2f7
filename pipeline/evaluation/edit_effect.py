"""Whether an edit pays where it was made: quality before and after it, against regions that nothing was done to.

The *gain* of an interaction is [raie hits] - [static hits]: static never changes, so what is easy or hard about a
stretch of the stream cancels out. With G a mean gain, over so many events before an edit and as many after,

    payoff = (G edited after - G edited before) - (G untouched after - G untouched before)

is a difference of differences: what all answers gain meanwhile, by the trend above all, is taken off. An edit that
moves a boundary is of the interactions whose window lies in a set-up region that it names, whoever answered them: that
does not move with the boundary. An Update, and an edit that names no set-up region, is of the interactions that its
region answered. *Untouched* is what no edit published within these events is of.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pipeline.evaluation.bootstrap import PERCENTILES, Interval, resampled_means
from pipeline.metrics.ranking import Floats

AROUND = 1_000
"""Events before an edit, and after it, that are looked at."""

LEAST = 30
"""Interactions that each of the four means needs; of fewer nothing is said."""

RESAMPLES = 1_000

Flags = NDArray[np.bool_]
Record = Mapping[str, Any]


@dataclass(frozen=True, slots=True, eq=False)
class Scored:
    """Every interaction of a stream in event order, under one seed.

    Attributes:
        user: (n,) whose.
        counted: (n,) whether it counts: users without history do not.
        ours, static: (n,) whether `raie` and the backbone as set up hit, 0 or 1.
        region: (n,) the region that `raie` answered in.
        setup_region: (n,) the set-up region of the window under the frozen backbone.
    """

    user: NDArray[Any]
    counted: Flags
    ours: Floats
    static: Floats
    region: NDArray[np.integer[Any]]
    setup_region: NDArray[np.integer[Any]]


@dataclass(frozen=True, slots=True, eq=False)
class Payoff:
    """What came of one edit. Rows: edited, untouched; columns: before, after.

    Attributes:
        edit: its record in the ledger.
        interactions: (2, 2) how many there are.
        ours, static: (2, 2) share that `raie` and `static` hit; NaN where there are none.
        interval: the payoff with its 95% interval over users; None where there is too little to tell.
    """

    edit: Record
    interactions: NDArray[np.int64]
    ours: Floats
    static: Floats
    interval: Interval | None


def weigh(scored: Scored, edits: Sequence[Record], around: int = AROUND) -> tuple[list[Payoff], dict[str, Interval]]:
    """Weigh every published edit, and the mean edit of each operation and of all.

    Args:
        scored: the stream.
        edits: published ones of the same seed.
        around: events before and after.

    Returns:
        A payoff for each edit, in the order given, and the mean payoff by operation ("all": of all) of those that
        can be told; users are drawn once for all of them.
    """
    found, drawn = [], []
    for edit in edits:
        cells = cells_of(scored, edit, edits, around)
        counts = cells.sum(axis=1)
        draws = _draws(scored, cells) if counts.min() >= LEAST else None
        estimate = None if draws is None else _interval(_payoff(_means(scored.ours - scored.static, cells)), draws)
        ours, static = (_means(hits, cells).reshape(2, 2) for hits in (scored.ours, scored.static))
        found.append(Payoff(edit, counts.reshape(2, 2), ours, static, estimate))
        drawn.append(draws)
    told = [(p.edit["operation"], p.interval.difference, d) for p, d in zip(found, drawn, strict=True) if p.interval]
    names = sorted({name for name, _, _ in told})
    families = {"all": told} | {name: [t for t in told if t[0] == name] for name in names}
    return found, {name: _mean_interval(family) for name, family in families.items() if family}


def concerned(scored: Scored, edit: Record) -> Flags:
    """(n,) interactions that an edit is of."""
    named = {edit["region_id"], edit["other_region_id"], *edit["reason"].get("regions", ())}
    setup_regions = sorted(named & set(np.unique(scored.setup_region).tolist()))
    if edit["operation"] == "update" or not setup_regions:
        return np.asarray(scored.region == edit["region_id"])
    return np.isin(scored.setup_region, setup_regions)


def cells_of(scored: Scored, edit: Record, edits: Sequence[Record], around: int) -> Flags:
    """(4, n) interactions edited before and after, untouched before and after."""
    at, place = edit["at_event"], np.arange(len(scored.user))
    before = (place >= at - around) & (place < at) & scored.counted
    after = (place >= at) & (place < at + around) & scored.counted
    mine = concerned(scored, edit)
    near = [concerned(scored, other) for other in edits if abs(other["at_event"] - at) < around]
    free = ~np.logical_or.reduce([mine, *near])
    return np.stack([mine & before, mine & after, free & before, free & after])


def _means(values: Floats, cells: Flags) -> Floats:
    """(4,) mean of each cell; NaN where it is empty."""
    counts = cells.sum(axis=1)
    return np.where(counts > 0, (cells @ values) / np.maximum(counts, 1), np.nan)


def _payoff(gains: Floats) -> Floats:
    """(..., 4) mean gains to (...) differences of differences."""
    difference: Floats = (gains[..., 1] - gains[..., 0]) - (gains[..., 3] - gains[..., 2])
    return difference


def _draws(scored: Scored, cells: Flags) -> Floats:
    """(resamples,) the payoff on resampled users; NaN where a cell came out empty."""
    gain, flags = scored.ours - scored.static, cells.T.astype(np.float64)
    means = resampled_means(np.concatenate([flags * gain[:, None], flags], axis=1), scored.user, resamples=RESAMPLES)
    sums, counts = means[:, :4], means[:, 4:]
    return _payoff(np.divide(sums, counts, out=np.full_like(sums, np.nan), where=counts > 0))


def _interval(difference: ArrayLike, draws: Floats) -> Interval:
    low, high = np.nanpercentile(draws, PERCENTILES)
    return Interval(float(np.asarray(difference)), float(low), float(high))


def _mean_interval(family: Sequence[tuple[str, float, Floats]]) -> Interval:
    """The mean of several payoffs, each edit counting once; a draw counts where all of them can be told."""
    draws = np.mean([draws for _, _, draws in family], axis=0)
    return _interval(np.mean([difference for _, difference, _ in family]), draws)
