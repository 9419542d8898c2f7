"""Scores of items by backbone and adapters: of all items, or of those that an index finds."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from pipeline.arrays import Array, distinct
from pipeline.events.allowed import Allowed
from pipeline.events.existence import Existence, ranks_of_existing
from pipeline.events.windows import Ids
from pipeline.metrics.ranking import NOT_SCORED
from pipeline.online.dense_scores import DenseScores, Values, shortlist
from pipeline.online.origin_prior import reweighted
from pipeline.recommend.candidates.query import BACKBONE, MODEL
from pipeline.recommend.candidates.scores import RankedScores
from pipeline.recommend.events import rank_in
from pipeline.retrieval.retriever import Asked, Retriever


class ModelScores(Protocol):
    """Probabilities of the next item for n windows: mixed by the route, and those of the backbone alone."""

    def of(self, rows: Ids) -> tuple[NDArray[Any], NDArray[Any]]:
        """(n,) mixed probabilities and (n,) of the backbone of one row for each window."""
        ...

    def of_setup(self, items: int) -> NDArray[Any]:
        """(n,) mixed probabilities of the items of set-up together, which have the rows up to `items`."""
        ...

    def experts(self) -> Sequence[Mapping[str, RankedScores]]:
        """For each window, the scores by model."""
        ...

    def ranks(self, targets: Ids, contexts: Ids, existence: Existence) -> Ids:
        """(n,) ranks of the targets by the mixed probabilities, 0 for a target that is no candidate."""
        ...

    def reweighted(self, origin_weight: Array) -> Self:
        """The scores with the stream regions counting (n,) `origin_weight` times as much."""
        ...


@dataclass(frozen=True)
class AllScores:
    """Probabilities of all items.

    Attributes:
        probabilities: (n, items + 1) mixed; padding has 0.
        backbone: (n, items + 1) of the backbone alone.
    """

    probabilities: NDArray[np.floating[Any]]
    backbone: NDArray[np.float32]

    def of(self, rows: Ids) -> tuple[NDArray[Any], NDArray[Any]]:
        """See `ModelScores.of`."""
        own = np.arange(len(rows)), rows
        return self.probabilities[own], self.backbone[own]

    def of_setup(self, items: int) -> NDArray[Any]:
        """See `ModelScores.of_setup`."""
        together: NDArray[Any] = self.probabilities[:, : items + 1].sum(axis=1)
        return together

    def experts(self) -> list[Mapping[str, RankedScores]]:
        """See `ModelScores.experts`."""
        both = zip(self.probabilities, self.backbone, strict=True)
        return [{MODEL: DenseScores(mixed), BACKBONE: DenseScores(backbone)} for mixed, backbone in both]

    def ranks(self, targets: Ids, contexts: Ids, existence: Existence) -> Ids:
        """See `ModelScores.ranks`."""
        return ranks_of_existing(self.probabilities.copy(), targets, contexts, existence)

    def reweighted(self, origin_weight: Array) -> "AllScores":
        """See `ModelScores.reweighted`."""
        return replace(self, probabilities=reweighted(self.probabilities, self.backbone, origin_weight[:, None]))


@dataclass(frozen=True)
class Part:
    """Windows that an adapter takes part in.

    Attributes:
        windows: (m,) their numbers, ascending.
        shares: (m,) weights of the adapter in their probabilities.
        asked: its scores for them.
    """

    windows: Ids
    shares: Array
    asked: Asked


@dataclass(frozen=True)
class FoundScores:
    """Probabilities of the items that an index finds, and of any others on demand; they are estimates.

    The sum that they are divided by is estimated from a sample; their order is exact among the items that are found.

    Attributes:
        retriever: holds items and adapters.
        backbone: scores of the backbone, for all windows.
        share: (n,) weights of the backbone.
        parts: the adapters.
        weight: (n,) factor of the adapters, see `reweighted`.
    """

    retriever: Retriever
    backbone: Asked
    share: Array
    parts: Sequence[Part]
    weight: Array

    def of(self, rows: Ids) -> tuple[Array, Array]:
        """See `ModelScores.of`."""
        backbone = np.exp(self.backbone.score_each(rows) - self.backbone.log_mass)
        mixed = self.share * backbone
        for part in self.parts:
            scores = part.asked.score_each(rows[part.windows])
            mixed[part.windows] += part.shares * np.exp(scores - part.asked.log_mass)
        return reweighted(mixed, backbone, self.weight), backbone

    def of_setup(self, items: int) -> Array:
        """See `ModelScores.of_setup`; the retriever knows how many these are."""
        del items
        mixed = self.share * self.backbone.of_setup
        for part in self.parts:
            mixed[part.windows] += part.shares * part.asked.of_setup
        return reweighted(mixed, self.backbone.of_setup, self.weight)

    def experts(self) -> list[Mapping[str, RankedScores]]:
        """See `ModelScores.experts`."""
        return [{MODEL: WindowScores(window, 0), BACKBONE: WindowScores(window, 1)} for window in self.windows]

    def ranks(self, targets: Ids, contexts: Ids, existence: Existence) -> Ids:
        """See `ModelScores.ranks`; a target that is not found has the last rank."""
        scored = existence.candidates(targets, contexts)
        ranks = np.full(len(targets), NOT_SCORED)
        for i in np.flatnonzero(scored).tolist():
            allowed, (rows, mixed) = existence.allowed(i, contexts[i]), self.windows[i].listed(0)
            kept = allowed.contains(rows)
            ranks[i] = rank_in(rows[kept], mixed[kept], int(targets[i]), allowed)
        return ranks

    def reweighted(self, origin_weight: Array) -> "FoundScores":
        """See `ModelScores.reweighted`."""
        return replace(self, weight=self.weight * origin_weight)

    def both(self, window: int, rows: Ids) -> tuple[Array, Array]:
        """(m,) mixed probabilities and (m,) of the backbone, of (m,) rows for one window."""
        backbone = self._probabilities(self.backbone, window, rows)
        mixed = self.share[window] * backbone
        for part, place in self._parts(window):
            mixed += part.shares[place] * self._probabilities(part.asked, place, rows)
        return reweighted(mixed, backbone, self.weight[window]), backbone

    def found(self, window: int) -> Ids:
        """(m,) rows that are found for one window under the backbone or an adapter, ascending."""
        rows = [self.backbone.found[window], *(part.asked.found[place] for part, place in self._parts(window))]
        return distinct(np.concatenate(rows))

    def within(self, window: int, allowed: Allowed, most: int) -> Ids:
        """(m,) rows of the best of the allowed items for one window, under the backbone or an adapter, ascending."""
        asked = [(self.backbone, window), *((part.asked, place) for part, place in self._parts(window))]
        return distinct(np.concatenate([self.retriever.within(one, place, allowed, most) for one, place in asked]))

    @cached_property
    def windows(self) -> list["_Window"]:
        """The windows, one by one."""
        return [_Window(self, number) for number in range(len(self.share))]

    def _probabilities(self, asked: Asked, place: int, rows: Ids) -> Array:
        probabilities: Array = np.exp(asked.score(place, rows) - asked.log_mass[place])
        return probabilities

    def _parts(self, window: int) -> list[tuple[Part, int]]:
        """Adapters of a window, and its place among theirs."""
        placed = ((part, int(np.searchsorted(part.windows, window))) for part in self.parts)
        return [(part, i) for part, i in placed if i < len(part.windows) and part.windows[i] == window]


class _Window:
    """Scores of one window, of which the last ones are kept: two models are asked about the same rows in turn."""

    def __init__(self, scores: FoundScores, number: int) -> None:
        self._scores, self._number = scores, number
        self._listed: tuple[Ids, tuple[Array, Array]] | None = None
        self._within: tuple[Allowed, int, Ids] | None = None
        self._latest: tuple[Ids, tuple[Array, Array]] | None = None

    def at(self, rows: Ids, model: int) -> Array:
        """(m,) probabilities of (m,) rows by one of the two models."""
        if self._latest is None or rows is not self._latest[0]:
            self._latest = rows, self._scores.both(self._number, rows)
        return self._latest[1][model]

    def listed(self, model: int) -> tuple[Ids, Array]:
        """(m,) rows that are found, and their (m,) probabilities by one of the two models."""
        if self._listed is None:
            found = self._scores.found(self._number)
            self._listed = found, self._scores.both(self._number, found)
        return self._listed[0], self._listed[1][model]

    def within(self, allowed: Allowed, most: int, model: int) -> tuple[Ids, Array]:
        """(m,) rows that are found among allowed items that a request has narrowed, and their (m,) probabilities."""
        if self._within is None or self._within[0] is not allowed or self._within[1] < most:
            self._within = allowed, most, self._scores.within(self._number, allowed, most)
        return self._within[2], self.at(self._within[2], model)


class WindowScores:
    """Scores of one window by one model.

    Args:
        window: scores of both.
        model: 0 mixed, 1 the backbone.
    """

    __slots__ = ("_model", "_window")

    def __init__(self, window: _Window, model: int) -> None:
        self._window, self._model = window, model

    def at(self, rows: Ids) -> Values:
        """(m,) scores of (m,) rows."""
        return self._window.at(rows, self._model)

    def shortlist(self, allowed: Allowed, most: int) -> tuple[Ids, Values]:
        """See `RankedScores.shortlist`."""
        window, model = self._window, self._model
        rows, values = window.within(allowed, most, model) if allowed.narrowed else window.listed(model)
        return shortlist(values, allowed, most, rows=rows)
