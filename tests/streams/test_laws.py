"""Laws of the log interface, tested on every log."""

import itertools
import math
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from weakref import WeakKeyDictionary

import pytest

from pipeline.errors import LogError
from pipeline.streams import Consumer, FencedError, Log, PartitionLostError, Producer, Record, Topic

WAIT = 20.0
"""Seconds within which a log brings what is there: a broker needs some to let a member join."""

_writers: WeakKeyDictionary[Log, Producer] = WeakKeyDictionary()


def write(
    log: Log, topic: str, numbers: Iterable[int], key: str | None = None, partition: int | None = None
) -> list[tuple[str, int, int]]:
    """Commit {"n": number} for each number in one transaction; return where they went."""
    if log not in _writers:
        _writers[log] = log.producer("test-writer")
    with _writers[log].transaction() as transaction:
        for number in numbers:
            transaction.send(topic, {"n": number}, key=key, partition=partition, timestamp=float(number))
    return transaction.offsets


def numbers(records: Iterable[Record]) -> list[object]:
    return [record.value["n"] if record.value is not None else None for record in records]


def drain(consumer: Consumer) -> list[Record]:
    """Read on until there is no lag. An empty poll means no more than that nothing came in time."""
    records: list[Record] = []
    deadline = time.monotonic() + WAIT
    while time.monotonic() < deadline:
        batch = consumer.poll(7, 0.02)
        records += batch
        if not batch and consumer.assignment and consumer.lag() == 0:
            return records
    raise AssertionError(f"still behind by {consumer.lag()} after {WAIT} s, with {consumer.assignment}")


def rebalance(shares: list[int], *members: Consumer) -> list[Record]:
    """Let the members poll in turns until they hold so many partitions each; return what they read meanwhile.

    No partition is ever held twice.
    """
    records: list[Record] = []
    deadline = time.monotonic() + WAIT
    while [len(member.assignment) for member in members] != shares:
        assert time.monotonic() < deadline, [member.assignment for member in members]
        for member in members:
            records += member.poll(1, 0.02)
            held = [where for each in members for where in each.assignment]
            assert len(held) == len(set(held))
    return records


def commit(log: Log, consumer: Consumer) -> None:
    with log.producer("test-committer").transaction() as transaction:
        transaction.commit_offsets(consumer)


def everything(log: Log, topic: str, partition: int = 0) -> list[Record]:
    return list(log.read(topic, partition, 0, log.end_offset(topic, partition)))


def test_records_of_a_partition_come_back_in_order_and_whole(log: Log) -> None:
    with log.producer("p").transaction() as transaction:
        transaction.send("one", {"b": [1, None, "ü"], "a": {"x": 0.1}}, key="schlüssel-鍵-🔑", timestamp=1.5)
        transaction.send("one", {}, timestamp=0.0)
    consumer = log.consumer("g", ["one"], "a")
    first, second = drain(consumer)
    assert first.value == {"a": {"x": 0.1}, "b": [1, None, "ü"]}
    assert (first.topic, first.partition, first.key, first.timestamp) == ("one", 0, "schlüssel-鍵-🔑", 1.5)
    assert (second.value, second.key, second.timestamp) == ({}, None, 0.0)
    assert first.offset < second.offset


def test_offsets_grow_over_transactions_and_are_known_after_the_commit(log: Log) -> None:
    written = write(log, "one", range(5)) + write(log, "one", range(5, 600))
    read = everything(log, "one")
    assert numbers(read) == list(range(600))
    assert [(r.topic, r.partition, r.offset) for r in read] == written
    assert all(a.offset < b.offset for a, b in itertools.pairwise(read))
    assert log.end_offset("one", 0) > read[-1].offset


def test_offsets_follow_the_order_of_sending_over_topics(log: Log) -> None:
    with log.producer("p").transaction() as transaction:
        for number in range(20):
            transaction.send(("one", "many")[number % 2], {"n": number}, partition=0, timestamp=0.0)
        assert transaction.offsets == []
    assert len(transaction.offsets) == 20
    for number, (topic, partition, offset) in enumerate(transaction.offsets):
        assert numbers(log.read(topic, partition, offset, offset + 1)) == [number]


