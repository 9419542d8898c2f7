"""Records on another partition than their user's are sent on once, whatever the client and the moment of death."""

import json
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from random import Random

import pytest
from prometheus_client import CollectorRegistry

from consumers.runtime.stage import Point
from pipeline.config import Config
from pipeline.events.erasure import is_erasure_key
from pipeline.events.user_state import SENT_ON
from pipeline.streams import Log, Record, SqliteLog
from pipeline.streams.codec import MAX_RECORD_BYTES
from pipeline.streams.partitioner import partition_of
from pipeline.streams.topics import INTERACTIONS, USERS, pipeline_topics
from pipeline.telemetry import Metrics
from tests.consumers.gating import (
    OpenLog,
    changed,
    count,
    events,
    fill,
    gate_loop,
    gated,
    letters,
    named,
    read,
    said,
    users,
    write,
)
from tests.consumers.test_gate_faults import Settling
from tests.consumers.test_loop import Killed, Killer
from tests.replay.small import plan

PARTITIONS = 4
STREAM = 200


@pytest.fixture
def open_log(tmp_path: Path) -> OpenLog:
    return lambda: SqliteLog(tmp_path / "log.sqlite", lease=1.0)


def stream() -> list[dict[str, object]]:
    """The stream with one event a second."""
    return [{**said(e), "timestamp": 2e9 + i} for i, e in enumerate(events()[1][:STREAM])]


def homes(log: Log, topic: str) -> dict[str, set[int]]:
    """User -> partitions with records of the user that are not tombstones, by the newest record of each."""
    found: defaultdict[str, set[int]] = defaultdict(set)
    for partition in range(PARTITIONS):
        newest = {str(r.key): r for r in read(log, topic, partition)}
        for user, record in newest.items():
            if record.value is not None and user != SENT_ON and not is_erasure_key(user):
                found[user].add(partition)
    return found


def arrived(log: Log) -> Counter[str]:
    """Event id -> records on the home partition of its user."""
    ids: Counter[str] = Counter()
    for partition in range(PARTITIONS):
        values = [r.value for r in read(log, INTERACTIONS, partition) if r.value is not None]
        at_home = [v for v in values if partition_of(str(v["user_id"]), PARTITIONS) == partition]
        ids.update(str(v.get("event_id")) for v in at_home)
    return ids


def scatter(log: Log, values: Iterable[Mapping[str, object]], place: Callable[[str], int]) -> None:
    """Write each value to the partition that a function gives its user."""
    with log.producer("scatter").transaction() as transaction:
        for value in values:
            user = str(value["user_id"])
            transaction.send(INTERACTIONS, value, key=user, partition=place(user), timestamp=1.0)


def by_user(records: Sequence[Mapping[str, object]]) -> dict[str, list[object]]:
    found: defaultdict[str, list[object]] = defaultdict(list)
    for record in records:
        found[str(record["user_id"])].append((record["event_id"], record.get("window")))
    return found


def in_order(
    folder: Path, values: Sequence[Mapping[str, object]], config: Config, past: bool = True
) -> dict[str, list[object]]:
    """Event ids and windows by user, of a gate over one partition with the events in order."""
    log = SqliteLog(folder / "one.sqlite")
    fill(log, [], partitions=1) if past else log.create_topics(pipeline_topics(1))
    write(log, values)
    gate_loop(lambda: SqliteLog(folder / "one.sqlite"), folder, config, instance="one").run()
    return by_user(named(log))


def test_a_client_that_puts_everything_on_one_partition_gives_one_state_a_user(
    open_log: OpenLog, tmp_path: Path
) -> None:
    metrics, log = Metrics(CollectorRegistry()), open_log()
    fill(log, stream(), partition=2, partitions=PARTITIONS)
    gate_loop(open_log, tmp_path, changed(), metrics=metrics).run()
    sent = [v for v in [*map(said, events()[0]), *stream()] if partition_of(str(v["user_id"]), PARTITIONS) != 2]
    assert count(metrics, "repartitioned_total") == len(sent) > STREAM / 2
    assert by_user(named(log)) == in_order(tmp_path, stream(), changed())
    assert homes(log, USERS) == {user: {partition_of(user, PARTITIONS)} for user in users(log)}
    assert max(arrived(log).values()) == 1
    assert letters(log) == []


