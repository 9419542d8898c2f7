"""The loop: nothing is lost or duplicated, whatever ends it and at any point."""

import time
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from threading import Event, Thread

import pytest

from consumers.runtime.stage import Output, Point, Turn
from pipeline.errors import LogError
from pipeline.streams import Consumer, FencedError, Log, MemoryLog, RecordsLostError, SqliteLog, UnavailableError
from pipeline.streams.group_consumer import GroupConsumer
from tests.consumers.adder import Adder, expected, fill, loop_of, written

OpenLog = Callable[[], Log]


class Kept(MemoryLog):
    """A memory log that stays open when its members close it."""

    def close(self) -> None:
        pass


class Killed(BaseException):
    """Simulates kill -9: nothing in the code under test may handle it."""


class Killer:
    """Kills at the n-th passing of a point."""

    def __init__(self, point: Point, passing: int) -> None:
        self._point, self._left = point, passing

    def __call__(self, point: Point) -> None:
        self._left -= point is self._point
        if point is self._point and self._left == 0:
            raise Killed


@pytest.fixture(params=["memory", "sqlite"])
def open_log(request: pytest.FixtureRequest, tmp_path: Path) -> OpenLog:
    memory = Kept()
    return (lambda: memory) if request.param == "memory" else (lambda: SqliteLog(tmp_path / "log.db", lease=1.0))


def run_to_the_end(open_log: OpenLog, points: Sequence[Point], passing: int = 2, hold: int = 1) -> int:
    """Run, killed once at each of the points; return the number of kills."""
    killed = 0
    for point in points:
        try:
            loop_of(open_log, at=Killer(point, passing), hold=hold).run()
        except Killed:
            killed += 1
    loop_of(open_log, hold=hold).run()
    return killed


def test_everything_is_handled_once_and_in_order(open_log: OpenLog) -> None:
    fill(open_log(), 50)
    loop_of(open_log).run()
    assert written(open_log()) == expected(50)
    fill(open_log(), 30, start=50)
    loop_of(open_log).run()
    assert written(open_log()) == expected(80)


@pytest.mark.parametrize("point", [p for p in Point if p not in (Point.SAVING, Point.RESTORED)])
def test_a_death_at_any_point_loses_nothing_and_repeats_nothing(open_log: OpenLog, point: Point) -> None:
    fill(open_log(), 60)
    assert run_to_the_end(open_log, [point] * 3) == 3
    assert written(open_log()) == expected(60)


def test_deaths_right_after_restoring_do_no_harm(open_log: OpenLog) -> None:
    fill(open_log(), 30)
    assert run_to_the_end(open_log, [Point.RESTORED, Point.COMMITTED, Point.RESTORED], passing=1) == 3
    assert written(open_log()) == expected(30)


def test_a_stage_may_wait_for_more_before_anything_is_written(open_log: OpenLog) -> None:
    fill(open_log(), 60)
    assert run_to_the_end(open_log, [Point.HANDLED, Point.POLLED, Point.COMMITTED], hold=12) == 3
    assert written(open_log()) == expected(60)


def test_a_batch_whose_partition_was_lost_is_dropped_with_all_that_it_changed(open_log: OpenLog) -> None:
    log = open_log()
    fill(log, 60)
    stop = Event()
    stage = Adder(stop)
    other: list[Consumer] = []

    def lose(point: Point) -> None:
        # One partition of four: what the batch changed in the others must go all the same.
        if point is Point.HANDLED and not other and stage.sums and any(stage.sums.values()):
            other.append(take_over(open_log(), [0]))
            other[0].close()

    loop_of(open_log, at=lose, stage=stage, stop=stop).run()
    assert len(other) == 1
    assert len(stage.restored) > 4
    assert written(open_log()) == expected(60)