def test_nothing_is_visible_before_the_commit(log: Log) -> None:
    consumer = log.consumer("g", ["one"], "a")
    with log.producer("p").transaction() as transaction:
        transaction.send("one", {"n": 1}, timestamp=0.0)
        assert consumer.poll(10, 0.0) == []
        assert everything(log, "one") == []
    assert numbers(drain(consumer)) == [1]


def test_an_abort_leaves_nothing_visible_neither_records_nor_offsets(log: Log) -> None:
    write(log, "one", range(3))
    consumer = log.consumer("g", ["one"], "a")
    assert len(drain(consumer)) == 3
    before = consumer.committed("one", 0)
    with pytest.raises(ZeroDivisionError), log.producer("p").transaction() as transaction:
        transaction.send("one", {"n": 99}, timestamp=0.0)
        transaction.send("many", {"n": 99}, partition=2, timestamp=0.0)
        transaction.commit_offsets(consumer)
        raise ZeroDivisionError
    write(log, "one", [3])
    assert numbers(everything(log, "one")) == [0, 1, 2, 3]
    assert everything(log, "many", 2) == []
    assert consumer.committed("one", 0) == before
    assert numbers(drain(consumer)) == [3]
    assert transaction.offsets == []


def test_the_producer_goes_on_after_an_abort(log: Log) -> None:
    producer = log.producer("p")
    with pytest.raises(ZeroDivisionError), producer.transaction():
        raise ZeroDivisionError
    with producer.transaction() as transaction:
        transaction.send("one", {"n": 1}, timestamp=0.0)
    assert numbers(everything(log, "one")) == [1]


def test_offsets_and_records_commit_together(log: Log) -> None:
    write(log, "one", range(10))
    consumer = log.consumer("g", ["one"], "a")
    batch = consumer.poll(4, WAIT)
    with log.producer("p").transaction() as transaction:
        for record in batch:
            transaction.send("many", record.value, partition=1, timestamp=record.timestamp)
        transaction.commit_offsets(consumer)
    assert numbers(everything(log, "many", 1)) == [0, 1, 2, 3]
    assert consumer.committed("one", 0) == consumer.position("one", 0)


def test_a_fenced_producer_is_refused_and_leaves_nothing(log: Log) -> None:
    write(log, "one", range(2))
    consumer = log.consumer("g", ["one"], "a")
    drain(consumer)
    old = log.producer("same")
    new = log.producer("same")
    with pytest.raises(FencedError, match="same"), old.transaction() as transaction:
        transaction.send("many", {"n": 1}, partition=0, timestamp=0.0)
        transaction.commit_offsets(consumer)
    assert everything(log, "many") == []
    with new.transaction() as transaction:
        transaction.send("many", {"n": 2}, partition=0, timestamp=0.0)
    assert numbers(everything(log, "many")) == [2]
    consumer.close()
    assert len(drain(log.consumer("g", ["one"], "a"))) == 2


def test_a_producer_fenced_inside_its_transaction_leaves_nothing(log: Log) -> None:
    old = log.producer("same")
    with pytest.raises(FencedError), old.transaction() as transaction:
        transaction.send("one", {"n": 1}, timestamp=0.0)
        log.producer("same")
    assert everything(log, "one") == []


def test_a_restart_continues_at_the_committed_offset(log: Log) -> None:
    write(log, "one", range(10))
    crashed = log.consumer("g", ["one"], "a")
    assert numbers(crashed.poll(4, WAIT)) == [0, 1, 2, 3]
    commit(log, crashed)
    assert numbers(crashed.poll(4, WAIT)) == [4, 5, 6, 7]
    restarted = log.consumer("g", ["one"], "a")
    assert numbers(drain(restarted)) == [4, 5, 6, 7, 8, 9]


def test_a_newer_consumer_of_the_same_instance_fences_the_older(log: Log) -> None:
    write(log, "one", range(3))
    old = log.consumer("g", ["one"], "a")
    drain(old)
    new = log.consumer("g", ["one"], "a")
    assert len(drain(new)) == 3
    with pytest.raises(LogError), log.producer("p").transaction() as transaction:
        transaction.commit_offsets(old)
    # A broker informs a member at its next heartbeat.
    deadline = time.monotonic() + WAIT
    with pytest.raises(FencedError, match="group g"):
        while time.monotonic() < deadline:
            old.poll(1, 0.02)
    assert new.committed("one", 0) == 0


