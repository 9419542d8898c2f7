"""`raie erase USER`, and `--check`, on a log that gate and monitor work on."""

import re
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from threading import Event, Thread

import pytest

from consumers.cli import erase as command
from consumers.erasure.inventory import DAY, take_inventory
from consumers.erasure.request import is_taken, request
from pipeline.events.erasure import Erasure
from pipeline.events.user_state import UserState
from pipeline.events.windows import History
from pipeline.streams import Log, SqliteLog
from pipeline.streams import open_log as open_log_at
from pipeline.streams.topics import INTERACTIONS, USERS
from tests.broker import settings
from tests.consumers.gating import changed, gate_loop, read, write
from tests.consumers.schema_2 import to_schema_2
from tests.consumers.test_erasure import ERASED_AT, HISTORY, PARTITIONS, begin, elsewhere, event, run_gate, run_monitor
from tests.consumers.test_gate_commands import OnALog, refused
from tests.consumers.test_gate_faults import Patient
from tests.consumers.test_loop import until
from tests.replay.small import Ended


@pytest.fixture
def on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> OnALog:
    log = OnALog(tmp_path / "log.sqlite", capsys)
    log.partitions = PARTITIONS
    return log


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "PATIENCE", 0.3)


def stages(on: OnALog, folder: Path, *, monitor: bool = True) -> None:
    run_gate(lambda: SqliteLog(on.path, lease=1.0), folder)
    if monitor:
        run_monitor(lambda: SqliteLog(on.path, lease=1.0))


class World:
    """The clock of the command: its stages work while it sleeps."""

    def __init__(self, work: Callable[[], None]) -> None:
        self.now = 0.0
        self.time = time.time
        self._work = work

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        assert seconds > 0
        self.now += command.PATIENCE / 3
        self._work()


def shown(ended: Ended) -> dict[str, int]:
    """Number of records by place."""
    rows = re.findall(r"^(.+?) +([\d,]+)  \w", ended.out, re.MULTILINE)
    return {place: int(count.replace(",", "")) for place, count in rows}


