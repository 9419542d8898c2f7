"""Origin prior and second stage of a server: those of a gate, read from the log.

    trend   ──► the newest snapshot: counts, and the weights of the ranking
    gated   ──► events since then: of that gate counts and origin prior, of the others counts

The gate learns the weights from the model's scores under the revision of each event and from held-out windows: between
two snapshots they stay as they are here. Every gate counts the events of all, and learns from those of its own users.
The server follows one gate, and leaves it once it is silent while others write.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from threading import Lock
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from adapters_store import ArrayFiles
from consumers.gate.changelog import OnlineSnapshot, chunk_of, fits, is_of_mixture, read_snapshot, restore_online
from consumers.runtime.malformed import MALFORMED, OnSkipped, readable
from consumers.runtime.topic_reader import value_of
from consumers.server.views.region_events import RegionEvents
from pipeline.arrays import Array
from pipeline.config import Config
from pipeline.errors import LogError, RequestError
from pipeline.events.allowed import Allowed
from pipeline.events.gated import GatedEvent
from pipeline.events.unlearning import is_event
from pipeline.events.windows import PADDING, Ids
from pipeline.models.open_catalogue import OpenCatalogue
from pipeline.online.decayed_popularity import base_probabilities, probability_of_new
from pipeline.online.origin_prior import origin_features
from pipeline.recommend.candidates.query import Query
from pipeline.recommend.candidates.text import Texts, TextsLike, all_texts
from pipeline.recommend.found import Candidates
from pipeline.recommend.held_out import Ask
from pipeline.recommend.item_lists import ItemLists
from pipeline.recommend.online_state import OnlineState
from pipeline.recommend.scorer import ScoredBatch
from pipeline.recommend.second_stage import SecondStage
from pipeline.recommend.start import start
from pipeline.regions.bank import Posterior
from pipeline.setup.artifacts import SetUp
from pipeline.streams.interface import Log, Record, RecordsLostError, UnavailableError
from pipeline.streams.topics import GATED, TREND

SILENT = 10_000
"""Records of `gated` without one of the followed gate, after which the snapshot of another one is taken over."""

Taken = tuple[str, int]
"""An item that was taken, and the first offset of `items` that its gate had not read then."""

Take = Callable[[Iterable[Taken]], None]
"""Function that gives items rows in the catalogue, and lets them exist."""


class Ranked(NamedTuple):
    """Candidates of one window.

    Attributes:
        candidates: what was found.
        scores: (m,) of the candidates, higher is better.
    """

    candidates: Candidates
    scores: NDArray[np.float32]


class Gated(NamedTuple):
    """A record of `gated` and its event."""

    record: Record
    event: GatedEvent


class ServedOnlineState:
    """Origin prior and second stage that one thread updates from the log and another one ranks with.

    Args:
        setup: set-up, the state before any event.
        config: the whole tree; without half-lives the model alone scores.
        catalogue: items by row.
        texts: text embeddings in force.
        ask: scores windows by the set-up's backbone, for a server that finds no snapshot.
        say: receives the reason why a snapshot is not taken over; the state before it stays.
        files: array files of the adapters store, which snapshots name.
        like: finds texts in a large catalogue.

    Attributes:
        topics: topics that it is made of.
    """

    def __init__(
        self,
        setup: SetUp,
        config: Config,
        catalogue: OpenCatalogue,
        texts: Texts,
        ask: Ask,
        say: Callable[[str], None],
        files: ArrayFiles,
        like: TextsLike = all_texts,
    ) -> None:
        self.topics = (GATED, TREND) if config.trend.half_lives else (GATED,)
        self._setup, self._config, self._catalogue, self._say = setup, config, catalogue, say
        self._texts, self._ask, self._files, self._like = texts, ask, files, like
        self._usual = base_probabilities(setup.counts)
        self._online = self._new() if config.trend.half_lives else None
        self._region_events = RegionEvents()
        self._gate: str | None = None
        self._position = self._heard = self._included = 0
        self._lock = Lock()

    @property
    def gate(self) -> str | None:
        """Instance of the followed gate, or None before any wrote a snapshot."""
        return self._gate

    @property
    def events(self) -> int:
        """Number of events of its gate in the counts."""
        return 0 if self._online is None else self._online.events

    def queries(self, batch: ScoredBatch, contexts: Ids, earlier: Sequence[Sequence[int]], since: Ids) -> list[Query]:
        """Queries of n windows.

        Args:
            batch: their scores by the model, routed with `origin_weight`.
            contexts: (n, length) catalogue rows.
            earlier: for each, distinct rows that left the window, the one that left last at the end.
            since: (n,) number of items of each window taken since set-up.
        """
        opened = self._opened(batch.posterior, batch.route, since)
        most = self._config.most_earlier
        left = np.zeros((len(contexts), most), dtype=np.int32)
        for row, items in zip(left, earlier, strict=True):
            kept = items[max(len(items) - most, 0) :]
            row[most - len(kept) :] = kept
        return batch.queries(self._setup.bank, contexts, left, since, opened)

    def start(self) -> None:
        """Start from set-up; a snapshot takes the place of this state."""
        if self._online is not None:
            with self._lock:
                self._begin(self._online)

    def ranked(self, queries: Sequence[Query], allowed: Sequence[Allowed]) -> list[Ranked] | None:
        """Candidates of windows with their scores; None where the model alone answers.

        Args:
            queries: the n windows.
            allowed: for each, the items that may be recommended.
        """
        if self._online is None:
            return None
        with self._lock:
            stage = self._started(self._online)
            found = stage.candidates(queries, allowed)
            return list(map(Ranked, found, stage.scores(found)))

    def contributions(self, candidates: Candidates) -> list[Mapping[str, float]]:
        """For each candidate, the part of each feature in its score."""
        if self._online is None:
            return []
        with self._lock:
            stage = self._online.second_stage
            parts = stage.contributions(candidates)
        return [dict(zip(stage.features.names, row, strict=True)) for row in parts.tolist()]

    def _opened(self, posterior: Posterior, route: Array, since_setup: NDArray[np.int64]) -> Array:
        """(n,) posterior of the regions of the stream with the origin prior; arguments of `origin_weight`."""
        if self._online is None:
            return posterior.stream
        features = origin_features(self._setup.bank, posterior, route, since_setup)
        with self._lock:
            return self._online.origin_prior.opened(features)

    def origin_weight(self, posterior: Posterior, route: Array, since_setup: NDArray[np.int64]) -> Array:
        """(n,) factor of the stream regions in each route, by the origin prior.

        Args:
            posterior: posterior of the windows.
            route: (n, 1 + stream) their routes.
            since_setup: (n,) number of items of each window taken since set-up.
        """
        if self._online is None:
            return np.ones(len(route))
        features = origin_features(self._setup.bank, posterior, route, since_setup)
        with self._lock:
            return self._online.origin_prior.origin_weight(features)

    def overall(self) -> Array:
        """(items + 1,) decayed popularity over all users; without half-lives, the popularity in set-up."""
        if self._online is None:
            return self._usual
        with self._lock:
            return self._online.overall()

    @contextmanager
    def lists(self) -> Iterator[tuple[ItemLists, RegionEvents]]:
        """Hold counts and events for lists that need no user.

        Raises:
            RequestError: nothing is counted.
        """
        if self._online is None:
            raise RequestError("the setting trend.half_lives is empty: nothing is counted that a list could be made of")
        with self._lock:
            self._started(self._online)
            yield self._online.second_stage.lists, self._region_events

    def resize(self, items: int) -> None:
        """Make room for catalogue rows up to `items`."""
        missing = items + 1 - len(self._usual)
        if missing > 0:
            new = np.full(missing, probability_of_new(self._setup.counts))
            self._usual = np.concatenate([self._usual, new])
        if self._online is not None:
            with self._lock:
                self._online.resize(items)

    def forget(self, rows: Sequence[int]) -> None:
        """Drop what is counted of catalogue rows, which other items may get."""
        if self._online is not None:
            with self._lock:
                self._online.forget(rows)

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
        with self._lock:
            self._region_events.add(event for _, event in gated)
        snapshots = [record for record in records if record.topic == TREND]
        named = list(readable(snapshots, lambda record: (record, str(chunk_of(record)["gate"])), on_skipped))
        heard = (r.offset + 1 for r, e in gated if e.stamp and e.stamp.gate == self._gate)
        self._heard = max(heard, default=self._heard)
        end = gated[-1].record.offset + 1 if gated else self._position
        if end - self._heard < SILENT:
            named = [one for one in named if self._gate in (None, one[1])]
        if named:
            self._take_over(*named[-1], log, take, on_skipped)
        if gated and self._online is not None:
            with self._lock:
                self._count(self._online, self._gate, gated, on_skipped)
            self._position = gated[-1].record.offset + 1

    def _take_over(self, record: Record, gate: str, log: Log, take: Take, on_skipped: OnSkipped) -> None:
        """Replace the state by a gate's newest snapshot; one that cannot be used changes nothing."""
        try:
            kept = read_snapshot(log, gate, self._files)
            if kept is not None and self._take_weights(kept, gate, log):
                return
            online = self._restored(gate, kept, take) if kept is not None else None
        except UnavailableError:
            raise
        except LogError as error:
            self._say(f"the trend stays as it was: {error}")
            return
        except MALFORMED as error:
            on_skipped(record, error)
            return
        if kept is not None and online is not None:
            # Skipped records were reported when they were polled.
            since = self._read(self._since(kept, log), lambda *_: None)
            take(_taken(since))
            online.resize(self._catalogue.rows)
            # The snapshot holds what other gates had written before; it may be polled before these records are.
            self._included = kept.gated
            self._count(online, gate, since, lambda *_: None)
            with self._lock:
                self._online, self._gate = online, gate
            self._heard = self._position

    def _take_weights(self, kept: OnlineSnapshot, gate: str, log: Log) -> bool:
        """Take the weights of a snapshot alone where the counts are the gate's already; say whether they are."""
        online = self._online
        if online is None or gate != self._gate or not fits(kept, online):
            return False
        since = self._read(self._since(kept, log), lambda *_: None)
        stamps = [event.stamp.number for _, event in since if event.stamp is not None and event.stamp.gate == gate]
        if online.events != kept.events + sum(number >= kept.events for number in stamps):
            return False
        with self._lock:
            online.second_stage.restore_weights(kept.arrays)
        return True

    def _restored(self, gate: str, kept: OnlineSnapshot, take: Take) -> OnlineState:
        """The state of a snapshot, its rows those of the same items here."""
        untaken = set(kept.untaken)
        take((item_id, kept.next_item) for item_id in kept.items if item_id not in untaken)
        others = [self._catalogue.row_of.get(item_id, PADDING) for item_id in kept.items]
        rows = np.concatenate([np.arange(len(self._setup.catalogue) + 1), np.array(others, dtype=np.int64)])
        online = self._new()
        if is_of_mixture(kept):
            self._begin(online)
        restore_online(online, gate, kept, rows)
        return online

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
        """Events of records of `gated`; those that cannot be read are skipped, and what is about erased users."""
        known, events = self._setup.catalogue.item_ids, filter(is_event, records)
        return list(readable(events, lambda r: Gated(r, GatedEvent.from_record(value_of(r), known)), on_skipped))

    def _count(self, online: OnlineState, gate: str | None, gated: Iterable[Gated], skip: OnSkipped) -> None:
        """Count events, those of the followed gate once each; a gate without a second stage writes no inputs for it."""
        for record, event in gated:
            stamp = event.stamp
            if gate is None or stamp is None or event.online is None:
                continue
            try:
                if stamp.gate != gate:
                    if record.offset >= self._included:
                        online.count_elsewhere(event, self._catalogue)
                elif stamp.number >= online.events:
                    online.count(event, self._catalogue)
            except MALFORMED as error:
                skip(record, error)

    def _started(self, online: OnlineState) -> SecondStage:
        """The second stage, started from set-up where no snapshot could be used."""
        if not online.second_stage.started:
            self._begin(online)
        return online.second_stage

    def _begin(self, online: OnlineState) -> None:
        start(online.second_stage, self._setup, self._ask, np.zeros(online.regions))

    def _new(self) -> OnlineState:
        return OnlineState(self._setup, self._config, self._texts, self._catalogue.ids, self._like)


def _taken(gated: Iterable[Gated]) -> list[Taken]:
    """Items of events; an event of a replay, which has no stamp, is older than all records of items."""
    return [(event.target, 0 if event.stamp is None else event.stamp.next_item) for _, event in gated]