def test_groups_are_independent(log: Log) -> None:
    write(log, "one", range(5))
    first, second = log.consumer("g", ["one"], "a"), log.consumer("h", ["one"], "a")
    assert numbers(drain(first)) == list(range(5))
    commit(log, first)
    assert second.committed("one", 0) == 0
    assert numbers(drain(second)) == list(range(5))


def test_members_share_without_overlap_and_hand_over_upon_close(log: Log) -> None:
    for partition in range(4):
        write(log, "many", [partition], partition=partition)
    first = log.consumer("g", ["many"], "a")
    assert len(drain(first)) == 4
    commit(log, first)
    second = log.consumer("g", ["many"], "b")
    rebalance([2, 2], first, second)
    assert sorted(first.assignment + second.assignment) == [("many", n) for n in range(4)]
    first.close()
    for partition in range(4):
        write(log, "many", [10 + partition], partition=partition)
    records = rebalance([4], second)
    assert sorted(map(str, numbers(records + drain(second)))) == ["10", "11", "12", "13"]


def test_a_member_that_lost_a_partition_cannot_commit_it(log: Log) -> None:
    write(log, "one", range(3))
    first = log.consumer("g", ["one"], "a")
    drain(first)
    with pytest.raises(PartitionLostError, match=r"one\S*/0"), log.producer("p").transaction() as transaction:
        transaction.send("many", {"n": 1}, partition=0, timestamp=0.0)
        transaction.commit_offsets(first)
        first.close()
        drain(log.consumer("g", ["one"], "b"))
    assert everything(log, "many") == []


def test_a_standby_takes_a_single_partition_only_when_its_owner_leaves(log: Log) -> None:
    # Named so that the order of names and the order of joining differ.
    active = log.consumer("g", ["one", "short"], "z")
    rebalance([2], active)
    standby = log.consumer("g", ["one", "short"], "a")
    deadline = time.monotonic() + 1.0
    while time.monotonic() < deadline:
        active.poll(1, 0.02)
        standby.poll(1, 0.02)
        assert active.assignment == [("one", 0), ("short", 0)]
        assert standby.assignment == []
    active.close()
    rebalance([2], standby)
    assert standby.assignment == [("one", 0), ("short", 0)]


def test_partitions_of_equal_number_stay_together(log: Log) -> None:
    members = [log.consumer("g", ["many", "many_too"], name) for name in "ab"]
    rebalance([4, 4], *members)
    for member in members:
        held = member.assignment
        assert {n for topic, n in held if topic == "many"} == {n for topic, n in held if topic == "many_too"}


def test_pause_holds_records_back_and_resume_brings_them(log: Log) -> None:
    write(log, "one", range(3))
    write(log, "many", range(3), partition=1)
    consumer = log.consumer("g", ["one", "many"], "a")
    rebalance([5], consumer)
    consumer.seek("one", 0, 0)
    consumer.pause([("one", 0)])
    # What is paused is not waited for.
    assert {record.topic for record in drain(consumer)} <= {"many"}
    assert consumer.position("one", 0) == 0
    consumer.resume([("one", 0)])
    assert consumer.lag() >= 3
    assert {record.topic for record in drain(consumer)} == {"one"}


def test_seek_goes_back_and_forth(log: Log) -> None:
    written = write(log, "one", range(5))
    consumer = log.consumer("g", ["one"], "a")
    drain(consumer)
    consumer.seek("one", 0, written[3][2])
    assert numbers(drain(consumer)) == [3, 4]


def test_only_assigned_partitions_have_a_position(log: Log) -> None:
    consumer = log.consumer("g", ["one"], "a")
    for call in (
        lambda: consumer.position("many", 0),
        lambda: consumer.seek("many", 0, 0),
        lambda: consumer.pause([("many", 0)]),
    ):
        with pytest.raises(LogError, match=r"many\S*/0 is not assigned"):
            call()


