"""RAIE in one process: the core of gate, monitor and trainer, run over a data set in event time.

Lockstep: a batch is scored, then observed, then the edits that the monitor decides on are applied and in force before
the next batch. The same events, configuration and seed give the same ledger, byte for byte.
"""

import copy
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np

from adapters_store import AdaptersStore
from pipeline.editing.publisher import EditPublisher
from pipeline.editing.training import only_new
from pipeline.editing.workspace import Workspace
from pipeline.events.edit import Edit, Evidence, Outcome
from pipeline.events.existence import Existence
from pipeline.events.gated import GatedEvent, read_events
from pipeline.events.windows import PADDING, Ids, Windows
from pipeline.models.catalogue import Catalogue
from pipeline.models.lora.host import AdapterHost
from pipeline.monitor import Monitor
from pipeline.recommend.event_scorer import EventScorer
from pipeline.regions.live import LiveRegions
from pipeline.regions.revision_arrays import by_reference
from pipeline.setup.teacher import Teacher
from pipeline.strategies.base import Scored, StrategyContext
from pipeline.strategies.raie.items import ReplayedItems
from pipeline.streams import open_log
from pipeline.streams.topics import EDITS, GATED, OUTCOMES, REGIONS, pipeline_topics


class Raie:
    """The pipeline as a strategy.

    Attributes:
        ledger: every edit with its outcome, in order.
        statistics: per-region statistics, a row for each region and interval.
        live: the regions and adapters in force.
    """

    name: ClassVar[str] = "raie"

    def __init__(self, context: StrategyContext) -> None:
        self.ledger: list[tuple[Edit, Outcome]] = []
        self.statistics: list[dict[str, Any]] = []
        setup, config = context.setup, context.config
        context.folder.mkdir(parents=True, exist_ok=True)
        self._log = open_log(f"sqlite:///{context.folder / 'log.sqlite'}")
        self._log.create_topics(pipeline_topics(partitions=1))
        self._producer = self._log.producer("replay")
        store = AdaptersStore(context.folder / "adapters")
        self._files = store.arrays
        host, trained = (AdapterHost(copy.deepcopy(setup.backbone), config.adapter) for _ in range(2))
        self._items = ReplayedItems(context)
        self.live = LiveRegions(setup.bank, host, store, setup.backbone_sha256, self._items.catalogue)
        self._gate = self._scorer(context)
        self._monitor = Monitor(config, setup.bank, setup.calibration, context.seed, setup.catalogue.item_ids)
        workspace = Workspace(
            setup, trained, store, context.encoder, self._items.record_of, self._events_of, config.windows.length
        )
        self._publisher = EditPublisher(setup, config, workspace, store, self._training_windows)
        self._config, self._setup = config, setup

    @property
    def trained_windows(self) -> int:
        """See `Strategy`."""
        return self._monitor.trained_windows

    @property
    def memory_bytes(self) -> int:
        """See `Strategy`: the adapters in force and the second stage."""
        host, online = self.live.host, self._gate.online
        adapters = sum(tensor.nbytes for name in host.names for tensor in host.tensors(name).values())
        return adapters + (online.second_stage.memory_bytes if online else 0)

    def observe(self, windows: Windows) -> Scored:
        """See `Strategy.observe`."""
        size = self._config.gate.batch_size
        gated = [g for i in range(0, len(windows), size) for g in self._step(windows[slice(i, i + size)])]
        return Scored(
            np.array([g.rank for g in gated], dtype=np.int64),
            np.array([g.region_id for g in gated], dtype=np.int64),
            np.array([g.confidence for g in gated]),
        )

    def learn(self) -> None:
        """Note the monitor's statistics at the end of an update interval; the monitor decides when to train."""
        self.statistics += self._monitor.statistics()

    def score(self, windows: Windows) -> Scored:
        """See `Strategy.score`."""
        ranks, regions, confidence = [], [], []
        for start in range(0, len(windows), self._config.gate.batch_size):
            batch, existence = self._follow(windows[slice(start, start + self._config.gate.batch_size)])
            answers = self._gate.score(batch, existence)
            ranks.append(self._gate.ranks(batch, answers, existence))
            regions.append(answers.posterior.tops)
            confidence.append(answers.posterior.confidence)
        if not ranks:
            return Scored(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0))
        return Scored(np.concatenate(ranks), np.concatenate(regions), np.concatenate(confidence))

    def known_windows(self, windows: Windows) -> Windows:
        """Windows of the stream so far, in the rows of `live`'s catalogue; items evicted since are left out."""
        return self._items.of(windows)[0]

    def take_over(self, before: "Raie", positions: Ids) -> None:
        """Go on where the pipeline of an earlier set-up stands, with its second stage.

        Origin prior and popularity by region begin anew, as the regions are others.

        Args:
            before: runs over the same log.
            positions: of the windows that it observed last.
        """
        freed, row_of = self._items.advance(positions), self._items.catalogue.row_of
        self._items.take_news()
        if self._gate.online and before._gate.online:
            rows = np.array([row_of.get(item_id, PADDING) for item_id in before._items.catalogue.ids])
            self._gate.online.continue_from(before._gate.online, rows)
        self._gate.follow(freed)

    def teacher(self, last: Windows, catalogue: Catalogue, since_setup: Ids) -> Teacher:
        """This pipeline as it answers now.

        Args:
            last: the windows that it observed last; it knows the items that existed for the last of them.
            catalogue: of the set-up that is taught.
            since_setup: see `Teacher`.
        """
        exists = self._items.of(last)[1].at(len(last) - 1).existing
        row_of, floor = self._items.catalogue.row_of, self._config.gate.floor
        return Teacher.of(self._setup, self.live, floor, row_of, exists, catalogue, since_setup)

    def close(self) -> None:
        """Close the log; its file stays."""
        self._log.close()

    def _scorer(self, context: StrategyContext) -> EventScorer:
        """The scorer of events; variants have another one."""
        return EventScorer(context.setup, context.config, self.live, self._items.catalogue)

    def _follow(self, windows: Windows) -> tuple[Windows, Existence]:
        """Windows in rows of the catalogue, which has grown up to them, and the existence of its items."""
        self._gate.follow(self._items.advance(windows.positions))
        return self._items.of(windows)

    def _step(self, windows: Windows) -> list[GatedEvent]:
        gated = self._gate.handle(*self._follow(windows), self._items.histories(windows))
        with self._producer.transaction() as transaction:
            for event in gated:
                transaction.send(GATED, event.to_record(), key=event.user_id, partition=0, timestamp=event.timestamp)
        for event, (_, _, offset) in zip(gated, transaction.offsets, strict=True):
            self._monitor.observe(event, offset)
        self._monitor.note_items(*self._items.take_news())
        while edits := self._monitor.decide():
            for edit in edits:
                self._apply(edit)
        return gated

    def _apply(self, edit: Edit) -> None:
        outcome, revision = self._publisher.apply(edit, self.live.bank)
        record = None if revision is None else by_reference(revision, self._files).to_record()
        with self._producer.transaction() as transaction:
            transaction.send(EDITS, edit.to_log(), key=str(edit.region_id), timestamp=edit.timestamp)
            transaction.send(OUTCOMES, outcome.to_record(), key=edit.edit_id, timestamp=edit.timestamp)
            if record:
                transaction.send(REGIONS, record, key=str(edit.region_id), timestamp=edit.timestamp)
        if revision:
            self.live.apply(revision)
        self._monitor.apply(outcome, self.live.bank)
        self.ledger.append((edit, outcome))

    def _training_windows(self, windows: Windows, seed: tuple[int, int]) -> Windows:
        """See `TrainingWindows`: the windows of the edit and no others."""
        return only_new(windows, seed)

    def _events_of(self, evidence: Sequence[Evidence]) -> Sequence[GatedEvent]:
        return read_events(self._log, evidence, self._setup.catalogue.item_ids)
