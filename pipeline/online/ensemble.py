"""The trend beside a model: mixed into every answer, brought up to date by every event."""

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
    """What is known of n windows that are answered with the trend.

    Attributes:
        contexts: (n, length) the windows.
        setup_shares: (n, setup_shares) their shares of the tastes that are counted apart.
        since: (n,) 1 where a window holds anything taken since set-up, or nothing at all, 0 elsewhere.
        max_probability: (n,) highest probability in the model's answer.
    """

    contexts: Ids
    setup_shares: Array
    since: Array
    max_probability: Array

    def __getitem__(self, chosen: slice) -> "WindowFeatures":
        return WindowFeatures(
            self.contexts[chosen], self.setup_shares[chosen], self.since[chosen], self.max_probability[chosen]
        )


def setup_shares_of(setup_bank: RegionBank, posterior: Posterior) -> Array:
    """(n, setup_shares) shares of the tastes that are counted apart: a set-up region keeps its place when it ends.

    Args:
        setup_bank: the regions before any revision.
        posterior: over the live regions.
    """
    places = {r.region_id: place for place, r in enumerate(setup_bank.setup)}
    live = posterior.region_ids[: posterior.setup_shares.shape[1]]
    setup_shares = np.zeros((len(posterior.setup_shares), len(places)))
    setup_shares[:, [places[region_id] for region_id in live.tolist()]] = posterior.setup_shares
    return setup_shares


def origin_features(
    setup_bank: RegionBank, posterior: Posterior, route: Array, since_setup: NDArray[np.int64]
) -> OriginFeatures:
    """Where a gate puts windows by their content.

    Args:
        setup_bank: the regions before any revision.
        posterior: over the live regions.
        route: (n, 1 + opened) that follows from it.
        since_setup: (n,) how many items of each were taken since set-up.
    """
    return OriginFeatures(posterior.since, 1.0 - route[:, 0], setup_shares_of(setup_bank, posterior), since_setup)


def window_features(
    contexts: Ids, setup_shares: Array, since_setup: NDArray[np.int64], answers: NDArray[np.floating[Any]]
) -> WindowFeatures:
    """What the trend is told of windows.

    Args:
        contexts: (n, length) the windows.
        setup_shares: (n, setup_shares) their shares of the tastes that are counted apart.
        since_setup: (n,) how many items of each were taken since set-up.
        answers: (n, items + 1) probabilities that the model gives.
    """
    return WindowFeatures(contexts, setup_shares, _since(contexts, since_setup), answers.max(axis=1).astype(np.float64))


Found = tuple[NextItems, NextItems]
"""What followed the items of one window in set-up, and of late."""


