"""Online ensemble: popularity and item transitions beside a model, mixed into scores and updated by every event."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from pipeline.arrays import Array
from pipeline.config import Config
from pipeline.errors import LogError
from pipeline.events.gated import GatedEvent, OnlineFeatures
from pipeline.events.windows import PADDING, Ids
from pipeline.online.decayed_popularity import LEAST_SHARE, DecayedPopularity, counted
from pipeline.online.interpolation import hits_of
from pipeline.online.item_transitions import ItemTransitions, NextItems
from pipeline.online.mixture import ExpertMixture
from pipeline.online.origin_prior import OriginFeatures, OriginPrior
from pipeline.regions.bank import Posterior, RegionBank


@dataclass(frozen=True)
class WindowFeatures:
    """Inputs of the ensemble for n windows.

    Attributes:
        contexts: (n, length) the windows.
        setup_shares: (n, regions) shares of the counted set-up regions in each window.
        since: (n,) 1 where a window holds an item taken since set-up, or no item, 0 elsewhere.
        max_probability: (n,) highest probability of the model.
    """

    contexts: Ids
    setup_shares: Array
    since: Array
    max_probability: Array

    def __getitem__(self, index: slice) -> "WindowFeatures":
        return WindowFeatures(
            self.contexts[index], self.setup_shares[index], self.since[index], self.max_probability[index]
        )


def setup_shares_of(setup_bank: RegionBank, posterior: Posterior) -> Array:
    """(n, regions) shares of the counted set-up regions: a set-up region keeps its column when it ends.

    Args:
        setup_bank: the regions before any revision.
        posterior: posterior over the live regions.
    """
    columns = {r.region_id: column for column, r in enumerate(setup_bank.setup)}
    live = posterior.region_ids[: posterior.setup_shares.shape[1]]
    setup_shares = np.zeros((len(posterior.setup_shares), len(columns)))
    setup_shares[:, [columns[region_id] for region_id in live.tolist()]] = posterior.setup_shares
    return setup_shares


def origin_features(
    setup_bank: RegionBank, posterior: Posterior, route: Array, since_setup: NDArray[np.int64]
) -> OriginFeatures:
    """Inputs of the origin prior for n windows.

    Args:
        setup_bank: the regions before any revision.
        posterior: posterior over the live regions.
        route: (n, 1 + stream) route by that posterior.
        since_setup: (n,) number of items of each window taken since set-up.
    """
    return OriginFeatures(posterior.stream, 1.0 - route[:, 0], setup_shares_of(setup_bank, posterior), since_setup)


def window_features(
    contexts: Ids, setup_shares: Array, since_setup: NDArray[np.int64], probabilities: NDArray[np.floating[Any]]
) -> WindowFeatures:
    """Inputs of the ensemble for n windows.

    Args:
        contexts: (n, length) the windows.
        setup_shares: (n, regions) shares of the counted set-up regions in each window.
        since_setup: (n,) number of items of each window taken since set-up.
        probabilities: (n, items + 1) probabilities of the model.
    """
    max_probability = probabilities.max(axis=1).astype(np.float64)
    return WindowFeatures(contexts, setup_shares, _since(contexts, since_setup), max_probability)


Found = tuple[NextItems, NextItems]
"""Items that followed those of one window in set-up, and recently."""


class OnlineEnsemble:
    """Online counts and their weights beside one model.

    Args:
        usual: (items + 1,) occurrences of each item of set-up.
        before: item transitions of set-up; they are not changed.
        regions: number of set-up regions that are counted.
        config: section `trend`.

    Attributes:
        origin_prior: origin prior, updated by the caller.
    """

    def __init__(self, usual: NDArray[np.int64], before: ItemTransitions, regions: int, config: Config) -> None:
        shrinkage = config.trend.shrinkage
        self._setup_regions = regions
        self._popularity = DecayedPopularity(usual, regions, config.trend.half_lives, shrinkage)
        self._before = before
        self._transitions = ItemTransitions(config.trend.followed_events, config.windows.length, shrinkage)
        self._mixture = ExpertMixture(len(config.trend.half_lives) + 2, config.trend.learning_rate)
        # Weights of the components beyond the learned one: recent item transitions, and those of set-up and recent.
        self._beyond = np.eye(len(config.trend.half_lives) + 4)[-2:]
        self.origin_prior = OriginPrior(regions, config.trend.era_learning_rate, config.trend.era_half_life)
        self._retention = config.trend.retention
        self._held_out: WindowFeatures | None = None
        self._held_out_shares = np.zeros((0, regions))
        self._held_out_targets = np.zeros(0, dtype=np.int64)
        self._held_out_probabilities = np.zeros(0)
        self._held_out_before = np.zeros(0)
        self._events = 0

    def hold_out(self, features: WindowFeatures, targets: Ids, probabilities: Array) -> None:
        """Replace the held-out set-up windows and their scores by the model in force.

        Args:
            features: the n windows.
            targets: (n,) catalogue rows of their targets.
            probabilities: (n,) probabilities of the targets by the model.
        """
        self._held_out, self._held_out_targets, self._held_out_probabilities = features, targets, probabilities
        self._held_out_shares = counted(features.setup_shares)
        self._held_out_before = self._probabilities_before(features.contexts, targets, probabilities)

    def mix(
        self, features: WindowFeatures, probabilities: NDArray[np.floating[Any]], *, in_place: bool = False
    ) -> NDArray[np.floating[Any]]:
        """Mix the online counts into the model's probabilities of n windows.

        Args:
            features: the windows.
            probabilities: (n, items + 1) of the model.
            in_place: overwrite `probabilities`, which are in single precision, and sum in it: cheaper for many windows
                between two events. Otherwise they stay as they are, and the sum is in double precision.

        Returns:
            (n, items + 1) mixed probabilities.
        """
        weights = self._weights(features)[:, None]
        if not in_place:
            mixed: Array = self._mixed(features, weights, probabilities)[:, 0]
            return mixed
        found = self._found(features.contexts)
        shifted = self._expert_weights(weights, found)[:, 0]
        total = torch.from_numpy(probabilities).mul_(torch.from_numpy(shifted[:, :1].astype(np.float32)))
        self._popularity.blend_in(total, features.setup_shares, shifted[:, 1:-2])
        for row, both, shares in zip(probabilities, found, shifted[:, -2:], strict=True):
            for followed, share in zip(both, shares, strict=True):
                np.add.at(row, followed.rows, (share * followed.probabilities).astype(np.float32))
        return probabilities

    def score_grid(
        self, features: WindowFeatures, probabilities: NDArray[np.floating[Any]], target: int, excluded: Ids
    ) -> tuple[Array, list[bool]]:
        """Mix the scores of one window, and compute by which points of `GRID` its target would be in a list.

        Args:
            features: the window.
            probabilities: (1, items + 1) probabilities of the model.
            target: catalogue row of the target.
            excluded: (m,) rows that are not recommended.
        """
        weights = self._learned(features)
        if features.since[0]:
            weights = np.concatenate([weights, self._beyond])
        components = np.concatenate([probabilities, self._mixed(features, weights[None], probabilities)[0]])
        mixed: Array = self._shares(features)[:, : len(components)] @ components
        return mixed, hits_of(components, target, excluded)

    def _mixed(self, features: WindowFeatures, weights: Array, probabilities: NDArray[np.floating[Any]]) -> Array:
        """(n, k, items + 1) sums of model and experts for n windows, by (n, k, half_lives + 4) weights."""
        found = self._found(features.contexts)
        shifted = self._expert_weights(weights, found)
        # Items may have come for later windows than these.
        mixed = self._popularity.blended(features.setup_shares, shifted[:, :, 1:-2])[:, :, : probabilities.shape[1]]
        own = shifted[:, :, [0, -2, -1]]
        for i, (row, (before, late)) in enumerate(zip(probabilities, found, strict=True)):
            mixed[i] += own[i] @ np.stack([row, before.over(len(row)), late.over(len(row))])
        return mixed

    def _found(self, contexts: Ids) -> list[Found]:
        """Items that followed those of each window."""
        return [(self._before.of(context), self._transitions.of(context)) for context in contexts]

    def _expert_weights(self, weights: Array, found: Sequence[Found]) -> Array:
        """Redistribute the weights of item transitions that have little evidence.

        Args:
            weights: (n, k, half_lives + 4) of the model, each half-life, and transitions of set-up, recent, and both.
            found: item transitions of each window.

        Returns:
            (n, k, half_lives + 3): the model gets the rest of set-up transitions, the shortest half-life that of the
            others; the weight of both is divided by their evidence.
        """
        evidence = np.array([[before.evidence, late.evidence] for before, late in found]).reshape(-1, 1, 2)
        total = evidence.sum(axis=2, keepdims=True)
        parts = evidence / np.where(total > 0.0, total, 1.0)
        followed = weights[:, :, -3:] * self._transitions.known(np.concatenate([evidence, total], axis=2))
        rest = weights[:, :, -3:] - followed
        shifted = weights[:, :, :-1].copy()
        shifted[:, :, 0] += rest[:, :, 0]
        shifted[:, :, 1] += rest[:, :, 1] + rest[:, :, 2]
        shifted[:, :, -2:] = followed[:, :, :2] + followed[:, :, 2:] * parts
        return shifted

    def _probabilities_before(self, contexts: Ids, rows: Ids, probabilities: Array) -> Array:
        """(k,) probability of one row each by set-up transitions; with little evidence, that of the model."""
        followed, known = self._before.probabilities_of(contexts, rows)
        before: Array = known * followed + (1.0 - known) * probabilities
        return before

    def _weights(self, features: WindowFeatures) -> Array:
        """(n, half_lives + 4) weights of the model, each half-life, and transitions of set-up, recent, and both."""
        shares = self._shares(features)
        weights = shares[:, 1:2] * self._learned(features)
        weights[:, 0] += shares[:, 0]
        weights[:, -2:] += shares[:, 2:]
        return weights

    def _shares(self, features: WindowFeatures) -> Array:
        """(n, 4) share of each component: only windows with items taken since set-up go beyond the learned one."""
        grid_point = self._mixture.grid_point
        within = np.array([grid_point[0], 1.0 - grid_point[0], 0.0, 0.0])
        return np.where(features.since[:, None] > 0.0, grid_point, within)

    def _learned(self, features: WindowFeatures) -> Array:
        """(n, half_lives + 4) learned weights: 0 for set-up and recent transitions together."""
        learned = self._mixture.weights(
            features.since, self._popularity.lifts(features.contexts), features.max_probability
        )
        return np.concatenate([learned, np.zeros((len(learned), 1))], axis=1)

    def popularity_rank(self, target: int, excluded: Ids) -> int:
        """See `DecayedPopularity.rank`."""
        return self._popularity.rank(target, excluded)

    def overall(self) -> Array:
        """(items + 1,) decayed popularity over all users, by the shortest half-life."""
        overall: Array = self._popularity.overall()[0]
        return overall

    def learn(
        self, features: WindowFeatures, index: int, target: int, probability: float, hits: Sequence[bool]
    ) -> None:
        """Learn from an event.

        Args:
            features: windows.
            index: the window of the event among them.
            target: catalogue row of the event.
            probability: probability of the target by the model.
            hits: hits of the target, from `score_grid`.
        """
        this, held = features[index : index + 1], self._held_out
        contexts, since, max_probability = this.contexts, this.since, this.max_probability
        shares, rows, model = counted(this.setup_shares), np.array([target]), np.array([probability])
        before = self._probabilities_before(contexts, rows, model)
        if held is not None:
            others = self._others()
            contexts = np.concatenate([contexts, held.contexts[others]])
            since = np.concatenate([since, held.since[others]])
            max_probability = np.concatenate([max_probability, held.max_probability[others]])
            shares = np.concatenate([shares, self._held_out_shares[others]])
            rows = np.concatenate([rows, self._held_out_targets[others]])
            model = np.concatenate([model, self._held_out_probabilities[others]])
            before = np.concatenate([before, self._held_out_before[others]])
        popularity = self._popularity.probabilities_of(shares, rows)
        followed, known = self._transitions.probabilities_of(contexts, rows)
        late = known * followed + (1.0 - known) * popularity[:, 0]
        probabilities = np.column_stack([model, popularity, before, late])
        self._mixture.learn(since, self._popularity.lifts(contexts), max_probability, probabilities)
        self._mixture.record_hits(hits)
        self.add(features.setup_shares[index], features.contexts[index], target)

    def _others(self) -> NDArray[np.int64]:
        """Indices of the held-out windows of the next event."""
        windows = len(self._held_out_targets)
        first = self._events * self._retention
        return np.arange(first, first + self._retention if windows else first) % max(windows, 1)

    @property
    def events(self) -> int:
        """Number of events that it has learned from."""
        return self._events

    def counted_shares(self, features: WindowFeatures) -> list[list[tuple[int, float]]]:
        """For each window, the positions of the set-up regions it counts in and its shares of them.

        Regions below the least share do not count, so they are left out where others are above it.
        """
        counted = np.where(features.setup_shares >= LEAST_SHARE, features.setup_shares, 0.0)
        counted = np.where(counted.any(axis=1, keepdims=True), counted, features.setup_shares)
        return [[(int(i), float(row[i])) for i in np.flatnonzero(row)] for row in counted]

    def learn_again(self, event: GatedEvent, contexts: Ids, since_setup: NDArray[np.int64], target: int) -> None:
        """Learn from a gated event again, with the same result to the bit.

        Args:
            event: as the gate wrote it.
            contexts: (1, length) its window, in catalogue rows.
            since_setup: (1,) number of its items taken since set-up.
            target: catalogue row of its target.
        """
        online = _online(event)
        shares = self._shares_of(online)
        if online.probability is None:
            self.add(shares, contexts[0], target)
            return
        surest = np.array([online.max_probability])
        features = WindowFeatures(contexts, shares[None], _since(contexts, since_setup), surest)
        self.learn(features, 0, target, online.probability, online.hits)
        self._learn_origin_prior(event, shares, int(since_setup[0]))

    def count(self, event: GatedEvent, context: Ids, target: int) -> None:
        """Count an event and update the origin prior; the weights of the mixture stay as they are.

        To learn the weights takes the model under the revision of the event; the rest follows from the event alone.
        Arguments as of `learn_again`, the window as (length,) rows.
        """
        setup_shares = self._shares_of(_online(event))
        self.add(setup_shares, context, target)
        self._learn_origin_prior(event, setup_shares, event.since_setup)

    def resize(self, items: int) -> None:
        """Make room for catalogue rows up to `items`."""
        self._popularity.resize(items)

    def forget(self, rows: Sequence[int]) -> None:
        """Drop what is counted of (m,) catalogue rows, which other items may get."""
        if len(rows):
            self._popularity.forget(np.array(rows, dtype=np.int64))
            self._transitions.forget(np.array(rows, dtype=np.int64))

    def to_arrays(self) -> dict[str, NDArray[Any]]:
        """Return everything counted and learned; `restore` continues from it to the bit."""
        parts = (self._popularity, self._transitions, self._mixture, self.origin_prior)
        return {name: array for part in parts for name, array in part.to_arrays().items()} | {
            "events": np.array(self._events)
        }

    def restore(self, arrays: Mapping[str, NDArray[Any]], rows: Ids) -> None:
        """Continue from the result of `to_arrays`.

        Args:
            arrays: with k + 1 catalogue rows of the process that wrote them.
            rows: (k + 1,) row here of each of them, 0 for an item that is not known here.
        """
        self._popularity.restore(arrays, rows)
        self._transitions.restore(arrays, rows)
        self._mixture.restore(arrays)
        self.origin_prior.restore(arrays)
        self._events = int(arrays["events"])

    def add(self, setup_shares: Array, context: Ids, target: int) -> None:
        """Count an event, and learn nothing from it: its target did not exist when it was scored.

        Args:
            setup_shares: (regions,) shares of the set-up regions in its window.
            context: (length,) its window.
            target: catalogue row of its target.
        """
        self._popularity.add(setup_shares, target)
        self._transitions.add(context, target)
        self._events += 1

    def _learn_origin_prior(self, event: GatedEvent, setup_shares: Array, since_setup: int) -> None:
        probability, backbone = _online(event).probability, event.backbone_probability
        if probability is not None and backbone is not None:
            self.origin_prior.learn(setup_shares, since_setup, event.opened, probability, backbone)

    def _shares_of(self, online: OnlineFeatures) -> Array:
        setup_shares = np.zeros(self._setup_regions)
        for position, share in online.setup_shares:
            setup_shares[position] = share
        return setup_shares


def _online(event: GatedEvent) -> OnlineFeatures:
    if event.online is None:
        raise LogError(f"event {event.event_id} was gated without online counts: nothing can be learned from it again")
    return event.online


def _since(contexts: Ids, since_setup: NDArray[np.int64]) -> Array:
    """(n,) `WindowFeatures.since`: a user without any item counts as new since set-up."""
    newcomers = (contexts == PADDING).all(axis=1)
    return np.where((since_setup > 0) | newcomers, 1.0, 0.0)