@pytest.mark.parametrize("point", [Point.COMMITTING, Point.COMMITTED])
def test_killed_while_earlier_events_wait_each_record_is_sent_on_once_and_order_is_event_time(
    open_log: OpenLog, tmp_path: Path, point: Point
) -> None:
    # Longer than the stream: what is sent on comes behind all that is in the log already.
    config, log = changed(gate={"horizon": 2 * STREAM}), open_log()
    log.create_topics(pipeline_topics(PARTITIONS))
    rng = Random(3)
    values = sorted(stream(), key=lambda v: float(str(v["timestamp"])) + rng.uniform(0, 12))
    # Half of them by their key, the others on any partition.
    scatter(log, values, lambda user: rng.choice([partition_of(user, PARTITIONS), rng.randrange(PARTITIONS)]))
    waiting = 0
    for passing in (3, 2, 4, 2):
        with pytest.raises(Killed):
            gate_loop(open_log, tmp_path, config, at=Killer(point, passing), most=24).run()
        waiting += sum(len(read(log, USERS, p)) > 0 and _sent_on(log, p) for p in range(PARTITIONS))
    gate_loop(open_log, tmp_path, config, most=24).run()
    assert waiting > 0, "no death came while a record was sent on ahead of the committed position"
    assert arrived(log) == Counter(str(v["event_id"]) for v in stream())
    found = named(log)
    assert Counter(g["event_id"] for g in found) == Counter(str(v["event_id"]) for v in stream())
    times = defaultdict(list)
    for record in found:
        times[record["user_id"]].append(record["timestamp"])
    assert all(stamps == sorted(stamps) for stamps in times.values())
    assert homes(log, USERS) == {user: {partition_of(user, PARTITIONS)} for user in times}


def _sent_on(log: Log, partition: int) -> bool:
    """True if the committed position of a partition is before a record that was sent on."""
    newest = {r.key: r.value for r in read(log, USERS, partition)}.get(SENT_ON)
    committed = log.committed("gate", INTERACTIONS, partition)
    return newest is not None and any(offset >= committed for offset in newest["ahead"])  # type: ignore[attr-defined]


def test_in_lockstep_events_of_a_wrong_partition_are_gated_as_a_replay_does_killed_or_not(
    open_log: OpenLog, tmp_path: Path
) -> None:
    config = changed(consumers={"lockstep": True})
    values = [said(e, sequence=i, cut=i in (99, STREAM - 1)) for i, e in enumerate(events()[1][:STREAM])]
    fill(open_log(), values, partition=1, partitions=PARTITIONS)
    for passing in (1, 4):
        with pytest.raises(Killed):
            gate_loop(open_log, tmp_path, config, at=Killer(Point.COMMITTING, passing), kind=Settling).run()
    gate_loop(open_log, tmp_path, config, kind=Settling).run()
    expected, names = plan().stream[slice(0, STREAM)], ["", *plan().timeline.item_ids]
    assert [g["event_id"] for g in gated(open_log())] == expected.event_ids.tolist()
    assert [g["window"] for g in gated(open_log())] == [[names[r] for r in c if r] for c in expected.contexts]
    assert max(arrived(open_log()).values()) == 1


@pytest.mark.parametrize("key", [None, "somebody else"])
def test_an_erasure_takes_effect_wherever_it_is_written(open_log: OpenLog, tmp_path: Path, key: str | None) -> None:
    log, user = open_log(), str(stream()[-1]["user_id"])
    fill(log, stream(), partition=None, partitions=PARTITIONS)
    wrong = (partition_of(user, PARTITIONS) + 1) % PARTITIONS
    gate_loop(open_log, tmp_path, changed()).run()
    with log.producer("other").transaction() as transaction:
        value = {"erase": True, "user_id": user}
        transaction.send(INTERACTIONS, value, key=key, partition=wrong, timestamp=5.0)
    gate_loop(open_log, tmp_path, changed()).run()
    assert users(log)[user] is None
    assert user not in homes(log, USERS)
    assert letters(log) == []
    write(log, [{**stream()[-1], "event_id": "new"}], wrong)
    gate_loop(open_log, tmp_path, changed()).run()
    assert gated(log)[-1]["cold"] is True


