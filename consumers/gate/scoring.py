"""Windows to records of `gated`, under the newest revision; what the trend learns from them, and keeps of it."""

from collections.abc import Collection, Sequence
from dataclasses import replace

from adapters_store import AdaptersStore
from consumers.gate.changelog import KeptTrend, read_trend, take_over, trend_outputs
from consumers.gate.withdrawn_items import Withdrawals
from consumers.runtime.revisions import RevisionFollower
from consumers.runtime.stage import Output
from consumers.runtime.topic_reader import new_records
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


class Gating:
    """What a gate knows that is not of a user: regions, trend, withdrawn items. It begins as set-up left them.

    Args:
        setup: what everything starts from.
        config: the whole tree.
        host: of the set-up's backbone; what adapters it has are dropped.
        store: adapter versions.
        instance: names the gate: its trend is kept under it.
        metrics: where it is counted.

    Attributes:
        handler: gates and scores.
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
        self.handler = EventScorer(setup, config, self._live)
        self._withdrawals = Withdrawals(setup.catalogue.row_of)
        self._instance = instance
        self._metrics = metrics
        self._snapshot_events = config.consumers.snapshot_events
        self._revisions = RevisionFollower()
        self._written: tuple[int, int] | None = None

    def gate(self, windows: Windows) -> list[Output]:
        """Gate one step of the model, of at least one window."""
        online = self.handler.online
        first = 0 if online is None else online.events
        events = self.handler.handle(windows)
        self._observe(events)
        stamped = (
            replace(e, stamp=GateStamp(self._instance, n, self._revisions.next_revision))
            for n, e in enumerate(events, first)
        )
        return [Output(GATED, versioned(e.to_record()), e.user_id, e.timestamp, 0) for e in stamped]

    def follow(self, log: Log, until: int | None = None) -> None:
        """Take over new revisions, up to an offset if one is given, and the items that are withdrawn by now.

        A refused adapter leaves its region to the last good one, or the backbone.
        """
        for _, revision in self._revisions.poll(log, until):
            before = {region.region_id for region in self._live.bank.live}
            for refusal in self._live.apply_with_fallback(revision):
                self._metrics.refused_adapters.labels(refusal.reason).inc()
            self._show(before)
        self.handler.withdrawn = self._withdrawals.follow(log)

    def snapshot(self, gated: Sequence[Output], log: Log) -> list[Output]:
        """The trend's state, where the revision is another one, or enough events have passed."""
        online = self.handler.online
        if online is None or not gated:
            return []
        written, next_revision = self._written, self._revisions.next_revision
        if written and written[0] == next_revision and online.events - written[1] < self._snapshot_events:
            return []
        self._written = next_revision, online.events
        # None of what this transaction is about to write is before the end.
        kept = KeptTrend(online.to_arrays(), online.events, next_revision, log.end_offset(GATED, 0))
        return trend_outputs(self._instance, kept, gated[-1].timestamp)

    def restore(self, log: Log) -> None:
        """The newest snapshot of the trend, and what this gate has gated since.

        Raises:
            LogError: some of that is no longer in the log.
        """
        online = self.handler.online
        kept = None if online is None else read_trend(log, self._instance)
        if online is None or kept is None:
            return
        take_over(online, self._instance, kept)
        self.follow(log, kept.revision)
        self._written = kept.revision, kept.events
        since = [e for e in gated_events(new_records(log, GATED, kept.gated)) if self._wrote(e, kept.events)]
        numbers = [e.stamp.number for e in since if e.stamp is not None]
        if numbers != list(range(kept.events, kept.events + len(since))):
            raise LogError(
                f"{GATED} does not hold every event of gate {self._instance} since its trend was written down at "
                f"event {kept.events}: start it under a new --instance, which counts from nothing"
            )
        self.handler.learn_again(since)

    def _wrote(self, event: GatedEvent, start: int) -> bool:
        """Whether an event is of this gate, and not before its `start`-th."""
        return event.stamp is not None and event.stamp.gate == self._instance and event.stamp.number >= start

    def _observe(self, events: Sequence[GatedEvent]) -> None:
        metrics, regions = self._metrics, {e.region_id for e in events}
        # Labels are looked up once a region: that costs more than to observe.
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
