"""The gate on bad input: duplicates, poison, skewed clocks, disorder, new schemas, a second gate."""

from collections import Counter
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from random import Random
from threading import Event, Thread

import numpy as np
import pytest
from prometheus_client import CollectorRegistry

from consumers.gate.stage import GateStage
from consumers.runtime.lockstep import settled
from consumers.runtime.stage import Output, Point, Turn
from pipeline.errors import LogError
from pipeline.events.dead_letter import DeadLetter
from pipeline.events.item_status import EVICTED, ItemStatus
from pipeline.streams import SqliteLog
from pipeline.streams import open_log as open_log_at
from pipeline.streams.topics import GATED, ITEMS, USERS
from pipeline.telemetry import Metrics
from tests.broker import settings
from tests.consumers.gating import (
    BATCH,
    OpenLog,
    UntilQuiet,
    changed,
    count,
    events,
    fill,
    gate_loop,
    gated,
    letters,
    read,
    said,
    users,
    users_by_pseudonym,
    write,
)
from tests.consumers.run_of_raie import the_setup
from tests.consumers.test_loop import Killed, Killer, until
from tests.replay.small import plan

STREAM = 120


@pytest.fixture
def open_log(tmp_path: Path) -> OpenLog:
    return lambda: SqliteLog(tmp_path / "log.sqlite", lease=1.0)


@pytest.fixture(params=["sqlite", "kafka"])
def open_any_log(request: pytest.FixtureRequest, tmp_path: Path) -> OpenLog:
    """Function that opens a log of either kind."""
    if request.param == "sqlite":
        return lambda: SqliteLog(tmp_path / "log.sqlite", lease=5.0)
    url, asked = request.getfixturevalue("kafka_url"), settings()
    return lambda: open_log_at(url, asked)


def stream() -> list[dict[str, object]]:
    return [said(e) for e in events()[1][:STREAM]]


def ids(log: SqliteLog) -> list[str]:
    return [g["event_id"] for g in gated(log)]


def test_an_event_that_comes_again_counts_once(open_log: OpenLog, tmp_path: Path) -> None:
    rng, metrics = Random(0), Metrics(CollectorRegistry())
    again = [value for value in stream() for _ in range(rng.randint(1, 3))]
    fill(open_log(), [*again, *rng.sample(stream()[-20:], 10)], partitions=1)
    gate_loop(open_log, tmp_path, changed(), metrics=metrics).run()
    assert ids(open_log()) == [v["event_id"] for v in stream()]
    assert count(metrics, "duplicates_total") == len(again) + 10 - STREAM


def test_poison_goes_to_the_dead_letters_and_all_else_is_gated(open_log: OpenLog, tmp_path: Path) -> None:
    good = stream()
    bad = {
        "bad_timestamp": [{**good[0], "timestamp": "NaN"}, {**good[0], "timestamp": -5}],
        "bad_user_id": [{**good[0], "user_id": ["a"]}, {**good[0], "user_id": "u" * 100_000}],
        "missing_item_id": [{"user_id": "u", "timestamp": 1.0}],
        "unknown_item": [{**good[0], "item_id": "nobody knows it"}],
        "newer_schema": [{**good[0], "schema": 4}],
        "bad_schema": [{**good[0], "schema": "one"}],
        "missing_user_id": [{"client": "renamed", "item_id": good[0]["item_id"], "timestamp": 1.0}],
    }
    mixed = [value for values in bad.values() for value in values] + good
    Random(1).shuffle(mixed)
    log = open_log()
    fill(log, mixed, partition=1)
    producer = log.producer("poison")
    with producer.transaction() as transaction:
        transaction.send("interactions", None, key="u", partition=1, timestamp=1.0)
        transaction.send(
            "interactions", {"_unreadable": "bad_json", "bytes": 3, "sha256": "x"}, partition=1, timestamp=1.0
        )
    with log.producer("catalogue").transaction() as transaction:
        for item_id in {v["item_id"] for v in good}:
            transaction.send(ITEMS, {"item_id": item_id}, key=item_id, timestamp=1.0)
    gate_loop(open_log, tmp_path, changed(items={"unknown": "refuse"})).run()
    assert Counter(ids(log)) == Counter(v["event_id"] for v in good)
    reasons = Counter({reason: len(values) for reason, values in bad.items()}) + Counter(["null", "bad_json"])
    assert Counter(letter["reason"] for letter in letters(log)) == reasons
    values, pseudonyms = {r.offset: r.value for r in read(log, "interactions", 1)}, set(users_by_pseudonym(log))
    for letter in letters(log):
        assert (letter["topic"], letter["partition"], letter["key"], letter["value"]) == ("interactions", 1, None, None)
        assert letter["user_id"] is None or letter["user_id"] in pseudonyms
        value = values[letter["offset"]]
        wanted = bad.get(letter["reason"], [None, {"_unreadable": "bad_json", "bytes": 3, "sha256": "x"}])
        assert value in wanted