def test_no_partition_starves_when_a_poll_takes_few(log: Log) -> None:
    for partition in range(4):
        write(log, "many", range(50), partition=partition)
    consumer = log.consumer("g", ["many"], "a")
    seen = []
    for _ in range(40):
        seen += [record.partition for record in consumer.poll(1, WAIT)]
        # A broker brings some partitions a little later; from then on they take turns, and none is read to its end.
        time.sleep(0.01)
    assert set(seen) == {0, 1, 2, 3}
    assert {record.partition for record in consumer.poll(8, WAIT)} == {0, 1, 2, 3}


def test_lag_falls_to_nothing_even_after_an_abort(log: Log) -> None:
    write(log, "one", range(3))
    consumer = log.consumer("g", ["one"], "a")
    consumer.poll(1, WAIT)
    # A broker counts the end of a transaction too.
    assert consumer.lag() >= 2
    with pytest.raises(ZeroDivisionError), log.producer("p").transaction() as transaction:
        transaction.send("one", {"n": 99}, timestamp=0.0)
        raise ZeroDivisionError
    assert numbers(drain(consumer)) == [1, 2]
    assert consumer.lag() == 0
    write(log, "one", [3])
    # The end is read first: it waits for what this log wrote, and the lag of a broker may be older.
    assert log.end_offset("one", 0) > consumer.position("one", 0)
    assert consumer.lag() >= 1


def test_reading_a_range_returns_that_range(log: Log) -> None:
    written = write(log, "one", range(1500))
    assert numbers(log.read("one", 0, written[3][2], written[7][2])) == [3, 4, 5, 6]
    assert numbers(log.read("one", 0, written[600][2], written[1300][2])) == list(range(600, 1300))
    assert list(log.read("one", 0, written[3][2], written[3][2])) == []
    assert numbers(log.read("one", 0, written[1498][2], log.end_offset("one", 0) + 100)) == [1498, 1499]


def test_reading_offsets_returns_their_records_and_no_others(log: Log) -> None:
    at = [offset for _, _, offset in write(log, "one", range(1500))]
    wanted = [1499, 3, *range(600, 1200), 3, 1201]
    assert numbers(log.read_at("one", 0, [at[number] for number in wanted])) == sorted(set(wanted))
    assert numbers(log.read_at("one", 0, [at[7], log.end_offset("one", 0) + 5])) == [7]
    assert list(log.read_at("one", 0, [])) == []


def test_reading_offsets_without_a_record_leaves_them_out(log: Log) -> None:
    # On a broker a transaction's end takes an offset, as an aborted record does in memory.
    at = [offset for _, _, offset in write(log, "one", [0, 1])]
    with pytest.raises(ZeroDivisionError), log.producer("p").transaction() as transaction:
        transaction.send("one", {"n": 99}, timestamp=0.0)
        raise ZeroDivisionError
    at += [offset for _, _, offset in write(log, "one", [2])]
    inside = range(at[0], log.end_offset("one", 0))
    assert numbers(log.read_at("one", 0, inside)) == [0, 1, 2]
    for empty in set(inside) - set(at):
        assert list(log.read_at("one", 0, [empty])) == []
        assert numbers(log.read_at("one", 0, [at[0], empty])) == [0]


def test_reading_offsets_that_are_deleted_names_them(log: Log) -> None:
    at = [offset for _, _, offset in write(log, "short", range(10))]
    log.delete_before("short", 0, at[4])
    with pytest.raises(LogError, match=rf"offsets {at[1]}\.\.{at[3]} of short\S*/0 are already"):
        log.read_at("short", 0, [at[6], at[3], at[1]])
    assert numbers(log.read_at("short", 0, [at[6], at[4]])) == [4, 6]


def test_reading_deleted_offsets_names_them(log: Log) -> None:
    written = write(log, "short", range(10))
    log.delete_before("short", 0, written[4][2])
    with pytest.raises(LogError, match=rf"offsets {written[2][2]}\.\.{written[3][2]} of short\S*/0 are already"):
        log.read("short", 0, written[2][2], written[8][2])
    assert numbers(log.read("short", 0, written[4][2], written[6][2])) == [4, 5]