def send(log: Log, raw: bytes, key: str | None, partition: int) -> None:
    with log.producer("other").transaction() as transaction:
        transaction.send(INTERACTIONS, raw, key=key, partition=partition, timestamp=123.456)


def test_a_record_keeps_its_bytes_and_its_time(open_log: OpenLog, tmp_path: Path) -> None:
    log = open_log()
    log.create_topics(pipeline_topics(PARTITIONS))
    # No JSON that we write: order, space, escapes, a number beyond all floats.
    raw = '{ "user_id" : "ü", "timestamp":1.5e9,\t"item_id":"i",  "more": 1e400 }'.encode()
    home = partition_of("ü", PARTITIONS)
    send(log, raw, None, (home + 1) % PARTITIONS)
    gate_loop(open_log, tmp_path, changed()).run()
    (moved,) = read(log, INTERACTIONS, home)
    assert (moved.raw, moved.key, moved.timestamp) == (raw, "ü", 123.456)
    assert [g["target"] for g in gated(log)] == ["i"]


def test_each_reason_is_counted(open_log: OpenLog, tmp_path: Path) -> None:
    log, metrics = open_log(), Metrics(CollectorRegistry())
    log.create_topics(pipeline_topics(PARTITIONS))
    wrong = (partition_of("ann", PARTITIONS) + 1) % PARTITIONS
    for number, key in enumerate([None, "bob", "bob", "ann"]):
        value = {"user_id": "ann", "item_id": f"i{number}", "timestamp": 1.5e9 + number}
        send(log, json.dumps(value).encode(), key, wrong)
    send(log, b'{"user_id": "ann"}', None, wrong)
    gate_loop(open_log, tmp_path, changed(), metrics=metrics).run()
    lines = [line for line in metrics.expose().decode().splitlines() if line.startswith("raie_repartitioned_total{")]
    assert sorted(lines) == [
        'raie_repartitioned_total{reason="no_key"} 1.0',
        'raie_repartitioned_total{reason="other_key"} 2.0',
        'raie_repartitioned_total{reason="other_partitioner"} 1.0',
    ]
    assert [g["target"] for g in gated(log)] == ["i0", "i1", "i2", "i3"]
    assert [(letter["reason"], letter["partition"]) for letter in letters(log)] == [("missing_item_id", wrong)]


def test_a_record_that_is_too_long_with_a_key_is_a_dead_letter(open_log: OpenLog, tmp_path: Path) -> None:
    log = open_log()
    log.create_topics(pipeline_topics(PARTITIONS))
    user = "u" * 200
    value = {"user_id": user, "item_id": "i", "timestamp": 1.5e9, "more": ""}
    value["more"] = "x" * (MAX_RECORD_BYTES - 150 - len(json.dumps(value)))
    send(log, json.dumps(value).encode(), None, (partition_of(user, PARTITIONS) + 1) % PARTITIONS)
    gate_loop(open_log, tmp_path, changed()).run()
    assert [letter["reason"] for letter in letters(log)] == ["oversize"]
    assert gated(log) == []


def test_records_are_read_with_the_bytes_that_were_written(open_log: OpenLog) -> None:
    log = open_log()
    log.create_topics(pipeline_topics(PARTITIONS))
    write(log, [{"user_id": "u", "b": 1, "a": None}], 0)
    (record,) = read(log, INTERACTIONS, 0)
    assert record.raw == b'{"a":null,"b":1,"user_id":"u"}'
    assert record == Record(INTERACTIONS, 0, 0, "u", {"user_id": "u", "b": 1, "a": None}, 1.0)