def test_a_number_beyond_all_floats_does_not_stop_the_gate(open_log: OpenLog, tmp_path: Path) -> None:
    log, raw = open_log(), b'{"user_id": "", "more": 1e400}'
    fill(log, stream()[:1], partitions=1)
    with log.producer("poison").transaction() as transaction:
        transaction.send("interactions", raw, key="u", timestamp=1.0)
    gate_loop(open_log, tmp_path, changed()).run()
    (letter,) = letters(log)
    assert (letter["reason"], letter["value"]) == ("missing_user_id", None)
    found = DeadLetter.from_record(letter).record_in(log)
    assert found is not None and found.raw == raw
    assert len(ids(log)) == 1


def test_fields_that_are_added_or_optional_ones_that_are_dropped_pass(open_log: OpenLog, tmp_path: Path) -> None:
    values = [{**v, "colour": "red", "schema": 1} for v in stream()]
    for value in values:
        del value["value"]
    fill(open_log(), values, partitions=1)
    gate_loop(open_log, tmp_path, changed()).run()
    assert len(ids(open_log())) == STREAM
    assert letters(open_log()) == []


def disordered(span: int) -> list[dict[str, object]]:
    """The stream with one event per second, each at most so many positions out of order."""
    rng = Random(2)
    values = [{**v, "timestamp": 2e9 + i} for i, v in enumerate(stream())]
    return sorted(values, key=lambda v: float(str(v["timestamp"])) + rng.uniform(0, span))


def test_within_the_horizon_the_order_is_that_of_event_time(open_log: OpenLog, tmp_path: Path) -> None:
    metrics = Metrics(CollectorRegistry())
    fill(open_log(), disordered(8), partitions=1)
    gate_loop(open_log, tmp_path, changed(gate={"horizon": 12.0}), most=16, metrics=metrics).run()
    assert ids(open_log()) == [v["event_id"] for v in stream()]
    assert count(metrics, "late_total") == 0


@pytest.mark.parametrize("point", [Point.COMMITTED, Point.COMMITTING, Point.HANDLED])
def test_killed_with_events_waiting_none_is_lost_and_none_counts_twice(
    open_log: OpenLog, tmp_path: Path, point: Point
) -> None:
    config = changed(gate={"horizon": 12.0})
    values = disordered(8)
    values[60:60] = [{"user_id": "poison"}]
    fill(open_log(), values, partitions=1)
    for passing in (2, 5, 3):
        # The first turns read what set-up has learned from.
        with pytest.raises(Killed):
            gate_loop(open_log, tmp_path, config, at=Killer(point, passing + 8), most=16).run()
    gate_loop(open_log, tmp_path, config, most=16).run()
    assert ids(open_log()) == [v["event_id"] for v in stream()]
    assert len(letters(open_log())) == 1


