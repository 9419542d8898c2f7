"""State that a gate learns at every event, beside the regions: origin prior and second stage."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.arrays import Array
from pipeline.config import Config
from pipeline.errors import LogError
from pipeline.events.gated import GatedEvent, OnlineFeatures
from pipeline.events.windows import PADDING, Ids
from pipeline.models.open_catalogue import OpenCatalogue
from pipeline.online.decayed_popularity import for_other_regions
from pipeline.online.origin_prior import OriginPrior
from pipeline.recommend.candidates.query import BACKBONE, MODEL, Query, recent_shares
from pipeline.recommend.candidates.text import Texts, TextsLike, all_texts
from pipeline.recommend.second_stage import SecondStage
from pipeline.setup.artifacts import SetUp

BY_REGION = ("popularity.counts", "popularity.totals")
"""Arrays of the second stage with values for each set-up region."""


class OnlineState:
    """Origin prior and second stage of one gate, or the copy of a server.

    Args:
        setup: the state before any event.
        config: the whole tree.
        texts: text embeddings in force.
        ids: id of every catalogue row; it may grow.
        like: finds texts in a large catalogue.

    Attributes:
        regions: number of set-up regions.
        second_stage, origin_prior: the two.
    """

    def __init__(
        self, setup: SetUp, config: Config, texts: Texts, ids: Sequence[str], like: TextsLike = all_texts
    ) -> None:
        self.regions, trend = len(setup.bank.setup), config.trend
        self._length = config.windows.length
        self.second_stage = SecondStage(setup, config, self.regions, (MODEL, BACKBONE), texts, ids, like)
        self.origin_prior = OriginPrior(self.regions, trend.era_learning_rate, trend.era_half_life)

    @property
    def events(self) -> int:
        """Number of events of this gate counted since set-up."""
        return self.second_stage.events

    def learn_origin(self, event: GatedEvent, query: Query) -> None:
        """Update the origin prior by an event."""
        probability = _online(event).probability
        if probability is not None and event.backbone_probability is not None:
            self.origin_prior.learn(
                query.setup_shares, query.since_setup, event.opened, probability, event.backbone_probability
            )

    def count(self, event: GatedEvent, catalogue: OpenCatalogue) -> None:
        """Count an event of the gate that this is a copy of, and update the origin prior by it."""
        query = self.query_of(event, catalogue)
        self.second_stage.count(*_counted(query, event, catalogue))
        self.learn_origin(event, query)

    def count_elsewhere(self, event: GatedEvent, catalogue: OpenCatalogue) -> None:
        """Count an event that another gate has scored, and has learned from."""
        self.second_stage.count_elsewhere(*_counted(self.query_of(event, catalogue), event, catalogue))

    def query_of(self, event: GatedEvent, catalogue: OpenCatalogue) -> Query:
        """The window of an event in the rows of a catalogue, without scores of models."""
        contexts, since_setup = catalogue.contexts([event.history], self._length)
        shares = np.zeros(self.regions)
        for position, share in _online(event).setup_shares:
            shares[position] = share
        earlier = np.array(catalogue.known_rows(event.earlier), dtype=np.int32)
        return Query(contexts[0], earlier, shares, float(recent_shares(contexts, since_setup)[0]), event.opened, {})

    def resize(self, items: int) -> None:
        """Make room for catalogue rows up to `items`."""
        self.second_stage.resize(items)

    def forget(self, rows: Sequence[int]) -> None:
        """Drop what is counted of (m,) catalogue rows, which other items may get."""
        self.second_stage.forget(rows)

    def overall(self) -> Array:
        """(items + 1,) decayed popularity over all users, by the shortest half-life."""
        return self.second_stage.overall()

    def to_arrays(self) -> dict[str, NDArray[Any]]:
        """Return everything counted and learned; `restore` continues from it to the bit."""
        return self.second_stage.to_arrays() | self.origin_prior.to_arrays()

    def restore(self, arrays: Mapping[str, NDArray[Any]], rows: Ids) -> None:
        """Continue from the result of `to_arrays`; see `SecondStage.restore`."""
        self.second_stage.restore(arrays, rows)
        self.origin_prior.restore(arrays)

    def continue_from(self, before: "OnlineState", rows: Ids) -> None:
        """Continue with the second stage of another set-up; popularity by region and origin prior begin anew.

        Args:
            before: has counted over k + 1 catalogue rows of its own.
            rows: see `SecondStage.restore`.
        """
        arrays = before.second_stage.to_arrays()
        by_region = {name: for_other_regions(arrays[name], self.regions) for name in BY_REGION}
        self.second_stage.restore(arrays | by_region, rows)


def _counted(query: Query, event: GatedEvent, catalogue: OpenCatalogue) -> tuple[Query, int]:
    """Window and item of an event; an item that was evicted since counts as none, in the window too."""
    target = catalogue.row_of.get(event.target, PADDING)
    return query if target != PADDING else query.without_items(), target


def _online(event: GatedEvent) -> OnlineFeatures:
    if event.online is None:
        raise LogError(f"event {event.event_id} was gated without second stage: nothing can be learned from it again")
    return event.online
