"""Scoring of events under the newest revision, and snapshots of what the gate counts and learns from them."""

import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import replace
from itertools import groupby

import numpy as np
from numpy.typing import NDArray

from adapters_store import AdaptersStore
from adapters_store.errors import StoreError
from consumers.gate.changelog import OnlineSnapshot, is_of_mixture, read_snapshot, restore_online, snapshot_outputs
from consumers.gate.other_gates import OnRead, OtherGates, ignored
from consumers.gate.snapshot_files import SnapshotFiles
from consumers.runtime.item_records import AT_ONCE, ItemFollower
from consumers.runtime.ledger import destroyed_versions
from consumers.runtime.malformed import OnSkipped, readable, unreported
from consumers.runtime.revisions import RevisionFollower
from consumers.runtime.stage import Output
from consumers.runtime.topic_reader import new_records, value_of
from pipeline.config import Config
from pipeline.errors import LogError
from pipeline.events.existence import Existence
from pipeline.events.gated import GatedEvent, GateStamp
from pipeline.events.interaction import Interaction
from pipeline.events.item import WHEN_TAKEN
from pipeline.events.unlearning import is_event
from pipeline.events.versioning import versioned
from pipeline.events.windows import History, Windows
from pipeline.metrics.ranking import LIST_LENGTH, NOT_SCORED
from pipeline.models.lora.host import AdapterHost
from pipeline.models.open_catalogue import OpenCatalogue
from pipeline.models.text import TextEncoder
from pipeline.recommend.event_scorer import Beginning, EventScorer
from pipeline.regions.live import LiveRegions
from pipeline.setup.artifacts import SetUp
from pipeline.streams.interface import Log, Record, UnavailableError
from pipeline.streams.topics import GATED, TREND
from pipeline.telemetry import Metrics

Taken = tuple[Interaction, History]
"""An interaction, and its user's history before it."""