def test_a_clock_that_is_wrong_holds_nothing_up_and_makes_nobody_else_late(open_log: OpenLog, tmp_path: Path) -> None:
    values, metrics = disordered(1), Metrics(CollectorRegistry())
    wrong = {10: 4.07e9, 40: 0.0, 70: 2e9 + 86_400, 90: 2e9 - 86_400}
    for place, timestamp in wrong.items():
        values[place] = {**values[place], "timestamp": timestamp}
    fill(open_log(), values, partitions=1)
    gate_loop(open_log, tmp_path, changed(gate={"horizon": 5.0}), most=16, metrics=metrics).run()
    others = {str(v["event_id"]) for i, v in enumerate(values) if i not in wrong}
    assert [e for e in ids(open_log()) if e in others] == [v["event_id"] for v in stream() if v["event_id"] in others]
    assert len(ids(open_log())) == STREAM
    assert count(metrics, "late_total") == 2


def test_an_erased_user_is_gone_and_stays_gone_after_a_restart(open_log: OpenLog, tmp_path: Path) -> None:
    user = str(stream()[-1]["user_id"])
    fill(open_log(), stream(), partitions=1)
    write(open_log(), [{"erase": True, "user_id": user}])
    gate_loop(open_log, tmp_path, changed()).run()
    assert users(open_log())[user] is None
    write(open_log(), [{**stream()[-1], "event_id": "new"}])
    gate_loop(open_log, tmp_path, changed()).run()
    assert gated(open_log())[-1]["cold"] is True


def test_withdrawn_items_are_no_rivals_of_a_target_until_they_are_back(open_log: OpenLog, tmp_path: Path) -> None:
    log, items = open_log(), [*the_setup().catalogue.item_ids, "unknown to set-up"]
    fill(log, stream()[:40], partitions=1)
    for part, value in ((slice(40, 80), None), (slice(80, 120), {"text": "back"})):
        gate_loop(open_log, tmp_path, changed()).run()
        with log.producer("catalogue").transaction() as transaction:
            for item_id in items:
                transaction.send(ITEMS, value, key=item_id, timestamp=1.0)
        write(log, stream()[part])
    gate_loop(open_log, tmp_path, changed()).run()
    ranks = [(record["rank"], record["model_rank"]) for record in gated(log)]
    assert set(ranks[40:80]) == {(0, 0)}, "what somebody took is gated, and what is not to be had cannot be recommended"
    assert max(ranks[:40]) > (1, 1)
    assert max(ranks[80:]) > (1, 1)
    assert letters(log) == []


def test_a_restart_learns_again_from_the_items_that_were_known_when_each_event_was_scored(
    open_log: OpenLog, tmp_path: Path
) -> None:
    config, log = changed(consumers={"snapshot_events": 10_000}), open_log()
    before, after = stream()[: STREAM - BATCH - 1], stream()[STREAM - BATCH - 1 :]
    takers = sorted({str(v["user_id"]) for v in after})
    fill(
        log,
        [*before, *({**before[-1], "user_id": u, "item_id": "novelty", "event_id": u} for u in takers)],
        partitions=1,
    )
    gate_loop(open_log, tmp_path, config).run()
    with log.producer("monitor").transaction() as transaction:
        evicted = ItemStatus("novelty", EVICTED, 1.0)
        transaction.send(ITEMS, evicted.to_record(), key=evicted.key, timestamp=1.0)
    # It comes back in the second batch of one turn; in the first it is in histories and not known.
    write(log, [*after, {**after[-1], "item_id": "novelty", "event_id": "~back"}])
    lived, again = (gate_loop(open_log, tmp_path, config, most=1_000) for _ in range(2))
    lived.run()
    again._stage.restore({}, log)
    arrays = [loop._stage._scoring.scorer.online.to_arrays() for loop in (lived, again)]  # type: ignore[attr-defined]
    assert arrays[0]["events"] == STREAM + len(takers) + 1
    assert all(np.array_equal(arrays[1][name], array) for name, array in arrays[0].items())