def test_a_group_that_lost_records_learns_which(log: Log) -> None:
    written = write(log, "short", range(10))
    consumer = log.consumer("g", ["short"], "a")
    consumer.poll(2, WAIT)
    commit(log, consumer)
    # Closed meanwhile: what a client has fetched is not lost to it.
    consumer.close()
    log.delete_before("short", 0, written[5][2])
    consumer = log.consumer("g", ["short"], "a")
    for _ in range(2):
        with pytest.raises(
            LogError, match=rf"group \S*g\S* lost offsets {written[2][2]}\.\.{written[4][2]} of \S*short\S*/0"
        ):
            consumer.poll(1, WAIT)
    consumer.seek("short", 0, written[5][2])
    assert numbers(drain(consumer)) == [5, 6, 7, 8, 9]
    assert numbers(drain(log.consumer("new", ["short"], "a"))) == [5, 6, 7, 8, 9]


def test_tombstones_come_through(log: Log) -> None:
    with log.producer("p").transaction() as transaction:
        transaction.send("table", {"n": 1}, key="k", timestamp=1.0)
        transaction.send("table", None, key="k", timestamp=2.0)
    assert [(r.key, r.value) for r in drain(log.consumer("g", ["table"], "a"))] == [("k", {"n": 1}), ("k", None)]


def test_a_key_always_goes_to_the_same_partition(log: Log) -> None:
    partitions = {key: {write(log, "many", [0], key=key)[0][1] for _ in range(2)} for key in map(str, range(40))}
    assert all(len(where) == 1 for where in partitions.values())
    assert set.union(*partitions.values()) == {0, 1, 2, 3}
    # Written down, since a change would tear users apart from what was recorded of them.
    assert {key: write(log, "many", [0], key=key)[0][1] for key in ("u1", "u2", "ü", "")} == {
        "u1": 0,
        "u2": 2,
        "ü": 2,
        "": 1,
    }


def test_a_key_or_text_with_a_lone_surrogate_survives(log: Log) -> None:
    with log.producer("p").transaction() as transaction:
        transaction.send("one", {"text": "\ud800"}, key="\udfff", timestamp=0.0)
    (record,) = everything(log, "one")
    assert (record.key, record.value) == ("\udfff", {"text": "\ud800"})


@pytest.mark.parametrize(
    "value",
    [
        {"x": math.nan},
        {"x": [math.inf]},
        {"x": object()},
        {"x": "a" * 1_000_001},
        [1],
        {1: 2, "1": 3, "a": {2: 1, "b": 1}},
    ],
    ids=["nan", "infinity", "object", "oversize", "list", "mixed keys"],
)
def test_what_is_no_json_object_is_refused_and_harms_nothing(log: Log, value: object) -> None:
    with log.producer("p").transaction() as transaction:
        with pytest.raises(LogError, match=r"topic one\S*, key 'k'"):
            transaction.send("one", value, key="k", timestamp=0.0)  # type: ignore[arg-type]
        transaction.send("one", {"n": 1}, timestamp=0.0)
    assert numbers(everything(log, "one")) == [1]


@pytest.mark.parametrize("timestamp", [math.nan, math.inf, -1.0, 1e300])
def test_a_timestamp_no_broker_could_keep_is_refused(log: Log, timestamp: float) -> None:
    with log.producer("p").transaction() as transaction, pytest.raises(LogError, match="timestamp"):
        transaction.send("one", {}, timestamp=timestamp)


def test_event_time_is_kept_to_the_millisecond(log: Log) -> None:
    with log.producer("p").transaction() as transaction:
        transaction.send("one", {}, timestamp=1_700_000_000.12345)
    assert everything(log, "one")[0].timestamp == 1_700_000_000.123


def test_a_record_tells_when_it_was_written_however_old_its_event(log: Log) -> None:
    before = time.time()
    write(log, "one", [0])
    between = time.time()
    write(log, "one", [1, 2])
    after = time.time()
    consumer = log.consumer("g", ["one"], "a")
    polled = [record.written_at for record in drain(consumer)]
    assert polled == [record.written_at for record in everything(log, "one")]
    first, second, third = (at for at in polled if at is not None)
    # Times are kept to the millisecond, so one may be rounded by half of it.
    assert before - 0.001 < first < between + 0.001
    assert between - 0.001 < second < after + 0.001
    assert second == third, "a transaction is written at one time"


def test_a_reader_cannot_change_what_another_reads(log: Log) -> None:
    sent: dict[str, object] = {"n": [1]}
    with log.producer("p").transaction() as transaction:
        transaction.send("one", sent, timestamp=0.0)
        sent["n"] = "changed before the commit"
    value = everything(log, "one")[0].value
    assert isinstance(value, dict)
    value["n"] = "changed after the reading"
    assert numbers(everything(log, "one")) == [[1]]


