"""Scoring of windows under the newest revision, and snapshots of the online ensemble that learns from them."""

from collections.abc import Collection, Sequence
from dataclasses import replace

from adapters_store import AdaptersStore
from consumers.gate.changelog import OnlineSnapshot, read_snapshot, restore_ensemble, snapshot_outputs
from consumers.runtime.revisions import RevisionFollower
from consumers.runtime.stage import Output
from consumers.runtime.topic_reader import new_records
from consumers.runtime.withdrawn_items import WithdrawnItems
from pipeline.config import Config
from pipeline.errors import LogError
from pipeline.events.gated import GatedEvent, GateStamp, gated_events
from pipeline.events.versioning import versioned
from pipeline.events.windows import Windows
from pipeline.models.lora.host import AdapterHost
from pipeline.recommend.event_scorer import EventScorer
from pipeline.regions.live import LiveRegions
from pipeline.setup.artifacts import SetUp
from pipeline.streams.interface import Log
from pipeline.streams.topics import GATED
from pipeline.telemetry import Metrics


class GateScoring:
    """State of a gate that is not a user's: regions, online ensemble, withdrawn items. It starts as in the set-up.

    Args:
        setup: result of `raie setup`.
        config: the whole tree.
        host: of the set-up's backbone; adapters in it are dropped.
        store: adapter versions.
        instance: names the gate; its snapshots are written under this name.
        metrics: of the process.

    Attributes:
        scorer: assigns windows to regions and scores their targets.
    """

    def __init__(
        self,
        setup: SetUp,
        config: Config,
        host: AdapterHost,
        store: AdaptersStore,
        instance: str,
        metrics: Metrics,
    ) -> None:
        for name in list(host.names):
            host.drop(name)
        self._live = LiveRegions(setup.bank, host, store, setup.backbone_sha256)
        self.scorer = EventScorer(setup, config, self._live)
        self._withdrawn = WithdrawnItems(setup.catalogue.row_of)
        self._instance = instance
        self._metrics = metrics
        self._snapshot_events = config.consumers.snapshot_events
        self._revisions = RevisionFollower()
        self._written: tuple[int, int] | None = None

    def score(self, windows: Windows) -> list[Output]:
        """Score one batch of the model, of at least one window: a record of `gated` for each."""
        online = self.scorer.online
        first = 0 if online is None else online.events
        events = self.scorer.handle(windows)
        self._count(events)
        stamped = (
            replace(e, stamp=GateStamp(self._instance, n, self._revisions.next_revision))
            for n, e in enumerate(events, first)
        )
        return [Output(GATED, versioned(e.to_record()), e.user_id, e.timestamp, 0) for e in stamped]

    def poll(self, log: Log, until: int | None = None) -> None:
        """Apply new revisions, up to an offset if one is given, and new withdrawals of items.

        The region of a refused adapter is answered by its last good one, or by the backbone.
        """
        for _, revision in self._revisions.poll(log, until):
            before = {region.region_id for region in self._live.bank.live}
            for refusal in self._live.apply_with_fallback(revision):
                self._metrics.refused_adapters.labels(refusal.reason).inc()
            self._show(before)
        self.scorer.withdrawn = self._withdrawn.poll(log)

    def snapshot(self, gated: Sequence[Output], log: Log) -> list[Output]:
        """Snapshot of the ensemble, if the revision has changed or enough events have passed."""
        online = self.scorer.online
        if online is None or not gated:
            return []
        written, next_revision = self._written, self._revisions.next_revision
        if written and written[0] == next_revision and online.events - written[1] < self._snapshot_events:
            return []
        self._written = next_revision, online.events
        # No record that this transaction is about to write is before the end.
        snapshot = OnlineSnapshot(online.to_arrays(), online.events, next_revision, log.end_offset(GATED, 0))
        return snapshot_outputs(self._instance, snapshot, gated[-1].timestamp)

    def restore(self, log: Log) -> None:
        """Restore the ensemble from its newest snapshot and the events that this gate has scored since.

        Raises:
            LogError: some of these are no longer in the log.
        """
        online = self.scorer.online
        snapshot = None if online is None else read_snapshot(log, self._instance)
        if online is None or snapshot is None:
            return
        restore_ensemble(online, self._instance, snapshot)
        self.poll(log, snapshot.revision)
        self._written = snapshot.revision, snapshot.events
        since = [e for e in gated_events(new_records(log, GATED, snapshot.gated)) if self._wrote(e, snapshot.events)]
        numbers = [e.stamp.number for e in since if e.stamp is not None]
        if numbers != list(range(snapshot.events, snapshot.events + len(since))):
            raise LogError(
                f"{GATED} does not hold every event of gate {self._instance} since its trend was written down at "
                f"event {snapshot.events}: start it under a new --instance, which counts from nothing"
            )
        self.scorer.learn_again(since)

    def _wrote(self, event: GatedEvent, start: int) -> bool:
        """True for an event that this gate scored as its `start`-th or later."""
        return event.stamp is not None and event.stamp.gate == self._instance and event.stamp.number >= start

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

    def _show(self, before: Collection[int]) -> None:
        bank = self._live.bank
        self._metrics.revision.set(self._revisions.revision)
        self._metrics.gate_version.set(bank.gate_version)
        for region in bank.live:
            self._metrics.region_version.labels(region.region_id).set(region.version)
        for region_id in set(before) - {region.region_id for region in bank.live}:
            self._metrics.retire(region_id)