def test_a_user_is_erased_and_nothing_is_left(on: OnALog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with closing(on.log()) as log:
        begin(log, [*HISTORY, {**event(41), "timestamp": "soon"}])
        write(log, [event(40)], elsewhere("ann"))
    stages(on, tmp_path)
    before = on("erase", "ann", "--check")
    assert before.code == 1 and before.out.startswith("ann was not erased\n")
    counts = shown(before)
    assert counts["interactions"] == 43 and counts["gated"] == counts["dead-letters"] == 0
    assert counts["gated: under a pseudonym"] == 41 and counts["dead-letters: under a pseudonym"] == 1
    assert counts["users: state"] == 1 and counts["monitor: newest snapshot"] == 0, "no snapshot was due yet"
    monkeypatch.setattr(command, "time", World(lambda: stages(on, tmp_path)))
    ended = on("erase", "ann")
    assert ended.code == 0, ended
    assert re.match(r"ann was erased up to \d{4}-\d\d-\d\d \d\d:\d\d:\d\d\+00:00\n", ended.out)
    left = {place: count for place, count in shown(ended).items() if count}
    assert left == {"users: tombstone": 1}
    assert re.search(r"users: tombstone .* raie erase, \d{4}-", ended.out)
    assert on("erase", "ann", "--check") == ended
    bob = on("erase", "bob", "--check")
    assert bob.code == 1 and shown(bob)["gated: under a pseudonym"] == 40


def test_without_a_gate_the_erasure_waits_for_one(on: OnALog, tmp_path: Path) -> None:
    with closing(on.log()) as log:
        begin(log, HISTORY)
    stages(on, tmp_path)
    refused(on("erase", "ann"), "no gate took it within 0.3 s")
    assert on("erase", "ann", "--check").out.startswith("ann was not erased\n")
    stages(on, tmp_path)
    ended = on("erase", "ann", "--check")
    assert ended.code == 0, ended
    assert shown(ended)["gated: under a pseudonym"] == 41, "40 events and the tombstone, until the next compaction"


def test_what_a_monitor_has_not_read_is_left(on: OnALog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with closing(on.log()) as log:
        begin(log, [*HISTORY, event(0, "carl")])
    stages(on, tmp_path)
    # A snapshot is written when the monitor reads an erasure.
    with closing(on.log()) as log:
        write(log, [Erasure("carl", ERASED_AT).to_record()])
    stages(on, tmp_path)
    monkeypatch.setattr(command, "time", World(lambda: stages(on, tmp_path, monitor=False)))
    with monkeypatch.context() as kept:
        kept.setattr(command, "_purge", lambda *_: None)
        ended = on("erase", "ann")
    assert (ended.code, shown(ended)["monitor: newest snapshot"]) == (1, 1)
    assert ended.err == "no monitor read the erasure within 0.3 s: it does as soon as one runs\n"
    ended = on("erase", "ann")
    assert (ended.code, shown(ended)["monitor: newest snapshot"]) == (0, 0), "without the key it is nobody's"
    stages(on, tmp_path)
    assert on("erase", "ann", "--check").code == 0


def test_a_user_of_an_earlier_version_is_found_by_id_and_by_pseudonym(on: OnALog, tmp_path: Path) -> None:
    with closing(on.log()) as log:
        begin(log, [*HISTORY, {**event(41), "timestamp": "soon"}])
        stages(on, tmp_path)
        to_schema_2(log)
        write(log, [event(42), {**event(43), "timestamp": "soon"}])
    stages(on, tmp_path)
    counts = shown(on("erase", "ann", "--check"))
    assert {place: n for place, n in counts.items() if place.startswith(("gated", "dead"))} == {
        "gated": 40,
        "dead-letters": 1,
        "gated: under a pseudonym": 1,
        "dead-letters: under a pseudonym": 0,
    }


@pytest.mark.parametrize("partition", [0, 1, 2])
def test_a_state_that_should_be_gone_is_found_on_every_partition(on: OnALog, tmp_path: Path, partition: int) -> None:
    with closing(on.log()) as log:
        begin(log, [*HISTORY, Erasure("ann", ERASED_AT).to_record()])
    stages(on, tmp_path)
    assert on("erase", "ann", "--check").code == 0
    with closing(on.log()) as log, log.producer("fault").transaction() as transaction:
        state = UserState(History(("i",), 0), "e", ERASED_AT)
        transaction.send(USERS, state.to_record(0), key="ann", partition=partition, timestamp=1.0)
    ended = on("erase", "ann", "--check")
    assert (ended.code, shown(ended)["users: state"]) == (1, 1)


def test_a_new_user_of_the_id_is_told_apart(on: OnALog, tmp_path: Path) -> None:
    with closing(on.log()) as log:
        begin(log, [*HISTORY, Erasure("ann", ERASED_AT).to_record(), event(51), event(52)])
    stages(on, tmp_path)
    ended = on("erase", "ann", "--check")
    assert ended.code == 0 and re.search(r"^\d records are later: of a new user of the same id$", ended.out, re.M)
    assert shown(ended)["users: state"] == 0


def test_of_a_stranger_nothing_is_left(on: OnALog, tmp_path: Path) -> None:
    refused(on("erase", "ann"), str(on.path))
    with closing(on.log()) as log:
        begin(log, HISTORY)
    stages(on, tmp_path)
    ended = on("erase", "nobody", "--check")
    assert (ended.code, set(shown(ended).values())) == (0, {0})
    refused(on("erase", " "), "missing_user_id")


def test_on_a_broker_the_table_has_the_dates(tmp_path: Path, kafka_url: str) -> None:
    asked = settings(partitions=PARTITIONS, retention_days=10.0, url=kafka_url)
    config = changed().model_copy(update={"log": asked})

    def open_log() -> Log:
        return open_log_at(kafka_url, asked)

    with closing(open_log()) as log:
        begin(log, HISTORY)
        requested = request(log, Erasure("ann", ERASED_AT), "me")
        assert not is_taken(log, requested)
        stop = Event()
        gate = Thread(target=gate_loop(open_log, tmp_path, changed(), stop=stop, kind=Patient).run)
        gate.start()
        try:
            until(lambda: is_taken(log, requested))
        finally:
            stop.set()
            gate.join()
        found = take_inventory(log, "ann", config)
        written = max(r.written_at or 0.0 for p in range(PARTITIONS) for r in read(log, INTERACTIONS, p))
    assert not found.is_left and (found.until, found.newer) == (ERASED_AT, 0)
    rows = {remainder.place: remainder for remainder in found.remainders}
    assert rows["interactions"].records == 41 and rows["interactions"].due == pytest.approx(written + 10 * DAY)
    assert rows["users: tombstone"].records == 1 and rows["users: tombstone"].goes == "after compaction"


def test_unlearning_states_its_cost_and_belongs_to_the_erasure(
    on: OnALog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with closing(on.log()) as log:
        begin(log, HISTORY)
    stages(on, tmp_path)
    dry = on("erase", "ann", "--unlearn", "--dry-run")
    assert dry.code == 0 and dry.out == (
        "unlearning ann: no version rests on one of 40 windows, and none is trained anew\n"
    )
    assert on("erase", "ann", "--check").out.startswith("ann was not erased\n")
    monkeypatch.setattr(command, "time", World(lambda: stages(on, tmp_path)))
    monkeypatch.setattr(command, "TRAINER_PATIENCE", command.PATIENCE)
    ended = on("erase", "ann", "--unlearn")
    assert ended.code == 1 and "the unlearning goes on, or no trainer runs" in ended.out, ended
    assert "ann was erased up to" in ended.out and "set-up: backbone" in ended.out
    left = {place: count for place, count in shown(ended).items() if count}
    assert left == {"users: tombstone": 1}, "of the request in gated nobody knows whose it is"
    refused(on("erase", "ann", "--unlearn"), "ann was erased before")
    assert on("erase", "nobody", "--unlearn", "--dry-run").code == 0
    assert on("erase", "bob", "--dry-run").code == on("erase", "bob", "--unlearn", "--check", "--dry-run").code == 2