def take_over(log: Log, partitions: Sequence[int]) -> Consumer:
    """Join the group, and hold partitions that another member still considers its own."""
    consumer = log.consumer("adder", ["in"], "b")
    assert isinstance(consumer, GroupConsumer)
    if isinstance(log, MemoryLog):
        log._groups["adder"].owners |= {("in", p): (consumer.token, 0) for p in partitions}
    elif isinstance(log, SqliteLog):
        with log._database.write() as connection:
            for partition in partitions:
                connection.execute(
                    "UPDATE owners SET token = ?, claim = 0 WHERE number = ?", (consumer.token, partition)
                )
    return consumer


def test_state_is_made_anew_where_a_partition_went_and_came_back_between_two_polls(open_log: OpenLog) -> None:
    fill(open_log(), 10)
    stop = Event()
    stage = Adder(stop)
    away: list[int] = []

    def go_away(point: Point) -> None:
        if point is Point.COMMITTED and not away:
            away.append(1)
            take_over(open_log(), range(4)).close()

    loop_of(open_log, at=go_away, stage=stage, stop=stop).run()
    assert sorted(stage.restored) == sorted(2 * [("in", p) for p in range(4)])
    assert written(open_log()) == expected(10)


def test_two_members_share_the_partitions_and_sums_move_with_them(open_log: OpenLog) -> None:
    fill(open_log(), 30)
    loop_of(open_log).run()
    stops = [Event(), Event()]
    stages = [Patient(stop) for stop in stops]
    loops = [loop_of(open_log, name, stage=s, stop=e) for name, s, e in zip("ab", stages, stops, strict=True)]
    threads = [Thread(target=loop.run) for loop in loops]
    threads[0].start()
    until(lambda: len(stages[0].sums) == 4)
    threads[1].start()
    until(lambda: len(stages[0].sums) == 2 and len(stages[1].sums) == 2)
    fill(open_log(), 60, start=30)
    until(lambda: written(open_log()) == expected(90))
    assert sorted(p for stage in stages for p in stage.sums) == [0, 1, 2, 3]
    for stop, thread in zip(stops, threads, strict=True):
        stop.set()
        thread.join()
    assert all(stage.closed for stage in stages)


class Patient(Adder):
    """Runs until it is stopped."""

    def handle(self, turn: Turn) -> Sequence[Output] | None:
        return super().handle(turn) if turn.records else ()


def until(condition: Callable[[], bool]) -> None:
    """Wait for a condition, and fail after a time that suffices on a slow and busy machine."""
    waiting, end = Event(), time.monotonic() + 180.0
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        waiting.wait(0.01)


def test_who_stands_by_is_not_asked(open_log: OpenLog) -> None:
    fill(open_log(), 5)
    log, polls, stop = open_log(), [], Event()
    owners = [log.consumer("adder", ["in"], name) for name in "abcd"]
    while not all(len(owner.assignment) == 1 for owner in owners):
        for owner in owners:
            owner.poll(1, 0.0)

    def count(point: Point) -> None:
        polls.append(point)
        if len(polls) == 5:
            stop.set()

    stage = Adder(stop)
    loop_of(open_log, "e", at=count, stage=stage, stop=stop).run()
    assert polls == [Point.POLLED] * 5
    assert stage.restored == []


def test_a_log_out_of_reach_is_opened_anew(tmp_path: Path) -> None:
    fill(SqliteLog(tmp_path / "log.db"), 40)
    failures = iter([True, False, True, True, False])

    def open_log() -> Log:
        if next(failures, False):
            raise UnavailableError("the broker is away")
        return SqliteLog(tmp_path / "log.db")

    died: list[int] = []

    def fail_once(point: Point) -> None:
        if point is Point.PUBLISHING and not died:
            died.append(1)
            raise UnavailableError("the connection broke")

    said: list[str] = []
    loop_of(open_log, at=fail_once, said=said).run()
    assert written(SqliteLog(tmp_path / "log.db")) == expected(40)
    assert said == [
        "the broker is away; trying again in 0.01 s",
        "the connection broke; trying again in 0.02 s",
        "the broker is away; trying again in 0.04 s",
        "the broker is away; trying again in 0.04 s",
    ]