class GateScoring:
    """State of a gate that is not a user's: items, regions, second stage. It starts as in the set-up.

    Args:
        setup: result of `raie setup`.
        config: the whole tree.
        encoder: of item texts.
        host: of the set-up's backbone; adapters in it are dropped.
        store: adapter versions.
        instance: names the gate; its snapshots are written under this name.
        metrics: of the process.
        on_skipped: called with each record of another program in a topic that it reads.
        on_read: see `OtherGates`.
        beginning: see `EventScorer`.
        clock: seconds since any moment, for the age of files of snapshots and the reading of other gates' events.

    Attributes:
        scorer: assigns windows to regions and scores their targets.
    """

    def __init__(
        self,
        setup: SetUp,
        config: Config,
        encoder: TextEncoder | None,
        host: AdapterHost,
        store: AdaptersStore,
        instance: str,
        metrics: Metrics,
        on_skipped: OnSkipped,
        on_read: OnRead = ignored,
        beginning: Beginning | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        for name in list(host.names):
            host.drop(name)
        catalogue = OpenCatalogue(setup.catalogue, encoder)
        self._live = LiveRegions(setup.bank, host, store, setup.backbone_sha256, catalogue)
        self.scorer = EventScorer(setup, config, self._live, catalogue, beginning)
        # The monitor reports records that cannot be read.
        unless_given = WHEN_TAKEN if config.consumers.lockstep else AT_ONCE
        self._items = ItemFollower(catalogue, unless_given, unreported)
        self._freed: list[int] = []
        self._setup_items = setup.catalogue.item_ids
        self._length, self._repeats = config.windows.length, config.windows.repeats
        self._most_earlier = config.most_earlier
        self._instance, self._store = instance, store
        self._files = SnapshotFiles(
            store.arrays,
            instance,
            clock,
            3600 * config.retention.snapshot_hours,
            metrics.pruned.labels("snapshots").inc,
        )
        self._metrics = metrics
        self._snapshot_events = config.consumers.snapshot_events
        self._on_skipped = on_skipped
        self._revisions = RevisionFollower(setup.bank, store.arrays, on_skipped)
        self._written: tuple[int, int] | None = None
        most = max(config.ranking.events, config.trend.followed_events)
        self._others = OtherGates(instance, most, self._event_of, on_skipped, on_read, clock)
        # In lockstep one gate scores everything, and results are those of a replay.
        self._counts_others = self.scorer.online is not None and not config.consumers.lockstep
        self._destroyed: Collection[str] = ()

    def is_unknown(self, item_id: str) -> bool:
        """True for an item that was neither announced nor taken so far."""
        return self.scorer.catalogue.item(item_id) is None

    def score(self, taken: Sequence[Taken]) -> list[Output]:
        """Score one batch of the model, of at least one event: a record of `gated` for each."""
        first = 0 if self.scorer.online is None else self.scorer.online.events
        existence = self._pass([event.timestamp for event, _ in taken], [event.item_id for event, _ in taken])
        read = self.scorer.catalogue.read
        histories = [read(h, existence.at(i)) if h.disliked else h for i, (_, h) in enumerate(taken)]
        events = self.scorer.handle(self._windows([event for event, _ in taken], histories), existence, histories)
        self._count(events)
        place = (self._revisions.next_revision, self._items.next_item, first, self._others.counted)
        stamped = (replace(e, stamp=GateStamp(self._instance, n, *place)) for n, e in enumerate(events, first))
        return [Output(GATED, versioned(e.to_record()), e.user_id, e.timestamp, 0) for e in stamped]

    def follow(self, log: Log) -> None:
        """Count what other gates have scored since the last call, right before `score`; at most once a second."""
        if self._counts_others:
            self._count_elsewhere(self._others.poll(log))

    def catch_up(self, log: Log) -> None:
        """Count all that other gates have scored so far, while this gate scores nothing."""
        if not self._counts_others:
            return
        self.poll(log)
        self._count_elsewhere(self._others.read_all(log))
        # Counted with other items known than by the records of events so far: the next snapshot says so.
        self._written = None

    def poll(self, log: Log, until: int | None = None) -> None:
        """Apply new revisions, up to an offset if one is given, and new records of items.

        The region of a refused adapter is answered by its last good one, or by the backbone.
        """
        self.poll_items(log)
        for _, revision in self._revisions.poll(log, until):
            before = {region.region_id for region in self._live.bank.live}
            for refusal in self._live.apply_with_fallback(revision.without(self._destroyed)):
                self._metrics.refused_adapters.labels(refusal.reason).inc()
            self._show(before)

    def poll_items(self, log: Log, until: int | None = None) -> None:
        """Apply new records of items, up to an offset if one is given."""
        self._freed += self._items.poll(log, until)

    def snapshot(self, gated: Sequence[Output], log: Log) -> list[Output]:
        """Snapshot of the second stage, if the revision has changed or enough events have passed.

        Raises:
            UnavailableError: its file cannot be written.
        """
        online = self.scorer.online
        if online is None or not gated:
            return []
        written, next_revision = self._written, self._revisions.next_revision
        if written and written[0] == next_revision and online.events - written[1] < self._snapshot_events:
            return []
        self._written = next_revision, online.events
        # No record that this transaction is about to write is before the end, no event of others before the position.
        gated_from = self._others.pass_own(log) if self._counts_others else log.end_offset(GATED, 0)
        catalogue = self.scorer.catalogue
        items = (catalogue.others(), catalogue.untaken(), catalogue.now, self._items.next_item)
        snapshot = OnlineSnapshot(online.to_arrays(), online.events, next_revision, gated_from, *items)
        try:
            return snapshot_outputs(self._instance, snapshot, gated[-1].timestamp, self._files.replace)
        except StoreError as error:
            raise UnavailableError(f"the snapshot of gate {self._instance} cannot be written: {error}") from error

    def restore(self, log: Log) -> None:
        """Restore items and second stage from the newest snapshot and the events that this gate has scored since.

        Raises:
            LogError: some of these are no longer in the log, or the snapshot is damaged.
            UnavailableError: what was written before stays undecided.
        """
        # Or events of this gate, and its snapshot, might lie behind an open transaction of another gate.
        log.acknowledged_end(GATED, 0)
        log.acknowledged_end(TREND, 0)
        # No revision of before they were destroyed is in force any more, and none of them is a fault.
        self._destroyed = destroyed_versions(log).keys()
        online = self.scorer.online
        snapshot = None if online is None else read_snapshot(log, self._instance, self._store.arrays, self._on_skipped)
        if online is None or snapshot is None:
            return
        self._files.restore(snapshot.files)
        catalogue = self.scorer.catalogue
        self.poll_items(log, snapshot.next_item)
        catalogue.restore(snapshot.items, snapshot.untaken, snapshot.now)
        self._freed.clear()
        if is_of_mixture(snapshot):
            self.scorer.beginning()
        restore_online(online, self._instance, snapshot, np.arange(catalogue.rows + 1))
        self.scorer.follow()
        for _, revision in self._revisions.poll(log, snapshot.next_revision):
            for refusal in self._live.apply_with_fallback(revision.without(self._destroyed)):
                self._metrics.refused_adapters.labels(refusal.reason).inc()
        self._show(())
        self._written = snapshot.next_revision, snapshot.events
        self._others.position = snapshot.gated if self._counts_others else None
        self._learn_again(self._scored_since(snapshot, log), log)

    def _scored_since(self, snapshot: OnlineSnapshot, log: Log) -> list[GatedEvent]:
        """Events that this gate has scored since a snapshot, by their numbers: a repeated one is of another program."""
        records = filter(is_event, new_records(log, GATED, snapshot.gated))
        found: list[GatedEvent] = []
        for event in readable(records, self._event_of, self._on_skipped):
            wanted = snapshot.events + len(found)
            if event.stamp is None or event.stamp.gate != self._instance or event.stamp.number < wanted:
                continue
            if event.stamp.number > wanted:
                raise LogError(
                    f"{GATED} does not hold every event of gate {self._instance} since its trend was written down at "
                    f"event {snapshot.events}: start it under a new --instance, which learns from set-up on"
                )
            found.append(event)
        return found

    def _event_of(self, record: Record) -> GatedEvent:
        return GatedEvent.from_record(value_of(record), self._setup_items)

    def _learn_again(self, events: Sequence[GatedEvent], log: Log) -> None:
        """Pass events again, each batch after the records of items and of other gates that were read before it."""
        for (next_item, _), batch in groupby(events, _batch_of):
            self.poll_items(log, next_item)
            together = list(batch)
            followed = together[0].stamp.followed if together[0].stamp else None
            if self._counts_others and followed is not None:
                self._count_elsewhere(self._others.read(log, followed))
            moments, targets = [e.timestamp for e in together], [e.target for e in together]
            self.scorer.learn_again(together, self._pass(moments, targets))

    def _count_elsewhere(self, batches: Iterable[Sequence[GatedEvent]]) -> None:
        """Count events of other gates; an item that is not known here yet counts as none."""
        online, catalogue = self.scorer.online, self.scorer.catalogue
        for events in batches:
            if online is None or not events:
                continue
            self._take_over_items()
            for event in events:
                online.count_elsewhere(event, catalogue)
            self._metrics.followed.inc(len(events))

    def _windows(self, events: Sequence[Interaction], histories: Sequence[History]) -> Windows:
        """Windows of events in the rows of the catalogue."""
        catalogue = self.scorer.catalogue
        contexts, since_setup = catalogue.contexts(histories, self._length)
        return Windows(
            contexts,
            np.array(catalogue.known_rows(e.item_id for e in events), dtype=np.int64),
            np.array([e.user_id for e in events], dtype=np.str_),
            np.array([e.event_id for e in events], dtype=np.str_),
            np.array([e.timestamp for e in events], dtype=np.float64),
            since_setup,
            np.arange(len(events)),
            np.stack([self._earlier(history.earlier) for history in histories]),
        )

    def _pass(self, moments: Sequence[float], targets: Sequence[str]) -> Existence:
        """Take events over into the catalogue; return what existed for each of them."""
        catalogue = self.scorer.catalogue
        changes = catalogue.pass_events(moments, targets)
        self._take_over_items()
        return Existence.after(catalogue.existing(), changes, len(moments), repeats=self._repeats)

    def _take_over_items(self) -> None:
        self.scorer.follow(self._freed)
        self._freed.clear()

    def _earlier(self, items: Sequence[str]) -> NDArray[np.int32]:
        """(e,) rows of items that left a window, left-padded; those without a row are left out."""
        earlier = np.zeros(self._most_earlier, dtype=np.int32)
        known = self.scorer.catalogue.known_rows(items)[-self._most_earlier :]
        earlier[len(earlier) - len(known) :] = known
        return earlier

    def _count(self, events: Sequence[GatedEvent]) -> None:
        metrics, regions = self._metrics, {e.region_id for e in events}
        # Labels are looked up once a region: a lookup costs more than an observation.
        confidence = {i: metrics.gate_confidence.labels(i) for i in regions}
        margin = {i: metrics.gate_margin.labels(i) for i in regions}
        angle = {i: metrics.gate_novelty.labels(i) for i in regions}
        for event in events:
            confidence[event.region_id].observe(event.confidence)
            margin[event.region_id].observe(event.margin)
            angle[event.region_id].observe(event.angle)
        for region_id, of in Counter(event.region_id for event in events).items():
            metrics.targets.labels(region_id).inc(of)
        for by, ranks in (("answer", "rank"), ("popularity", "popularity_rank")):
            listed = Counter(e.region_id for e in events if NOT_SCORED < getattr(e, ranks) <= LIST_LENGTH)
            for region_id, of in listed.items():
                metrics.hits.labels(region_id, by).inc(of)

    def _show(self, before: Collection[int]) -> None:
        bank = self._live.bank
        self._metrics.revision.set(self._revisions.revision)
        self._metrics.gate_version.set(bank.gate_version)
        for region in bank.live:
            self._metrics.region_version.labels(region.region_id).set(region.version)
        for region_id in set(before) - {region.region_id for region in bank.live}:
            self._metrics.retire(region_id)


def _batch_of(event: GatedEvent) -> tuple[int, int]:
    """First offset of `items` that was not read when an event was scored, and its batch."""
    return (event.stamp.next_item, event.stamp.batch) if event.stamp else (0, 0)
