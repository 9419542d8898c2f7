"""Edit effect: change of quality by an edit where it applies, relative to regions without an edit.

The *gain* of an interaction is [raie hits] - [static hits]: static never changes, so that the difficulty of a section
of the stream cancels out. With G a mean gain, over `SPAN` events before an edit or after it,

    effect = (G edited after - G edited before) - (G untouched after - G untouched before)

is a difference of differences: it removes gains common to all interactions, such as that of decayed popularity. An
edit that moves a boundary applies to the interactions whose window lies in a set-up region that it names, regardless
of the region that served them, since set-up regions do not move with the boundary. An Update, and an edit that names
no set-up region, applies to the interactions that its region served. *Untouched* interactions are those that no edit
published within the span applies to.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pipeline.evaluation.bootstrap import PERCENTILES, Interval, resampled_means
from pipeline.metrics.ranking import Floats

SPAN = 1_000
"""Events before an edit, and after it, that are compared."""

LEAST = 30
"""Smallest number of interactions of each of the four means for an estimate."""

RESAMPLES = 1_000
"""Resamples of the users."""

Flags = NDArray[np.bool_]
Record = Mapping[str, Any]


@dataclass(frozen=True, slots=True, eq=False)
class StreamHits:
    """Hits of `raie` and `static` on every interaction of a stream, in event order, under one seed.

    Attributes:
        user: (n,) the user of each.
        counted: (n,) mask of users with a history.
        ours, static: (n,) 1 for a hit of `raie` or `static`, else 0.
        region: (n,) top region of `raie`.
        setup_region: (n,) set-up region of the window under the frozen backbone.
    """

    user: NDArray[Any]
    counted: Flags
    ours: Floats
    static: Floats
    region: NDArray[np.integer[Any]]
    setup_region: NDArray[np.integer[Any]]


@dataclass(frozen=True, slots=True, eq=False)
class EditEffect:
    """Effect of one edit. Rows: edited, untouched; columns: before, after.

    Attributes:
        edit: its record in the ledger.
        interactions: (2, 2) counts.
        ours, static: (2, 2) hit rate of `raie` and `static`; NaN without interactions.
        interval: the effect with its 95% interval over users; None with fewer than `LEAST` interactions in a cell.
    """

    edit: Record
    interactions: NDArray[np.int64]
    ours: Floats
    static: Floats
    interval: Interval | None


def estimate_effects(
    stream: StreamHits, edits: Sequence[Record], span: int = SPAN
) -> tuple[list[EditEffect], dict[str, Interval]]:
    """Estimate the effect of every published edit, and the mean effect by operation.

    Args:
        stream: hits of the stream.
        edits: published edits of the same seed.
        span: events before and after.

    Returns:
        An effect for each edit, in the order given, and the mean by operation ("all": of all) of those with an
        interval, over the same resampled users.
    """
    effects, drawn = [], []
    for edit in edits:
        cells = cells_of(stream, edit, edits, span)
        counts = cells.sum(axis=1)
        draws = _draws(stream, cells) if counts.min() >= LEAST else None
        estimate = None if draws is None else _interval(_difference(_means(stream.ours - stream.static, cells)), draws)
        ours, static = (_means(hits, cells).reshape(2, 2) for hits in (stream.ours, stream.static))
        effects.append(EditEffect(edit, counts.reshape(2, 2), ours, static, estimate))
        drawn.append(draws)
    known = [(e.edit["operation"], e.interval.difference, d) for e, d in zip(effects, drawn, strict=True) if e.interval]
    names = sorted({name for name, _, _ in known})
    families = {"all": known} | {name: [entry for entry in known if entry[0] == name] for name in names}
    return effects, {name: _mean_interval(family) for name, family in families.items() if family}


def affected_by(stream: StreamHits, edit: Record) -> Flags:
    """(n,) mask of the interactions that an edit applies to."""
    named = {edit["region_id"], edit["other_region_id"], *edit["reason"].get("regions", ())}
    setup_regions = sorted(named & set(np.unique(stream.setup_region).tolist()))
    if edit["operation"] == "update" or not setup_regions:
        return np.asarray(stream.region == edit["region_id"])
    return np.isin(stream.setup_region, setup_regions)


def cells_of(stream: StreamHits, edit: Record, edits: Sequence[Record], span: int) -> Flags:
    """(4, n) masks of interactions: edited before and after, untouched before and after."""
    at, position = edit["at_event"], np.arange(len(stream.user))
    before = (position >= at - span) & (position < at) & stream.counted
    after = (position >= at) & (position < at + span) & stream.counted
    edited = affected_by(stream, edit)
    near = [affected_by(stream, other) for other in edits if abs(other["at_event"] - at) < span]
    untouched = ~np.logical_or.reduce([edited, *near])
    return np.stack([edited & before, edited & after, untouched & before, untouched & after])


def _means(values: Floats, cells: Flags) -> Floats:
    """(4,) mean of each cell; NaN for an empty one."""
    counts = cells.sum(axis=1)
    return np.where(counts > 0, (cells @ values) / np.maximum(counts, 1), np.nan)


def _difference(gains: Floats) -> Floats:
    """(..., 4) mean gains to (...) differences of differences."""
    difference: Floats = (gains[..., 1] - gains[..., 0]) - (gains[..., 3] - gains[..., 2])
    return difference


def _draws(stream: StreamHits, cells: Flags) -> Floats:
    """(resamples,) the effect on resampled users; NaN if a cell is empty."""
    gain, flags = stream.ours - stream.static, cells.T.astype(np.float64)
    means = resampled_means(np.concatenate([flags * gain[:, None], flags], axis=1), stream.user, resamples=RESAMPLES)
    sums, counts = means[:, :4], means[:, 4:]
    return _difference(np.divide(sums, counts, out=np.full_like(sums, np.nan), where=counts > 0))


def _interval(difference: ArrayLike, draws: Floats) -> Interval:
    low, high = np.nanpercentile(draws, PERCENTILES)
    return Interval(float(np.asarray(difference)), float(low), float(high))


def _mean_interval(family: Sequence[tuple[str, float, Floats]]) -> Interval:
    """Mean of several effects, each edit counted once, over the draws in which all effects are defined."""
    draws = np.mean([draws for _, _, draws in family], axis=0)
    return _interval(np.mean([difference for _, difference, _ in family]), draws)
