"""Several gates on one log: each counts the events of all in their order, and restores that to the bit."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from prometheus_client import CollectorRegistry

from consumers.gate import other_gates
from consumers.gate.other_gates import OtherGates, ignored
from consumers.runtime.malformed import unreported
from consumers.runtime.stage import Turn
from pipeline.events.gated import GatedEvent
from pipeline.events.item_status import ARRIVED, ItemStatus
from pipeline.streams import Log, Record, SqliteLog, UnavailableError
from pipeline.streams.topics import GATED, INTERACTIONS, ITEMS
from pipeline.telemetry import Metrics
from tests.consumers.gating import BATCH, Json, UntilQuiet, changed, count, fill, gate_loop, gated, write
from tests.consumers.run_of_raie import the_setup
from tests.consumers.test_gate_faults import stream

CONFIG = changed(consumers={"snapshot_events": 10_000})

OF_ITEMS = ("counts", "last", "since")

Arrays = dict[str, NDArray[Any]]


@pytest.fixture
def open_log(tmp_path: Path) -> Callable[[], Log]:
    return lambda: SqliteLog(tmp_path / "log.sqlite")


def known() -> list[Json]:
    """Events of the stream whose items set-up knows: no monitor tells the gates of others here."""
    return [event for event in stream() if event["item_id"] in the_setup().catalogue.row_of]


def state_of(loop: Any) -> Arrays:
    found: Arrays = loop._stage._scoring.scorer.online.to_arrays()
    return found


def in_turns(open_log: Callable[[], Log], folder: Path, names: str = "aba", most: int = BATCH) -> Any:
    """Gates of these names one after the other, each with its part of the stream; return the last one."""
    events = known()
    for number, name in enumerate(names):
        part = events[number * len(events) // 3 : (number + 1) * len(events) // 3]
        if number:
            write(open_log(), part)
        else:
            fill(open_log(), part)
        loop = gate_loop(open_log, folder, CONFIG, name, most=most)
        loop.run()
    return loop


def test_what_a_gate_counts_is_of_all_gates_and_what_it_learns_its_own(
    open_log: Callable[[], Log], tmp_path: Path
) -> None:
    state = state_of(in_turns(open_log, tmp_path))
    own = [event["gate"] for event in gated(open_log())]
    assert set(own) == {"a", "b"} and own[-1] == "a"
    alone = state_of(in_turns(lambda: SqliteLog(tmp_path / "one.sqlite"), tmp_path / "one", "aaa"))
    assert (state["events"], alone["events"]) == (own.count("a"), len(known()))
    counts = [name for name in alone if name.split(".")[0] in {"popularity", "recent", "all", "neighbours", "recency"}]
    assert len(counts) > 5
    different = [name for name in counts if not np.array_equal(state[name], alone[name])]
    assert different == []
    assert not np.array_equal(state["network.weights"], alone["network.weights"])


def test_a_gate_restores_what_it_counted_of_others_to_the_bit(open_log: Callable[[], Log], tmp_path: Path) -> None:
    lived = in_turns(open_log, tmp_path)
    again = gate_loop(open_log, tmp_path, CONFIG, "a")
    again._stage.restore({}, open_log())
    assert different(state_of(lived), state_of(again)) == []


def different(one: Arrays, other: Arrays) -> list[str]:
    """Names of arrays that differ in any item; what is counted of no item is read by nobody."""

    def of_items(name: str, array: NDArray[Any]) -> NDArray[Any]:
        return array[..., 1:] if name in {"popularity.counts", *(f"recency.{n}" for n in OF_ITEMS)} else array

    return [name for name in one if not np.array_equal(of_items(name, one[name]), of_items(name, other[name]))]


def test_a_gate_counts_the_events_of_others_before_it_joins(open_log: Callable[[], Log], tmp_path: Path) -> None:
    in_turns(open_log, tmp_path, "ab")
    metrics = Metrics(CollectorRegistry())
    gate = gate_loop(open_log, tmp_path, CONFIG, "c", metrics=metrics)
    gate._stage.prepare(open_log())
    assert count(metrics, "followed_total") == len(gated(open_log()))
    prepared = state_of(gate)
    gate._stage.restore({}, open_log())
    assert different(prepared, state_of(gate)) == []
    assert count(metrics, "followed_total") == len(gated(open_log()))


def test_a_gate_without_partitions_goes_on_counting(open_log: Callable[[], Log], tmp_path: Path) -> None:
    in_turns(open_log, tmp_path, "a")
    metrics = Metrics(CollectorRegistry())
    gate, log = gate_loop(open_log, tmp_path, CONFIG, "c", metrics=metrics), open_log()
    turn = Turn([], log.consumer("gate", [INTERACTIONS], "c"), log)
    gate._stage.prepare(log)
    for _ in range(2):
        gate._stage.stand_by(turn)
        assert count(metrics, "followed_total") == len(gated(log)) > 0
        write(log, known()[-30:])
        gate_loop(open_log, tmp_path, CONFIG, "a").run()


def test_a_gate_that_could_not_prepare_waits_for_nothing_before_it_has_joined(
    open_log: Callable[[], Log], tmp_path: Path
) -> None:
    in_turns(open_log, tmp_path, "a")

    class Undecided(SqliteLog):
        """A transaction of a gate that was killed is open."""

        def acknowledged_end(self, topic: str, partition: int) -> int:
            raise UnavailableError(f"a transaction on {topic}/{partition} is open")

    gate, log = gate_loop(open_log, tmp_path, CONFIG, "c"), Undecided(tmp_path / "log.sqlite")
    with pytest.raises(UnavailableError):
        gate._stage.prepare(log)
    gate._stage.stand_by(Turn([], log.consumer("gate", [INTERACTIONS], "c"), log))


def test_own_events_behind_an_open_transaction_are_waited_for(open_log: Callable[[], Log], tmp_path: Path) -> None:
    # So few a transaction that there are events after the snapshot.
    lived = in_turns(open_log, tmp_path, most=10)

    class Late(SqliteLog):
        """The end of `gated` is before events of this gate until it was waited for."""

        decided = False

        def end_offset(self, topic: str, partition: int) -> int:
            end = super().end_offset(topic, partition)
            return end if self.decided or topic != GATED else end - 20

        def acknowledged_end(self, topic: str, partition: int) -> int:
            self.decided |= topic == GATED
            return self.end_offset(topic, partition)

    again = gate_loop(open_log, tmp_path, CONFIG, "a")
    again._stage.restore({}, Late(tmp_path / "log.sqlite"))
    assert different(state_of(lived), state_of(again)) == []


def test_what_was_counted_while_an_item_was_unknown_is_restored_to_the_bit(
    open_log: Callable[[], Log], tmp_path: Path
) -> None:
    *first, last = known()
    fill(open_log(), first[:40])
    gate_loop(open_log, tmp_path, CONFIG, "a").run()
    write(open_log(), [{**event, "item_id": "novelty"} for event in first[40:80]])
    gate_loop(open_log, tmp_path, CONFIG, "b").run()

    class Joining(UntilQuiet):
        """While it joins, the item that the other gate has counted arrives, and an event comes."""

        def prepare(self, log: Log) -> None:
            super().prepare(log)
            arrived = ItemStatus("novelty", ARRIVED, float(last["timestamp"]))
            with log.producer("monitor").transaction() as transaction:
                transaction.send(ITEMS, arrived.to_record(), key=arrived.key, timestamp=1.0)
            write(log, [last])

    lived = gate_loop(open_log, tmp_path, CONFIG, "a", kind=Joining)
    lived.run()
    again = gate_loop(open_log, tmp_path, CONFIG, "a")
    again._stage.restore({}, open_log())
    assert "novelty" in lived._stage._scoring.scorer.catalogue.row_of
    assert different(state_of(lived), state_of(again)) == []


def test_a_gate_that_has_much_to_read_reads_it_in_parts_and_then_once_a_second(
    open_log: Callable[[], Log], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    in_turns(open_log, tmp_path)
    end, now = len(gated(open_log())), [0.0]
    monkeypatch.setattr(other_gates, "AT_ONCE", 50)

    def event_of(record: Record) -> GatedEvent:
        return GatedEvent.from_record(record.value or {}, the_setup().catalogue.item_ids)

    reader = OtherGates("c", end - 10, event_of, unreported, ignored, lambda: now[0])
    found = [[e for events in reader.poll(open_log()) for e in events] for _ in range(4)]
    assert [len(part) for part in found] == [50, 50, end - 110, 0]
    assert reader.position == end == open_log().end_offset(GATED, 0)
    now[0] = other_gates.EVERY
    write(open_log(), [{**known()[-1], "event_id": "later"}])
    gate_loop(open_log, tmp_path, CONFIG, "b").run()
    assert [event.event_id for events in reader.poll(open_log()) for event in events] == ["later"]
    assert list(reader.poll(open_log())) == []
