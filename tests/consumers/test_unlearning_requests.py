"""Requests to unlearn a user: from the erasure through gate and monitor to the edit that answers them."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from consumers.monitor.stage import MonitorStage
from pipeline.events.edit import Edit, Evidence, Operation, Outcome
from pipeline.events.erasure import Erasure
from pipeline.events.unlearning import is_event, is_unlearning_request, windows_of_requests
from pipeline.monitor import Monitor
from pipeline.monitor.snapshot import restore, snapshot
from pipeline.regions.revision import Revision
from pipeline.regions.unlearned import Unlearned
from pipeline.streams import Log, SqliteLog
from pipeline.streams.topics import EDITS, GATED, OUTCOMES, REGIONS
from tests.consumers.gating import changed, read, write
from tests.consumers.run_of_raie import the_setup
from tests.consumers.test_erasure import ERASED_AT, HISTORY, PARTITIONS, begin, event, run_gate, run_monitor

UNLEARN = Erasure("ann", ERASED_AT, unlearn=True).to_record()
AFTER = [event(51), event(52), event(53, "bob")]


@pytest.fixture
def log(tmp_path: Path) -> Log:
    """A log whose gate has read an erasure with a request, between events of the user."""
    log = SqliteLog(tmp_path / "log.sqlite", lease=1.0)
    begin(log, HISTORY)
    run_gate(lambda: SqliteLog(tmp_path / "log.sqlite", lease=1.0), tmp_path)
    write(log, [UNLEARN, *AFTER])
    run_gate(lambda: SqliteLog(tmp_path / "log.sqlite", lease=1.0), tmp_path)
    return log


def requests(log: Log) -> list[int]:
    return [record.offset for record in read(log, GATED) if is_unlearning_request(record)]


def test_the_gate_writes_one_request_before_the_tombstone_and_only_if_asked(log: Log, tmp_path: Path) -> None:
    records = read(log, GATED)
    (request,) = requests(log)
    assert records[request].key == records[request + 1].key and records[request + 1].value is None
    write(log, [Erasure("bob", ERASED_AT + 50).to_record()])
    run_gate(lambda: SqliteLog(tmp_path / "log.sqlite", lease=1.0), tmp_path)
    assert requests(log) == [request], "an erasure alone asks for nothing"


def test_a_request_is_about_the_windows_before_it_under_its_key(log: Log) -> None:
    found = windows_of_requests(log, requests(log))
    assert found.complete
    of_ann = [
        r.offset for r in read(log, GATED) if is_event(r) and r.value["event_id"] in {f"ann-{i}" for i in range(40)}
    ]
    assert list(found.offsets) == of_ann and len(of_ann) == 40, "later events of ann are of a new user"
    with pytest.raises(LookupError, match="holds no request at offset 0"):
        windows_of_requests(log, [0])


def test_the_monitor_asks_once_when_no_edit_is_under_way(log: Log, tmp_path: Path) -> None:
    run_monitor(lambda: SqliteLog(tmp_path / "log.sqlite", lease=1.0))
    (under_way,) = edits(log)
    assert under_way.operation is Operation.ADD
    with log.producer("trainer").transaction() as transaction:
        outcome = Outcome(under_way.edit_id, Operation.ADD, 4, False, "no")
        transaction.send(OUTCOMES, outcome.to_record(), key=outcome.edit_id, timestamp=0.0)
    for _ in range(2):
        run_monitor(lambda: SqliteLog(tmp_path / "log.sqlite", lease=1.0))
    (unlearn,) = [edit for edit in edits(log) if edit != under_way]
    assert (unlearn.operation, unlearn.reason["requests"]) == (Operation.UNLEARN, requests(log))


def edits(log: Log) -> list[Edit]:
    return [Edit.from_record(r.value) for p in range(PARTITIONS) for r in read(log, EDITS, p) if r.value]


def monitor() -> Monitor:
    setup = the_setup()
    return Monitor(changed(), setup.bank, setup.calibration, 0, setup.catalogue.item_ids)


def test_an_unlearn_waits_for_edits_under_way_and_later_ones_wait_for_it() -> None:
    watching = monitor()
    pending = Edit("p" * 24, Operation.INJECT, 0, None, 0, 0, {"signal": "x"}, (), (), 0, 0.0, 0, None, ("i",))
    watching.state.pending[pending.edit_id] = pending
    watching.unlearn(7)
    watching.unlearn(9)
    assert watching.decide() == []
    watching.apply(Outcome(pending.edit_id, Operation.INJECT, 0, False, ""), the_setup().bank)
    (unlearn,) = watching.decide()
    assert (unlearn.operation, unlearn.reason["requests"]) == (Operation.UNLEARN, [7, 9])
    watching.unlearn(11)
    assert watching.decide() == [], "one at a time"
    trained = watching.trained_windows
    watching.apply(Outcome(unlearn.edit_id, Operation.UNLEARN, 0, True, "", trained_windows=500), the_setup().bank)
    assert watching.trained_windows == trained, "erasures are not paid from the budget of drift"
    (second,) = watching.decide()
    assert second.reason["requests"] == [11] and second.edit_id != unlearn.edit_id


def test_requests_outlive_a_restart() -> None:
    watching, again = monitor(), monitor()
    watching.unlearn(7)
    restore(again, snapshot(watching), the_setup().bank)
    assert again.decide() == watching.decide() != []


def test_windows_of_an_unlearn_are_no_evidence_from_its_revision_on(log: Log, tmp_path: Path) -> None:
    stage = run_monitor(lambda: SqliteLog(tmp_path / "log.sqlite", lease=1.0))
    known = evidence_of(stage)
    gone = [e.offset for e in known[:5]]
    revision = Revision.of(the_setup().bank, (), False, edit_id="u", unlearned=Unlearned(tuple(gone), {}))
    with log.producer("trainer").transaction() as transaction:
        transaction.send(REGIONS, revision.to_record(), key="gate", timestamp=0.0)
    again = run_monitor(lambda: SqliteLog(tmp_path / "log.sqlite", lease=1.0))
    assert gone and [e for e in known if e.offset not in gone] == evidence_of(again)


def evidence_of(stage: MonitorStage) -> Sequence[Evidence]:
    regions = stage._driver.monitor.state.regions.values()
    return sorted({o.evidence for region in regions for o in region.observations}, key=lambda e: e.offset)
