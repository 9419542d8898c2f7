"""Online counts of a server: those of a gate, read from the log.

    trend   ──► the newest snapshot: counts, and the weights of model and experts
    gated   ──► events of that gate since then: counts and origin prior only

The gate learns the weights from the model's scores under the revision of each event and from held-out windows: between
two snapshots they stay as they are here. Every gate counts the events of its own users; the server follows the gate
that wrote the newest snapshot. Whatever its gate, an event shows that its item was taken.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from threading import Lock
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from consumers.gate.changelog import OnlineSnapshot, chunk_of, read_snapshot, restore_ensemble
from consumers.runtime.malformed import MALFORMED, OnSkipped, readable
from consumers.runtime.topic_reader import value_of
from pipeline.arrays import Array
from pipeline.config import Config
from pipeline.errors import LogError
from pipeline.events.gated import GatedEvent
from pipeline.events.windows import PADDING, History, Ids
from pipeline.models.open_catalogue import OpenCatalogue
from pipeline.online.decayed_popularity import base_probabilities, probability_of_new
from pipeline.online.ensemble import OnlineEnsemble, origin_features
from pipeline.recommend.scorer import ScoredBatch
from pipeline.regions.bank import Posterior
from pipeline.setup.artifacts import SetUp
from pipeline.streams.interface import Log, Record, RecordsLostError, UnavailableError
from pipeline.streams.topics import GATED, TREND

Taken = tuple[str, int]
"""An item that was taken, and the first offset of `items` that its gate had not read then."""

Take = Callable[[Iterable[Taken]], None]
"""Function that gives items rows in the catalogue, and lets them exist."""


class Gated(NamedTuple):
    """A record of `gated` and its event."""

    record: Record
    event: GatedEvent


class ServedOnlineEnsemble:
    """Online ensemble that one thread updates from the log and another one mixes into scores.

    Args:
        setup: set-up, the state before any event.
        config: sections `windows`, `trend`; without half-lives the model alone scores.
        catalogue: items by row.
        say: receives the reason why a snapshot is not taken over; the state before it stays.

    Attributes:
        topics: topics that it is made of.
    """

    def __init__(self, setup: SetUp, config: Config, catalogue: OpenCatalogue, say: Callable[[str], None]) -> None:
        self.topics = (GATED, TREND) if config.trend.half_lives else (GATED,)
        self._setup, self._config, self._catalogue, self._say = setup, config, catalogue, say
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

    def resize(self, items: int) -> None:
        """Make room for catalogue rows up to `items`."""
        missing = items + 1 - len(self._usual)
        if missing > 0:
            new = np.full(missing, probability_of_new(self._setup.counts))
            self._usual = np.concatenate([self._usual, new])
        if self._ensemble is not None:
            with self._lock:
                self._ensemble.resize(items)

    def forget(self, rows: Sequence[int]) -> None:
        """Drop what is counted of catalogue rows, which other items may get."""
        if self._ensemble is not None:
            with self._lock:
                self._ensemble.forget(rows)

    def apply(self, records: Sequence[Record], log: Log, take: Take, on_skipped: OnSkipped) -> None:
        """Apply new records of `topics`, each topic's in its order; records of other topics are skipped.

        Args:
            records: records as they were polled.
            log: source of the parts of a snapshot, and of the events since.
            take: called with the items of events and of a snapshot before they are counted.
            on_skipped: called with each record that cannot be read.

        Raises:
            UnavailableError: the log is out of reach.
        """
        gated = self._read([record for record in records if record.topic == GATED], on_skipped)
        take(_taken(gated))
        snapshots = [record for record in records if record.topic == TREND]
        named = list(readable(snapshots, lambda record: (record, str(chunk_of(record)["gate"])), on_skipped))
        if named:
            self._take_over(*named[-1], log, take, on_skipped)
        if gated and self._ensemble is not None:
            with self._lock:
                self._count(self._ensemble, self._gate, gated, on_skipped)
            self._position = gated[-1].record.offset + 1

    def _take_over(self, record: Record, gate: str, log: Log, take: Take, on_skipped: OnSkipped) -> None:
        """Replace the state by a gate's newest snapshot; one that cannot be used changes nothing."""
        try:
            kept = read_snapshot(log, gate)
            ensemble = self._restored(gate, kept, take) if kept is not None else None
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
            since = self._read(self._since(kept, log), lambda *_: None)
            take(_taken(since))
            ensemble.resize(self._catalogue.rows)
            self._count(ensemble, gate, since, lambda *_: None)
            with self._lock:
                self._ensemble, self._gate = ensemble, gate

    def _restored(self, gate: str, kept: OnlineSnapshot, take: Take) -> OnlineEnsemble:
        """An ensemble as a snapshot has it, its rows those of the same items here."""
        untaken = set(kept.untaken)
        take((item_id, kept.next_item) for item_id in kept.items if item_id not in untaken)
        others = [self._catalogue.row_of.get(item_id, PADDING) for item_id in kept.items]
        rows = np.concatenate([np.arange(len(self._setup.catalogue) + 1), np.array(others, dtype=np.int64)])
        ensemble = self._new()
        restore_ensemble(ensemble, gate, kept, rows)
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

    def _read(self, records: Iterable[Record], on_skipped: OnSkipped) -> list[Gated]:
        """Events of records of `gated`; those that cannot be read are skipped, tombstones of erased users left out."""
        known, events = self._setup.catalogue.item_ids, (record for record in records if record.value is not None)
        return list(readable(events, lambda r: Gated(r, GatedEvent.from_record(value_of(r), known)), on_skipped))

    def _count(self, ensemble: OnlineEnsemble, gate: str | None, gated: Iterable[Gated], skip: OnSkipped) -> None:
        """Count the events of a gate, each once; a gate without an online ensemble writes no inputs for it."""
        for record, event in gated:
            stamp = event.stamp
            if stamp is None or event.online is None or stamp.gate != gate:
                continue
            try:
                if stamp.number >= ensemble.events:
                    self._count_one(ensemble, event)
            except MALFORMED as error:
                skip(record, error)

    def _count_one(self, ensemble: OnlineEnsemble, event: GatedEvent) -> None:
        history = History(tuple(event.window), event.since_setup)
        contexts, since_setup = self._catalogue.contexts([history], self._config.windows.length)
        target = self._catalogue.row_of.get(event.target, PADDING)
        if target == PADDING:
            # The item was evicted since: the event counts all the same, for no item.
            contexts[:] = PADDING
        # As the gate learned it: from the items of the window that have a row.
        ensemble.count(replace(event, since_setup=int(since_setup[0])), contexts[0], target)

    def _new(self) -> OnlineEnsemble:
        return OnlineEnsemble(self._setup.counts, self._before, len(self._setup.bank.setup), self._config)


def _taken(gated: Iterable[Gated]) -> list[Taken]:
    """Items of events; an event of a replay, which has no stamp, is older than all records of items."""
    return [(event.target, 0 if event.stamp is None else event.stamp.next_item) for _, event in gated]
