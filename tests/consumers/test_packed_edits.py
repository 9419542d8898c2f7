"""Edits of many windows, which are packed in the log: trainers, ledgers and views take them as listed ones."""

import json
from pathlib import Path

import pytest

from adapters_store import AdaptersStore
from consumers.runtime.freshness import newest_window
from consumers.runtime.ledger import Ledger
from consumers.server.views.edits import Edits
from consumers.trainer.job import JobRunner
from pipeline.evaluation.ledger import ledger_record
from pipeline.events import edit as edits
from pipeline.events.edit import Edit, Operation
from pipeline.streams import MemoryLog
from pipeline.streams.topics import EDITS, OUTCOMES, REGIONS
from tests.consumers.run_of_raie import SETTINGS, the_run
from tests.consumers.test_faults import gated_log, setup


@pytest.fixture(autouse=True)
def _always_packed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(edits, "MOST_LISTED_BYTES", 0)


@pytest.fixture
def log() -> MemoryLog:
    """The log of the replay, with all edits of windows packed."""
    log = gated_log()
    with log.producer("trainer").transaction() as transaction:
        for edit, outcome in the_run().ledger:
            transaction.send(EDITS, edit.to_log(), key="gate", timestamp=edit.timestamp)
            transaction.send(OUTCOMES, outcome.to_record(), key=edit.edit_id, timestamp=edit.timestamp)
        for record in the_run().regions:
            transaction.send(REGIONS, record.value, key=record.key, timestamp=record.timestamp)
    return log


def packed(edit: Edit) -> Edit:
    record = json.loads(json.dumps(edit.to_log()))
    assert isinstance(record["windows"], dict)
    return Edit.from_record(record)


@pytest.mark.parametrize("operation", [Operation.ADD, Operation.EXPAND, Operation.UPDATE, Operation.INJECT])
def test_a_packed_edit_is_carried_out_as_a_listed_one(log: MemoryLog, tmp_path: Path, operation: Operation) -> None:
    ledger, adapters = the_run().ledger, AdaptersStore(the_run().folder / "adapters")
    place = next(i for i, (edit, _) in enumerate(ledger) if edit.operation is operation)
    edit, outcome = ledger[place]
    base = sum(before.published for _, before in ledger[:place])
    stores = [AdaptersStore(tmp_path / name) for name in ("listed", "packed")]
    results = [
        JobRunner(setup(), SETTINGS, log, adapters, store).apply(one, base)
        for store, one in zip(stores, (edit, packed(edit)), strict=True)
    ]
    assert results[0][0] == results[1][0] == outcome
    revisions = [None if revision is None else revision.to_record() for _, revision in results]
    assert revisions[0] == revisions[1]
    assert stores[0].names() == stores[1].names()


def test_a_ledger_has_the_event_ids_of_packed_edits(log: MemoryLog) -> None:
    wanted = [ledger_record(0, edit, outcome) for edit, outcome in the_run().ledger]
    assert Ledger(log, log.topic(EDITS).partitions).records(0) == wanted


def test_views_of_packed_edits_are_those_of_listed_ones(log: MemoryLog) -> None:
    view, listed = Edits(), Edits()
    for partition in range(log.topic(EDITS).partitions):
        for record in log.read(EDITS, partition, 0, log.end_offset(EDITS, partition)):
            edit = next(edit for edit, _ in the_run().ledger if edit.edit_id == (record.value or {})["edit_id"])
            plain = edit.to_record()
            view.apply(record)
            listed.apply(type(record)(EDITS, partition, record.offset, record.key, plain, record.timestamp))
            assert newest_window(record.value or {}) == newest_window(plain)
    assert view.edits == listed.edits and len(view.edits) == len(the_run().ledger)