def test_a_stage_prepares_before_it_joins_its_group_each_time(open_log: OpenLog) -> None:
    fill(open_log(), 20)
    others: list[int] = []

    class Preparing(Adder):
        def prepare(self, log: Log) -> None:
            with closing(log.consumer("adder", ["in"], "b")) as other:
                until(lambda: joined(other))
                others.append(len(other.assignment))

    def joined(other: Consumer) -> bool:
        other.poll(1, 0.0)
        return bool(other.assignment)

    failed: list[int] = []

    def fail_once(point: Point) -> None:
        if point is Point.COMMITTING and not failed:
            failed.append(1)
            raise UnavailableError("the connection broke")

    stop = Event()
    loop_of(open_log, at=fail_once, stage=Preparing(stop), stop=stop).run()
    assert others == [4, 4]
    assert written(open_log()) == expected(20)


def test_a_stage_without_partitions_stands_by(open_log: OpenLog) -> None:
    log = open_log()
    fill(log, 20)
    others = [log.consumer("adder", ["in"], f"b{number}") for number in range(4)]
    stood: list[int] = []

    class Standing(Adder):
        def stand_by(self, turn: Turn) -> None:
            stood.append(len(turn.consumer.assignment))
            for other in others:
                other.poll(1, 0.0)
                if len(stood) == 3:
                    other.close()

    stop = Event()
    loop_of(open_log, stage=Standing(stop), stop=stop).run()
    assert stood[:3] == [0, 0, 0]
    assert written(open_log()) == expected(20)


def test_what_cannot_be_prepared_is_restored_with_the_partitions(open_log: OpenLog) -> None:
    fill(open_log(), 20)

    class Waiting(Adder):
        def prepare(self, log: Log) -> None:
            raise UnavailableError(f"{len(log.problems([]))} transactions are open")

    stop, said = Event(), list[str]()
    loop_of(open_log, stage=Waiting(stop), stop=stop, said=said).run()
    assert said == ["0 transactions are open; state is restored once there are partitions"]
    assert written(open_log()) == expected(20)


def test_an_older_process_of_an_instance_stops_when_a_newer_one_takes_over(open_log: OpenLog) -> None:
    fill(open_log(), 20)

    def replace(point: Point) -> None:
        if point is Point.HANDLING:
            open_log().producer("adder-a")

    with pytest.raises(FencedError, match="adder-a was replaced by a newer one"):
        loop_of(open_log, at=replace).run()
    loop_of(open_log).run()
    assert written(open_log()) == expected(20)


def test_records_that_retention_took_stop_the_stage_and_are_named(open_log: OpenLog) -> None:
    log = open_log()
    fill(log, 40)
    stage = Adder(Event())
    with pytest.raises(Killed):
        loop_of(open_log, at=Killer(Point.COMMITTED, 1), stage=stage, max_records=2).run()
    assert isinstance(log, SqliteLog | MemoryLog)
    fullest = max(range(log.topic("in").partitions), key=lambda partition: log.end_offset("in", partition))
    log.delete_before("in", fullest, log.end_offset("in", fullest))
    with pytest.raises(RecordsLostError, match=rf"group adder lost offsets \d+\.\.\d+ of in/{fullest}"):
        loop_of(open_log).run()


def test_what_a_log_refuses_stops_the_stage(open_log: OpenLog) -> None:
    fill(open_log(), 1)

    class Wrong(Adder):
        def handle(self, turn: Turn) -> Sequence[Output] | None:
            return [Output("sums", {"n": len(turn.records)}, None, 0.0)]

    stage = Wrong(Event())
    with pytest.raises(LogError, match="each of its records needs a key"):
        loop_of(open_log, stage=stage).run()
    assert stage.closed


def test_a_stopped_loop_leaves_its_partitions_to_others(open_log: OpenLog) -> None:
    fill(open_log(), 5)
    loop_of(open_log).run()
    log = open_log()
    other = log.consumer("adder", ["in"], "b")
    other.poll(1, 0.0)
    assert len(other.assignment) == 4
