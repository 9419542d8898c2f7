"""The trend beside a model: mixed into every answer, brought up to date by every event."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from pipeline.config import Config
from pipeline.events.windows import PADDING, Ids
from pipeline.online.decayed_popularity import LEAST_SHARE, Trend, counted
from pipeline.online.interpolation import hits_of
from pipeline.online.item_transitions import Followed, Followers
from pipeline.online.mixture import TrendMixture
from pipeline.online.origin_prior import Eras, Placed
from pipeline.regions.bank import Posterior, RegionBank
from pipeline.regions.region import Array


@dataclass(frozen=True)
class Asked:
    """What is known of n windows that are answered with the trend.

    Attributes:
        contexts: (n, length) the windows.
        tastes: (n, tastes) their shares of the tastes that are counted apart.
        since: (n,) 1 where a window holds anything taken since set-up, or nothing at all, 0 elsewhere.
        surest: (n,) highest probability in the model's answer.
    """

    contexts: Ids
    tastes: Array
    since: Array
    surest: Array

    def __getitem__(self, chosen: slice) -> "Asked":
        return Asked(self.contexts[chosen], self.tastes[chosen], self.since[chosen], self.surest[chosen])


def tastes_of(setup_bank: RegionBank, posterior: Posterior) -> Array:
    """(n, tastes) shares of the tastes that are counted apart: a set-up region keeps its place when it ends.

    Args:
        setup_bank: the regions before any revision.
        posterior: over the live regions.
    """
    places = {r.region_id: place for place, r in enumerate(setup_bank.setup)}
    live = posterior.region_ids[: posterior.taste_shares.shape[1]]
    tastes = np.zeros((len(posterior.taste_shares), len(places)))
    tastes[:, [places[region_id] for region_id in live.tolist()]] = posterior.taste_shares
    return tastes


def placed(setup_bank: RegionBank, posterior: Posterior, route: Array, since_setup: NDArray[np.int64]) -> Placed:
    """Where a gate puts windows by their content.

    Args:
        setup_bank: the regions before any revision.
        posterior: over the live regions.
        route: (n, 1 + opened) that follows from it.
        since_setup: (n,) how many items of each were taken since set-up.
    """
    return Placed(posterior.since, 1.0 - route[:, 0], tastes_of(setup_bank, posterior), since_setup)


def asked_of(contexts: Ids, tastes: Array, since_setup: NDArray[np.int64], answers: NDArray[np.floating[Any]]) -> Asked:
    """What the trend is told of windows.

    Args:
        contexts: (n, length) the windows.
        tastes: (n, tastes) their shares of the tastes that are counted apart.
        since_setup: (n,) how many items of each were taken since set-up.
        answers: (n, items + 1) probabilities that the model gives.
    """
    return Asked(contexts, tastes, _since(contexts, since_setup), answers.max(axis=1).astype(np.float64))


Found = tuple[Followed, Followed]
"""What followed the items of one window in set-up, and of late."""


class Trending:
    """Trend counts and their weight in the answers of one model.

    Args:
        usual: (items + 1,) how often set-up met each item.
        before: what was taken after what in set-up; it is left as it is.
        tastes: how many are counted apart.
        config: section `trend`.

    Attributes:
        eras: the other part of an answer that follows every event; the caller asks it and lets it learn.
    """

    def __init__(self, usual: NDArray[np.int64], before: Followers, tastes: int, config: Config) -> None:
        shrinkage = config.trend.shrinkage
        self._tastes = tastes
        self._trend = Trend(usual, tastes, config.trend.half_lives, shrinkage)
        self._before = before
        self._followers = Followers(config.trend.followed_events, config.windows.length, shrinkage)
        self._mixture = TrendMixture(len(config.trend.half_lives) + 2, config.trend.learning_rate)
        # Weights of the stations beyond what was learned: what followed of late, and in both.
        self._beyond = np.eye(len(config.trend.half_lives) + 4)[-2:]
        self.eras = Eras(tastes, config.trend.era_learning_rate, config.trend.era_half_life)
        self._retention = config.trend.retention
        self._held_out: Asked | None = None
        self._held_out_shares = np.zeros((0, tastes))
        self._held_out_targets = np.zeros(0, dtype=np.int64)
        self._held_out_chances = np.zeros(0)
        self._held_out_before = np.zeros(0)
        self._events = 0

    def hold_out(self, asked: Asked, targets: Ids, chances: Array) -> None:
        """Take held-out set-up windows as the model in force answers them: (n,) targets, their (n,) probabilities."""
        self._held_out, self._held_out_targets, self._held_out_chances = asked, targets, chances
        self._held_out_shares = counted(asked.tastes)
        self._held_out_before = self._chances_before(asked.contexts, targets, chances)

    def mix(self, asked: Asked, answers: NDArray[np.floating[Any]]) -> Array:
        """Mix the trend into the model's (n, items + 1) answers to n windows."""
        mixed: Array = self._mixed(asked, self._weights(asked)[:, None], answers)[:, 0]
        return mixed

    def mix_in(self, asked: Asked, answers: NDArray[np.float32]) -> None:
        """The same in place and in single precision: cheaper for many windows between two events."""
        found = self._found(asked.contexts)
        worth = self._worth(self._weights(asked)[:, None], found)[:, 0]
        mixed = torch.from_numpy(answers).mul_(torch.from_numpy(worth[:, :1].astype(np.float32)))
        self._trend.blend_in(mixed, asked.tastes, worth[:, 1:-2])
        for answer, both, shares in zip(answers, found, worth[:, -2:], strict=True):
            for followed, share in zip(both, shares, strict=True):
                np.add.at(answer, followed.rows, (share * followed.chances).astype(np.float32))

    def tried(
        self, asked: Asked, answers: NDArray[np.floating[Any]], target: int, excluded: Ids
    ) -> tuple[Array, list[bool]]:
        """The mixed answer to one window, and by which of `WAYS` its target would be in a list.

        Args:
            asked: the window.
            answers: (1, items + 1) the model's.
            target: catalogue row of what followed.
            excluded: (m,) rows that are not recommended.
        """
        weights = self._learned(asked)
        if asked.since[0]:
            weights = np.concatenate([weights, self._beyond])
        stations = np.concatenate([answers, self._mixed(asked, weights[None], answers)[0]])
        mixed: Array = self._shares(asked)[:, : len(stations)] @ stations
        return mixed, hits_of(stations, target, excluded)

    def _mixed(self, asked: Asked, weights: Array, answers: NDArray[np.floating[Any]]) -> Array:
        """(n, k, items + 1) sums of model and experts for n windows, by (n, k, half_lives + 4) weights of each."""
        found = self._found(asked.contexts)
        worth = self._worth(weights, found)
        mixed = self._trend.blended(asked.tastes, worth[:, :, 1:-2])
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

    def _chances_before(self, contexts: Ids, rows: Ids, chances: Array) -> Array:
        """(k,) what followed in set-up gives to one row each; where little did, the model's (k,) chances."""
        followed, known = self._before.chances_of(contexts, rows)
        before: Array = known * followed + (1.0 - known) * chances
        return before

    def _weights(self, asked: Asked) -> Array:
        """(n, half_lives + 4) weights of the model, each trend, and what followed in set-up, of late, and in both."""
        shares = self._shares(asked)
        weights = shares[:, 1:2] * self._learned(asked)
        weights[:, 0] += shares[:, 0]
        weights[:, -2:] += shares[:, 2:]
        return weights

    def _shares(self, asked: Asked) -> Array:
        """(n, 4) what is taken of each station: beyond what was learned go only windows with anything taken since."""
        way = self._mixture.way
        within = np.array([way[0], 1.0 - way[0], 0.0, 0.0])
        return np.where(asked.since[:, None] > 0.0, way, within)

    def _learned(self, asked: Asked) -> Array:
        """(n, half_lives + 4) weights as they were learned: nothing for both together."""
        learned = self._mixture.weights(asked.since, self._trend.lifts(asked.contexts), asked.surest)
        return np.concatenate([learned, np.zeros((len(learned), 1))], axis=1)

    def overall(self) -> Array:
        """(items + 1,) probabilities of what anybody takes of late, by the shortest half-life."""
        overall: Array = self._trend.overall()[0]
        return overall

    def learn(self, asked: Asked, place: int, target: int, chance: float, hits: Sequence[bool]) -> None:
        """Take in what followed window `place`, given `chance` by the model, and hits as of `tried`."""
        this, held = asked[place : place + 1], self._held_out
        contexts, since, surest = this.contexts, this.since, this.surest
        shares, rows, model = counted(this.tastes), np.array([target]), np.array([chance])
        before = self._chances_before(contexts, rows, model)
        if held is not None:
            others = self._others()
            contexts = np.concatenate([contexts, held.contexts[others]])
            since = np.concatenate([since, held.since[others]])
            surest = np.concatenate([surest, held.surest[others]])
            shares = np.concatenate([shares, self._held_out_shares[others]])
            rows = np.concatenate([rows, self._held_out_targets[others]])
            model = np.concatenate([model, self._held_out_chances[others]])
            before = np.concatenate([before, self._held_out_before[others]])
        trends = self._trend.chances_of(shares, rows)
        followed, known = self._followers.chances_of(contexts, rows)
        late = known * followed + (1.0 - known) * trends[:, 0]
        chances = np.column_stack([model, trends, before, late])
        self._mixture.learn(since, self._trend.lifts(contexts), surest, chances)
        self._mixture.tell(hits)
        self._add(asked.tastes[place], asked.contexts[place], target)

    def _others(self) -> NDArray[np.int64]:
        """The held-out windows whose turn it is at the next event."""
        windows = len(self._held_out_targets)
        first = self._events * self._retention
        return np.arange(first, first + self._retention if windows else first) % max(windows, 1)

    @property
    def events(self) -> int:
        """How many events it has learned from."""
        return self._events

    def fields(self, asked: Asked) -> dict[str, list[Any]]:
        """What `learn_again` needs of each window beside target and chance: columns of `gated`.

        Tastes below the least share do not count, so they are left out where others are above it.
        """
        counted = np.where(asked.tastes >= LEAST_SHARE, asked.tastes, 0.0)
        counted = np.where(counted.any(axis=1, keepdims=True), counted, asked.tastes)
        return {
            "tastes": [[[int(i), float(row[i])] for i in np.flatnonzero(row)] for row in counted],
            "surest": asked.surest.tolist(),
        }

    def learn_again(self, record: Mapping[str, Any]) -> None:
        """Take in an event as a record of `gated` has it, as `learn` did when it was gated, to the bit."""
        context = np.array([record["window"]], dtype=np.int64)
        since = _since(context, np.array([record["since_setup"]]))
        asked = Asked(context, self._tastes_of(record)[None], since, np.array([record["surest"]], dtype=np.float64))
        self.learn(asked, 0, record["target"], record["model_chance"], record["hits"])
        self._learn_era(record, asked.tastes[0])

    def count(self, record: Mapping[str, Any]) -> None:
        """Count an event as a record of `gated` has it, learn its era, and leave the weights as they are.

        The weights need the model's answers under the revision of that moment, the rest nothing but the record.
        """
        tastes = self._tastes_of(record)
        self._add(tastes, np.array(record["window"], dtype=np.int64), record["target"])
        self._learn_era(record, tastes)

    def to_arrays(self) -> dict[str, NDArray[Any]]:
        """All that was counted and learned; `restore` continues from it to the bit."""
        parts = (self._trend, self._followers, self._mixture, self.eras)
        return {name: array for part in parts for name, array in part.to_arrays().items()} | {
            "events": np.array(self._events)
        }

    def restore(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Continue from what `to_arrays` gave."""
        for part in (self._trend, self._followers, self._mixture, self.eras):
            part.restore(arrays)
        self._events = int(arrays["events"])

    def _add(self, tastes: Array, context: Ids, target: int) -> None:
        self._trend.add(tastes, target)
        self._followers.add(context, target)
        self._events += 1

    def _learn_era(self, record: Mapping[str, Any], tastes: Array) -> None:
        told = (record[name] for name in ("since_setup", "opened", "model_chance", "backbone_chance"))
        self.eras.learn(tastes, *told)

    def _tastes_of(self, record: Mapping[str, Any]) -> Array:
        tastes = np.zeros(self._tastes)
        for place, share in record["tastes"]:
            tastes[place] = share
        return tastes


def _since(contexts: Ids, since_setup: NDArray[np.int64]) -> Array:
    """(n,) as of `Asked`: whoever has taken nothing yet has come since set-up."""
    newcomers = (contexts == PADDING).all(axis=1)
    return np.where((since_setup > 0) | newcomers, 1.0, 0.0)
