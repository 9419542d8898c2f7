"""The trend that answers are mixed with: that of a gate, as the log has it.

    trend   ──► the newest snapshot: counts, and the weights of model and trends
    gated   ──► what its gate has gated since: counts and eras only

The weights are learned from the model's answers of the moment and from held-out windows, which is the gate's work:
between two snapshots they stay as they are. Every gate counts its own users; whichever wrote last is followed.
"""

from collections.abc import Callable, Iterable, Sequence
from threading import Lock

import numpy as np
from numpy.typing import NDArray

from consumers.gate.changelog import KeptTrend, read_trend, take_over
from consumers.runtime.topic_reader import value_of
from pipeline.arrays import Array
from pipeline.config import Config
from pipeline.errors import LogError
from pipeline.events.gated import GatedEvent
from pipeline.events.windows import Ids
from pipeline.online.decayed_popularity import base_probabilities
from pipeline.online.ensemble import OnlineEnsemble, origin_features
from pipeline.recommend.scorer import ScoredBatch
from pipeline.regions.bank import Posterior
from pipeline.setup.artifacts import SetUp
from pipeline.streams.interface import Log, Record, RecordsLostError, UnavailableError
from pipeline.streams.topics import GATED, TREND


class ServedTrend:
    """Follows the trend in one thread, and mixes it into answers in another.

    Args:
        setup: what everything starts from.
        config: section `trend`; without half-lives the model answers alone.
        say: told why a snapshot is not taken over; the trend before it goes on.

    Attributes:
        topics: what it is made of.
    """

    def __init__(self, setup: SetUp, config: Config, say: Callable[[str], None]) -> None:
        self.topics = (GATED, TREND) if config.trend.half_lives else ()
        self._setup, self._config, self._say = setup, config, say
        self._usual = base_probabilities(setup.counts)
        self._trending: OnlineEnsemble | None = None
        if config.trend.half_lives:
            # Counted once: every snapshot that is taken over begins with them.
            self._before = setup.followers(config.trend.shrinkage)
            self._trending = self._new()
        self._gate: str | None = None
        self._position = 0
        self._whole = Lock()

    @property
    def gate(self) -> str | None:
        """Instance of the gate that is followed, or None before any wrote a snapshot."""
        return self._gate

    @property
    def events(self) -> int:
        """How many events of its gate it has counted."""
        return 0 if self._trending is None else self._trending.events

    def mix(self, contexts: Ids, since_setup: NDArray[np.int64], batch: ScoredBatch) -> None:
        """Mix the trend into the model's answers to windows, in place, as a gate mixes it.

        Args:
            contexts: (n, length) the windows.
            since_setup: (n,) how many items of each were taken since set-up.
            batch: their scores by the model.
        """
        if self._trending is None:
            return
        features = batch.window_features(self._setup.bank, contexts, since_setup)
        with self._whole:
            self._trending.mix(features, batch.probabilities, in_place=True)

    def origin_weight(self, posterior: Posterior, route: Array, since_setup: NDArray[np.int64]) -> Array:
        """(n,) how many times as much of each answer is that of opened regions as the route says, by their era.

        Args:
            posterior: of the windows.
            route: (n, 1 + opened) likewise.
            since_setup: (n,) how many items of each were taken since set-up.
        """
        if self._trending is None:
            return np.ones(len(route))
        with self._whole:
            return self._trending.origin_prior.origin_weight(
                origin_features(self._setup.bank, posterior, route, since_setup)
            )

    def overall(self) -> Array:
        """(items + 1,) probabilities of what anybody takes of late; without a trend, of what was usual in set-up."""
        if self._trending is None:
            return self._usual
        with self._whole:
            return self._trending.overall()

    def take(self, records: Sequence[Record], log: Log) -> None:
        """Take in new records of `topics`, each topic's in its order; others are passed over.

        Args:
            records: as they were polled.
            log: where the parts of a snapshot, and what was gated since, are read.

        Raises:
            UnavailableError: the log is out of reach.
        """
        snapshots = [record for record in records if record.topic == TREND]
        if snapshots:
            self._take_over(str(value_of(snapshots[-1])["gate"]), log)
        gated = [record for record in records if record.topic == GATED]
        if gated and self._trending is not None:
            with self._whole:
                _count(self._trending, self._gate, gated)
            self._position = gated[-1].offset + 1

    def _take_over(self, gate: str, log: Log) -> None:
        """Go on from a gate's newest snapshot; one that cannot be used changes nothing."""
        try:
            kept = read_trend(log, gate)
            trending = self._restored(gate, kept) if kept is not None else None
        except UnavailableError:
            raise
        except LogError as error:
            self._say(f"the trend stays as it was: {error}")
            return
        if kept is not None and trending is not None:
            _count(trending, gate, self._since(kept, log))
            with self._whole:
                self._trending, self._gate = trending, gate

    def _restored(self, gate: str, kept: KeptTrend) -> OnlineEnsemble:
        trending = self._new()
        take_over(trending, gate, kept)
        return trending

    def _since(self, kept: KeptTrend, log: Log) -> Sequence[Record]:
        """What stands in `gated` after a snapshot and was passed already; what follows is still to be polled."""
        if self._position <= kept.gated:
            return []
        try:
            return list(log.read(GATED, 0, kept.gated, self._position))
        except RecordsLostError as error:
            self._say(f"the trend misses what was gated after its snapshot: {error}")
            return []

    def _new(self) -> OnlineEnsemble:
        return OnlineEnsemble(self._setup.counts, self._before, len(self._setup.bank.setup), self._config)


def _count(trending: OnlineEnsemble, gate: str | None, records: Iterable[Record]) -> None:
    """Count what a gate gated, each event once; a gate without a trend writes no tastes."""
    for record in records:
        event = GatedEvent.from_record(value_of(record))
        written = event.stamp is not None and event.stamp.gate == gate and event.stamp.number >= trending.events
        if written and event.online is not None:
            trending.count(event)