class OnlineEnsemble:
    """Trend counts and their weight in the answers of one model.

    Args:
        usual: (items + 1,) how often set-up met each item.
        before: what was taken after what in set-up; it is left as it is.
        setup_shares: how many are counted apart.
        config: section `trend`.

    Attributes:
        origin_prior: the other part of an answer that follows every event; the caller asks it and lets it learn.
    """

    def __init__(self, usual: NDArray[np.int64], before: ItemTransitions, setup_shares: int, config: Config) -> None:
        shrinkage = config.trend.shrinkage
        self._setup_regions = setup_shares
        self._trend = DecayedPopularity(usual, setup_shares, config.trend.half_lives, shrinkage)
        self._before = before
        self._followers = ItemTransitions(config.trend.followed_events, config.windows.length, shrinkage)
        self._mixture = ExpertMixture(len(config.trend.half_lives) + 2, config.trend.learning_rate)
        # Weights of the stations beyond what was learned: what followed of late, and in both.
        self._beyond = np.eye(len(config.trend.half_lives) + 4)[-2:]
        self.origin_prior = OriginPrior(setup_shares, config.trend.era_learning_rate, config.trend.era_half_life)
        self._retention = config.trend.retention
        self._held_out: WindowFeatures | None = None
        self._held_out_shares = np.zeros((0, setup_shares))
        self._held_out_targets = np.zeros(0, dtype=np.int64)
        self._held_out_chances = np.zeros(0)
        self._held_out_before = np.zeros(0)
        self._events = 0

    def hold_out(self, features: WindowFeatures, targets: Ids, probabilities: Array) -> None:
        """Take held-out set-up windows as the model in force answers them: (n,) targets, their (n,) probabilities."""
        self._held_out, self._held_out_targets, self._held_out_chances = features, targets, probabilities
        self._held_out_shares = counted(features.setup_shares)
        self._held_out_before = self._chances_before(features.contexts, targets, probabilities)

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
        worth = self._worth(weights, found)[:, 0]
        total = torch.from_numpy(probabilities).mul_(torch.from_numpy(worth[:, :1].astype(np.float32)))
        self._trend.blend_in(total, features.setup_shares, worth[:, 1:-2])
        for row, both, shares in zip(probabilities, found, worth[:, -2:], strict=True):
            for followed, share in zip(both, shares, strict=True):
                np.add.at(row, followed.rows, (share * followed.probabilities).astype(np.float32))
        return probabilities

    def score_grid(
        self, features: WindowFeatures, answers: NDArray[np.floating[Any]], target: int, excluded: Ids
    ) -> tuple[Array, list[bool]]:
        """The mixed answer to one window, and by which of `GRID` its target would be in a list.

        Args:
            features: the window.
            answers: (1, items + 1) the model's.
            target: catalogue row of what followed.
            excluded: (m,) rows that are not recommended.
        """
        weights = self._learned(features)
        if features.since[0]:
            weights = np.concatenate([weights, self._beyond])
        components = np.concatenate([answers, self._mixed(features, weights[None], answers)[0]])
        mixed: Array = self._shares(features)[:, : len(components)] @ components
        return mixed, hits_of(components, target, excluded)

    def _mixed(self, features: WindowFeatures, weights: Array, answers: NDArray[np.floating[Any]]) -> Array:
        """(n, k, items + 1) sums of model and experts for n windows, by (n, k, half_lives + 4) weights of each."""
        found = self._found(features.contexts)
        worth = self._worth(weights, found)
        mixed = self._trend.blended(features.setup_shares, worth[:, :, 1:-2])
        own = worth[:, :, [0, -2, -1]]
        for i, (answer, (before, late)) in enumerate(zip(answers, found, strict=True)):
            mixed[i] += own[i] @ np.stack([answer, before.over(len(answer)), late.over(len(answer))])
        return mixed

    def _found(self, contexts: Ids) -> list[Found]:
        """What followed the items of each window."""
        return [(self._before.of(context), self._followers.of(context)) for context in contexts]

    def _worth(self, weights: Array, found: Sequence[Found]) -> Array:
        """What each expert is worth where others know little.

        Args:
            weights: (n, k, half_lives + 4) of the model, each trend, and what followed in set-up, of late, and in both.
            found: what followed each window.

        Returns:
            (n, k, half_lives + 3): where little followed in set-up the model answers, elsewhere the shortest half-life;
            what followed in both is parted by the events that say so.
        """
        evidence = np.array([[before.evidence, late.evidence] for before, late in found]).reshape(-1, 1, 2)
        total = evidence.sum(axis=2, keepdims=True)
        parts = evidence / np.where(total > 0.0, total, 1.0)
        followed = weights[:, :, -3:] * self._followers.known(np.concatenate([evidence, total], axis=2))
        rest = weights[:, :, -3:] - followed
        worth = weights[:, :, :-1].copy()
        worth[:, :, 0] += rest[:, :, 0]
        worth[:, :, 1] += rest[:, :, 1] + rest[:, :, 2]
        worth[:, :, -2:] = followed[:, :, :2] + followed[:, :, 2:] * parts
        return worth

    def _chances_before(self, contexts: Ids, rows: Ids, probabilities: Array) -> Array:
        """(k,) what followed in set-up gives to one row each; where little did, the model's (k,) chances."""
        followed, known = self._before.probabilities_of(contexts, rows)
        before: Array = known * followed + (1.0 - known) * probabilities
        return before

    def _weights(self, features: WindowFeatures) -> Array:
        """(n, half_lives + 4) weights of the model, each trend, and what followed in set-up, of late, and in both."""
        shares = self._shares(features)
        weights = shares[:, 1:2] * self._learned(features)
        weights[:, 0] += shares[:, 0]
        weights[:, -2:] += shares[:, 2:]
        return weights

    def _shares(self, features: WindowFeatures) -> Array:
        """(n, 4) what is taken of each station: beyond what was learned go only windows with anything taken since."""
        grid_point = self._mixture.grid_point
        within = np.array([grid_point[0], 1.0 - grid_point[0], 0.0, 0.0])
        return np.where(features.since[:, None] > 0.0, grid_point, within)

    def _learned(self, features: WindowFeatures) -> Array:
        """(n, half_lives + 4) weights as they were learned: nothing for both together."""
        learned = self._mixture.weights(features.since, self._trend.lifts(features.contexts), features.max_probability)
        return np.concatenate([learned, np.zeros((len(learned), 1))], axis=1)

    def overall(self) -> Array:
        """(items + 1,) probabilities of what anybody takes of late, by the shortest half-life."""
        overall: Array = self._trend.overall()[0]
        return overall

    def learn(
        self, features: WindowFeatures, place: int, target: int, probability: float, hits: Sequence[bool]
    ) -> None:
        """Take in what followed window `place`, given `probability` by the model, and hits as of `score_grid`."""
        this, held = features[place : place + 1], self._held_out
        contexts, since, max_probability = this.contexts, this.since, this.max_probability
        shares, rows, model = counted(this.setup_shares), np.array([target]), np.array([probability])
        before = self._chances_before(contexts, rows, model)
        if held is not None:
            others = self._others()
            contexts = np.concatenate([contexts, held.contexts[others]])
            since = np.concatenate([since, held.since[others]])
            max_probability = np.concatenate([max_probability, held.max_probability[others]])
            shares = np.concatenate([shares, self._held_out_shares[others]])
            rows = np.concatenate([rows, self._held_out_targets[others]])
            model = np.concatenate([model, self._held_out_chances[others]])
            before = np.concatenate([before, self._held_out_before[others]])
        trends = self._trend.probabilities_of(shares, rows)
        followed, known = self._followers.probabilities_of(contexts, rows)
        late = known * followed + (1.0 - known) * trends[:, 0]
        probabilities = np.column_stack([model, trends, before, late])
        self._mixture.learn(since, self._trend.lifts(contexts), max_probability, probabilities)
        self._mixture.record_hits(hits)
        self._add(features.setup_shares[place], features.contexts[place], target)

    def _others(self) -> NDArray[np.int64]:
        """The held-out windows whose turn it is at the next event."""
        windows = len(self._held_out_targets)
        first = self._events * self._retention
        return np.arange(first, first + self._retention if windows else first) % max(windows, 1)

    @property
    def events(self) -> int:
        """How many events it has learned from."""
        return self._events

    def counted_shares(self, features: WindowFeatures) -> list[list[tuple[int, float]]]:
        """For each window, the positions of the set-up regions it counts in and its shares of them.

        Regions below the least share do not count, so they are left out where others are above it.
        """
        counted = np.where(features.setup_shares >= LEAST_SHARE, features.setup_shares, 0.0)
        counted = np.where(counted.any(axis=1, keepdims=True), counted, features.setup_shares)
        return [[(int(i), float(row[i])) for i in np.flatnonzero(row)] for row in counted]

    def learn_again(self, event: GatedEvent) -> None:
        """Take in an event as `learn` did when it was gated, to the bit."""
        online = _online(event)
        context = np.array([event.window], dtype=np.int64)
        since = _since(context, np.array([event.since_setup]))
        features = WindowFeatures(context, self._shares_of(online)[None], since, np.array([online.max_probability]))
        self.learn(features, 0, event.target, online.probability, online.hits)
        self._learn_origin_prior(event, features.setup_shares[0])

    def count(self, event: GatedEvent) -> None:
        """Count an event, update the origin prior, and leave the mixture's weights as they are.

        The weights need the model's answers under the revision of that moment, the rest nothing but the event.
        """
        setup_shares = self._shares_of(_online(event))
        self._add(setup_shares, np.array(event.window, dtype=np.int64), event.target)
        self._learn_origin_prior(event, setup_shares)

    def to_arrays(self) -> dict[str, NDArray[Any]]:
        """All that was counted and learned; `restore` continues from it to the bit."""
        parts = (self._trend, self._followers, self._mixture, self.origin_prior)
        return {name: array for part in parts for name, array in part.to_arrays().items()} | {
            "events": np.array(self._events)
        }

    def restore(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Continue from what `to_arrays` gave."""
        for part in (self._trend, self._followers, self._mixture, self.origin_prior):
            part.restore(arrays)
        self._events = int(arrays["events"])

    def _add(self, setup_shares: Array, context: Ids, target: int) -> None:
        self._trend.add(setup_shares, target)
        self._followers.add(context, target)
        self._events += 1

    def _learn_origin_prior(self, event: GatedEvent, setup_shares: Array) -> None:
        self.origin_prior.learn(
            setup_shares, event.since_setup, event.opened, _online(event).probability, event.backbone_probability
        )

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
    """(n,) as of `WindowFeatures`: whoever has taken nothing yet has come since set-up."""
    newcomers = (contexts == PADDING).all(axis=1)
    return np.where((since_setup > 0) | newcomers, 1.0, 0.0)
