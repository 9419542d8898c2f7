"""Online counts of a server: those of a gate, read from the log.

    trend   ──► the newest snapshot: counts, and the weights of model and experts
    gated   ──► events of that gate since then: counts and origin prior only

The gate learns the weights from the model's scores under the revision of each event and from held-out windows: between
two snapshots they stay as they are here. Every gate counts the events of its own users; the server follows the gate
that wrote the newest snapshot.
"""

from collections.abc import Callable, Iterable, Sequence
from threading import Lock

import numpy as np
from numpy.typing import NDArray

from consumers.gate.changelog import OnlineSnapshot, read_snapshot, restore_ensemble
from consumers.runtime.topic_reader import value_of
from consumers.server.malformed import MALFORMED, OnSkipped, readable
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


class ServedOnlineEnsemble:
    """Online ensemble that one thread updates from the log and another one mixes into scores.

    Args:
        setup: set-up, the state before any event.
        config: section `trend`; without half-lives the model alone scores.
        say: receives the reason why a snapshot is not taken over; the state before it stays.

    Attributes:
        topics: topics that it is made of.
    """

    def __init__(self, setup: SetUp, config: Config, say: Callable[[str], None]) -> None:
        self.topics = (GATED, TREND) if config.trend.half_lives else ()
        self._setup, self._config, self._say = setup, config, say
        self._usual = base_probabilities(setup.counts)
        self._ensemble: OnlineEnsemble | None = None
        if config.trend.half_lives:
            # Counted once: every snapshot that is taken over begins with them.
            self._before = setup.item_transitions(config.trend.shrinkage)
            self._ensemble = self._new()
        self._gate: str | None = None
        self._position = 0
        self._lock = Lock()

    @property
    def gate(self) -> str | None:
        """Instance of the followed gate, or None before any wrote a snapshot."""
        return self._gate

    @property
    def events(self) -> int:
        """Number of events of its gate in the counts."""
        return 0 if self._ensemble is None else self._ensemble.events

    def mix(self, contexts: Ids, since_setup: NDArray[np.int64], batch: ScoredBatch) -> None:
        """Mix the online counts into the probabilities of a batch, in place, with the weights of the gate.

        Args:
            contexts: (n, length) the windows.
            since_setup: (n,) number of items of each window taken since set-up.
            batch: their scores by the model, in single precision.
        """
        if self._ensemble is None:
            return
        features = batch.window_features(self._setup.bank, contexts, since_setup)
        with self._lock:
            self._ensemble.mix(features, batch.probabilities, in_place=True)

    def origin_weight(self, posterior: Posterior, route: Array, since_setup: NDArray[np.int64]) -> Array:
        """(n,) factor of the stream regions in each route, by the origin prior.

        Args:
            posterior: posterior of the windows.
            route: (n, 1 + stream) their routes.
            since_setup: (n,) number of items of each window taken since set-up.
        """
        if self._ensemble is None:
            return np.ones(len(route))
        features = origin_features(self._setup.bank, posterior, route, since_setup)
        with self._lock:
            return self._ensemble.origin_prior.origin_weight(features)

    def overall(self) -> Array:
        """(items + 1,) decayed popularity over all users; without half-lives, the popularity in set-up."""
        if self._ensemble is None:
            return self._usual
        with self._lock:
            return self._ensemble.overall()

    def apply(self, records: Sequence[Record], log: Log, on_skipped: OnSkipped) -> None:
        """Apply new records of `topics`, each topic's in its order; records of other topics are skipped.

        Args:
            records: records as they were polled.
            log: source of the parts of a snapshot, and of the events since.
            on_skipped: called with each record that cannot be read.

        Raises:
            UnavailableError: the log is out of reach.
        """
        snapshots = [record for record in records if record.topic == TREND]
        named = list(readable(snapshots, lambda record: (record, str(value_of(record)["gate"])), on_skipped))
        if named:
            self._take_over(*named[-1], log, on_skipped)
        gated = [record for record in records if record.topic == GATED]
        if gated and self._ensemble is not None:
            with self._lock:
                _count(self._ensemble, self._gate, gated, on_skipped)
            self._position = gated[-1].offset + 1

    def _take_over(self, record: Record, gate: str, log: Log, on_skipped: OnSkipped) -> None:
        """Replace the state by a gate's newest snapshot; one that cannot be used changes nothing."""
        try:
            kept = read_snapshot(log, gate)
            ensemble = self._restored(gate, kept) if kept is not None else None
        except UnavailableError:
            raise
        except LogError as error:
            self._say(f"the trend stays as it was: {error}")
            return
        except MALFORMED as error:
            on_skipped(record, error)
            return
        if kept is not None and ensemble is not None:
            # Skipped records were reported when they were polled.
            _count(ensemble, gate, self._since(kept, log), lambda *_: None)
            with self._lock:
                self._ensemble, self._gate = ensemble, gate

    def _restored(self, gate: str, kept: OnlineSnapshot) -> OnlineEnsemble:
        ensemble = self._new()
        restore_ensemble(ensemble, gate, kept)
        return ensemble

    def _since(self, kept: OnlineSnapshot, log: Log) -> Sequence[Record]:
        """Records of `gated` after a snapshot that were polled already; later ones are still to be polled."""
        if self._position <= kept.gated:
            return []
        try:
            return list(log.read(GATED, 0, kept.gated, self._position))
        except RecordsLostError as error:
            self._say(f"the trend misses what was gated after its snapshot: {error}")
            return []

    def _new(self) -> OnlineEnsemble:
        return OnlineEnsemble(self._setup.counts, self._before, len(self._setup.bank.setup), self._config)


def _count(ensemble: OnlineEnsemble, gate: str | None, records: Iterable[Record], on_skipped: OnSkipped) -> None:
    """Count the events of a gate, each once; a gate without an online ensemble writes no inputs for it."""

    def count(record: Record) -> None:
        event = GatedEvent.from_record(value_of(record))
        written = event.stamp is not None and event.stamp.gate == gate and event.stamp.number >= ensemble.events
        if written and event.online is not None:
            ensemble.count(event)

    for _ in readable(records, count, on_skipped):
        pass
