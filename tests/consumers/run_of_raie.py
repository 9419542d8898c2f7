"""One replay of the small log, made once, and what its log holds: the reference of the consumers' tests."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

from adapters_store import AdaptersStore
from pipeline.config import Config
from pipeline.evaluation.replay import prepare
from pipeline.events.edit import Edit, Outcome
from pipeline.events.windows import Windows
from pipeline.models.catalogue import make_catalogue
from pipeline.models.seeding import make_deterministic
from pipeline.models.text.hashing import HashingEncoder
from pipeline.regions.bank import RegionBank
from pipeline.regions.revision import Revision
from pipeline.setup.artifacts import SetUp
from pipeline.setup.bootstrap import set_up
from pipeline.strategies.base import StrategyContext
from pipeline.strategies.raie.replayed import Raie
from pipeline.streams import Record, SqliteLog
from pipeline.streams.topics import GATED, OUTCOMES, REGIONS
from tests.replay.small import config, dataset, plan

SETTINGS = config(
    "edits.update_windows=48",
    "edits.boundary_windows=16",
    "edits.cool_down=64",
    "edits.passes_per_event=20",
    "edits.confidence=0",
    "monitor.visits_window=200",
    "monitor.telling_windows=64",
    "trend.half_lives=[]",
)
"""Many edits of several kinds in a short log."""


@cache
def the_setup() -> SetUp:
    make_deterministic()
    return set_up(SETTINGS, prepare(dataset(), SETTINGS, lambda *_: None)[1], plan().setup, seed=0)


@dataclass(frozen=True)
class Run:
    """A finished replay: its ledger, the records of its log, the weights of its adapters by version, and its folder."""

    ledger: Sequence[tuple[Edit, Outcome]]
    gated: Sequence[Record]
    outcomes: Sequence[Record]
    regions: Sequence[Record]
    versions: Mapping[str, bytes]
    folder: Path

    def batches(self, settings: Config) -> Iterator[Sequence[Record]]:
        size = settings.gate.batch_size
        return (self.gated[i : i + size] for i in range(0, len(self.gated), size))

    def settled(self, bank: RegionBank, edit: Edit) -> tuple[Outcome, RegionBank]:
        """What came of an edit, and the regions after it."""
        outcome = next(o for o in self.outcomes if o.key == edit.edit_id)
        for record in self.regions:
            value: Any = record.value
            if value["edit_id"] == edit.edit_id:
                bank = Revision.from_record(value).after(bank)
        assert outcome.value is not None
        return Outcome.from_record(outcome.value), bank


def empty_store() -> AdaptersStore:
    """A store without files: the revisions of the recorded run have their arrays in their records."""
    return AdaptersStore("memory://empty")


def everything(log: SqliteLog, topic: str) -> list[Record]:
    return list(log.read(topic, 0, 0, log.end_offset(topic, 0)))


@cache
def the_run() -> Run:
    return run_of(the_setup(), SETTINGS, plan().setup, plan().stream, Path(mkdtemp(prefix="run-of-raie-")))


def context_of(setup: SetUp, settings: Config, learned: Windows, folder: Path) -> StrategyContext:
    """Inputs of a strategy over the small log."""
    timeline, encoder = plan().timeline, HashingEncoder()
    catalogue = make_catalogue(timeline.item_ids, dataset().items, encoder)
    return StrategyContext(setup, settings, learned, 0, folder, timeline, dataset().items, catalogue, encoder)


def run_of(setup: SetUp, settings: Config, learned: Windows, stream: Windows, folder: Path) -> Run:
    """Replay a stream."""
    raie = Raie(context_of(setup, settings, learned, folder))
    raie.observe(stream)
    raie.close()
    log = SqliteLog(folder / "log.sqlite")
    try:
        versions = {p.parent.name: p.read_bytes() for p in (folder / "adapters").glob("*/adapter.safetensors")}
        return Run(raie.ledger, *(everything(log, topic) for topic in (GATED, OUTCOMES, REGIONS)), versions, folder)
    finally:
        log.close()