def test_a_trend_of_other_settings_is_refused_and_another_instance_counts_anew(
    open_log: OpenLog, tmp_path: Path
) -> None:
    fill(open_log(), stream()[:60], partitions=1)
    gate_loop(open_log, tmp_path, changed()).run()
    other = changed(trend={"half_lives": [30.0]})
    with pytest.raises(
        LogError, match=r"the trend of gate g .* other settings of the trend or another version: .* --instance"
    ):
        gate_loop(open_log, tmp_path, other).run()
    write(open_log(), stream()[60:])
    gate_loop(open_log, tmp_path, other, instance="h").run()
    assert ids(open_log()) == [v["event_id"] for v in stream()]


class Patient(GateStage):
    """Runs until it is stopped."""

    stop: Event


def test_a_second_gate_takes_half_of_the_partitions_and_histories_move_along(
    open_any_log: OpenLog, tmp_path: Path
) -> None:
    with closing(open_any_log()) as log:
        fill(log, stream()[:60])
        stops = [Event(), Event()]
        loops = [
            gate_loop(open_any_log, tmp_path, changed(), name, stop=s, kind=Patient)
            for name, s in zip("ab", stops, strict=True)
        ]
        threads = [Thread(target=loop.run) for loop in loops]
        threads[0].start()
        until(lambda: len(gated(log)) == 60)
        threads[1].start()
        stages: list[GateStage] = [loop._stage for loop in loops]  # type: ignore[misc]
        until(lambda: [len(stage._users) for stage in stages] == [1, 1])
        write(log, stream()[60:])
        until(lambda: len(gated(log)) >= STREAM)
        for stop, thread in zip(stops, threads, strict=True):
            stop.set()
            thread.join()
        found = gated(log)
        assert read(log, USERS, 0)
        assert {g["user_id"] for g in found} <= users_by_pseudonym(log).keys()
        assert set(Counter(users_by_pseudonym(log).values()).values()) == {1}
    assert Counter(g["event_id"] for g in found) == Counter(v["event_id"] for v in stream())
    assert {g["gate"] for g in found[60:]} == {"a", "b"}
    alone = SqliteLog(tmp_path / "one.sqlite")
    fill(alone, stream())
    gate_loop(lambda: SqliteLog(tmp_path / "one.sqlite"), tmp_path, changed()).run()
    assert {g["event_id"]: g["window"] for g in found} == {g["event_id"]: g["window"] for g in gated(alone)}


class Settling(UntilQuiet):
    """A lockstep gate, with a monitor that settles every batch at once."""

    def handle(self, turn: Turn) -> Sequence[Output] | None:
        end = turn.log.end_offset(GATED, 0)
        said_so = settled(end, 0.0)
        if end:
            with turn.log.producer("monitor").transaction() as transaction:
                transaction.send(said_so.topic, said_so.value, key=said_so.key, timestamp=0.0)
        return super().handle(turn)


@pytest.mark.parametrize("point", [Point.COMMITTED, Point.COMMITTING])
def test_in_lockstep_events_of_several_partitions_are_gated_as_a_replay_does_killed_or_not(
    open_log: OpenLog, tmp_path: Path, point: Point
) -> None:
    config = changed(consumers={"lockstep": True})
    numbered = [{**v, "sequence": i, "cut": i in (99, STREAM - 1)} for i, v in enumerate(stream())]
    fill(open_log(), numbered)
    for passing in (1, 2):
        with pytest.raises(Killed):
            gate_loop(open_log, tmp_path, config, at=Killer(point, passing), kind=Settling).run()
    gate_loop(open_log, tmp_path, config, kind=Settling).run()
    expected = plan().stream[slice(0, STREAM)]
    assert ids(open_log()) == expected.event_ids.tolist()
    names = ["", *plan().timeline.item_ids]
    assert [g["window"] for g in gated(open_log())] == [[names[r] for r in c if r] for c in expected.contexts]
    assert [g["since_setup"] for g in gated(open_log())] == expected.since_setup.tolist()