def test_topics_are_created_once_and_never_changed(log: Log) -> None:
    write(log, "many", [1], partition=3)
    log.create_topics([Topic("many", 4), Topic("new_one", 2)])
    assert log.end_offset("many", 3) > 0
    assert log.end_offset("new_one", 1) == 0
    with pytest.raises(LogError, match=r"many\S* exists with partitions=4"):
        log.create_topics([Topic("many", 5)])
    with pytest.raises(LogError, match="at least 1 partition"):
        Topic("none", 0)


def test_what_does_not_exist_is_named(log: Log) -> None:
    with log.producer("p").transaction() as transaction:
        with pytest.raises(LogError, match="no topic nowhere"):
            transaction.send("nowhere", {}, timestamp=0.0)
        with pytest.raises(LogError, match=r"many\S* has partitions 0\.\.3, not 4"):
            transaction.send("many", {}, partition=4, timestamp=0.0)
        with pytest.raises(LogError, match=r"table\S* is compacted: each of its records needs a key"):
            transaction.send("table", {}, timestamp=0.0)
    with pytest.raises(LogError, match="nowhere"):
        log.consumer("g", ["nowhere"], "a")
    with pytest.raises(LogError, match="9"):
        log.end_offset("many", 9)
    with pytest.raises(LogError, match=r"offset -1 of one\S*/0 does not exist"):
        log.read("one", 0, -1, 5)


def test_transactions_of_a_producer_neither_nest_nor_outlive_their_block(log: Log) -> None:
    producer = log.producer("p")
    with (
        producer.transaction() as transaction,
        pytest.raises(LogError, match="has a transaction open"),
        producer.transaction(),
    ):
        pass
    with pytest.raises(LogError, match="has ended"):
        transaction.send("one", {}, timestamp=0.0)


def test_a_closed_consumer_says_so(log: Log) -> None:
    consumer = log.consumer("g", ["one"], "a")
    consumer.close()
    consumer.close()
    with pytest.raises(LogError, match="closed"):
        consumer.poll(1, 0.0)


def test_threads_share_a_log(log: Log) -> None:
    def work(name: int) -> None:
        producer = log.producer(f"thread-{name}")
        for _ in range(20):
            with producer.transaction() as transaction:
                for _ in range(5):
                    transaction.send("one", {"n": name}, timestamp=0.0)

    with ThreadPoolExecutor(4) as pool:
        done = [pool.submit(work, name) for name in range(4)]
        while not all(future.done() for future in done):
            assert len(everything(log, "one")) % 5 == 0
        assert [future.result() for future in done] == [None] * 4
    names = numbers(everything(log, "one"))
    assert sorted(map(str, names)) == sorted(map(str, [*range(4)] * 100))
    assert all(len(set(names[at : at + 5])) == 1 for at in range(0, 400, 5))


def test_an_idle_poll_waits_no_longer_than_asked(log: Log) -> None:
    consumer = log.consumer("g", ["one"], "a")
    assert consumer.poll(1, 0.05) == []


def test_a_deleted_topic_is_gone_with_its_records_and_no_other_is(log: Log) -> None:
    write(log, "one", range(3))
    write(log, "short", range(2))
    log.delete_topics(["one", "nowhere"])
    deadline = time.monotonic() + WAIT
    while not (found := log.problems([Topic("one"), Topic("short", 1, "while needed")])):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert [problem.endswith("does not exist") for problem in found] == [True]
    assert numbers(everything(log, "short")) == [0, 1]


def test_a_consumer_keeps_its_partitions_where_a_topic_of_others_is_deleted(log: Log) -> None:
    consumer = log.consumer("g", ["short"], "a")
    write(log, "short", range(2))
    assert numbers(drain(consumer)) == [0, 1]
    # Whoever has partitions is asked again, as another member comes.
    log.consumer("g", ["short"], "b")
    log.delete_topics(["one"])
    consumer.poll(1, 0.02)
    assert consumer.assignment == [("short", 0)]
    write(log, "short", [2])
    assert numbers(drain(consumer)) == [2]
