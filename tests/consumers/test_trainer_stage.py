"""The trainer stage with its child, its partitions and edits."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from threading import Event
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from consumers.runtime.health import LoopHealth
from consumers.runtime.loop import Loop
from consumers.runtime.topic_reader import new_records, value_of
from consumers.trainer.child_process import TrainingChild
from consumers.trainer.stage import TrainerStage
from consumers.trainer.worker import NICENESS
from pipeline.config import ConsumerSettings
from pipeline.errors import RaieError
from pipeline.events.edit import Operation
from pipeline.streams import Log, MemoryLog, UnavailableError
from pipeline.streams.topics import EDITS, OUTCOMES, REGIONS, pipeline_topics
from pipeline.telemetry import Metrics
from tests.consumers.run_of_raie import the_run

SETTINGS = ConsumerSettings(poll_timeout=0.001, backoff=0.001, longest_backoff=0.002)


class Script(TrainingChild):
    """Child that needs so many polls for each job, and then returns the result of a replay.

    Attributes:
        jobs: edit id and next revision of each job begun.
        stopped: edits of the jobs that were stopped before they were done.
        meanwhile: called at each poll.
    """

    def __init__(self, polls: int = 3, meanwhile: Callable[[], None] = lambda: None) -> None:
        super().__init__({})
        self.jobs: list[tuple[str, int]] = []
        self.stopped: list[str] = []
        self.meanwhile = meanwhile
        self._polls, self._left = polls, 0
        self._at: str | None = None

    def begin(self, job: Mapping[str, Any]) -> None:
        assert self._at is None or self._left <= 0
        self._at, self._left = job["edit"]["edit_id"], self._polls
        self.jobs.append((self._at, job["next_revision"]))

    def result(self) -> Mapping[str, Any] | None:
        self.meanwhile()
        self._left -= 1
        if self._left > 0 or self._at is None:
            return None
        outcome = next(o for o in the_run().outcomes if o.key == self._at)
        revision = [r.value for r in the_run().regions if r.value is not None and r.value["edit_id"] == self._at]
        return {"outcome": outcome.value, "revision": revision[0] if revision else None, "seconds": 0.0}

    def stop(self) -> None:
        if self._at is not None and self._left > 0:
            self.stopped.append(self._at)
        self._at = None


class Member:
    """Trainer that is run turn by turn."""

    def __init__(self, log: Log, instance: str, child: TrainingChild) -> None:
        self.stage = TrainerStage(child, Metrics(CollectorRegistry()))
        self._stop = Event()
        health = LoopHealth(Metrics(CollectorRegistry()), lambda: 0.0, lambda _: None)
        self._loop = Loop(self.stage, lambda: log, instance, SETTINGS, 1, self._stop, health)
        self._member = self._loop._join()
        self._joined = self._member.__enter__()

    def turns(self, count: int = 1) -> None:
        for _ in range(count):
            self._loop._turn(self._joined)

    def leave(self) -> None:
        self._member.__exit__(None, None, None)


def edits(log: Log, chosen: Sequence[int], traceparent: str | None = None) -> list[str]:
    """Write some of the replay's edits, each to a partition of its own; return their ids."""
    with log.producer("monitor").transaction() as transaction:
        for partition, i in enumerate(chosen):
            edit = the_run().ledger[i][0]
            key = str(edit.region_id)
            transaction.send(
                EDITS, edit.to_record(), key=key, partition=partition, timestamp=0.0, traceparent=traceparent
            )
    return [the_run().ledger[i][0].edit_id for i in chosen]


@pytest.fixture
def log() -> Iterator[Log]:
    log = MemoryLog()
    log.create_topics(pipeline_topics(2))
    yield log


def ended(log: Log) -> list[str]:
    return [str(r.key) for r in new_records(log, OUTCOMES, 0)]


def revised(log: Log) -> list[str]:
    return [value_of(r)["edit_id"] for r in new_records(log, REGIONS, 0)]


def published() -> list[int]:
    return [i for i, (_, outcome) in enumerate(the_run().ledger) if outcome.published]


def test_one_edit_at_a_time_while_the_polls_go_on(log: Log) -> None:
    written, child = edits(log, published()[:2]), Script(polls=4)
    member = Member(log, "t", child)
    member.turns(20)
    assert sorted(ended(log)) == sorted(revised(log)) == sorted(written)
    assert [edit for edit, _ in child.jobs] == ended(log)
    assert child.stopped == []
    member.leave()


def test_the_second_edit_is_begun_on_what_the_first_left(log: Log) -> None:
    edits(log, published()[:2])
    child = Script()
    member = Member(log, "t", child)
    member.turns(20)
    assert [revision for _, revision in child.jobs] == [0, 1]
    member.leave()


def test_the_job_of_a_lost_partition_is_dropped_and_done_once_by_the_new_owner(log: Log) -> None:
    written = edits(log, published()[:2])
    slow, quick = Script(polls=1_000), Script(polls=2)
    first = Member(log, "t0", slow)
    first.turns(3)
    (begun, _) = slow.jobs[0]
    second = Member(log, "t1", quick)
    for _ in range(10):
        first.turns()
        second.turns()
    lost = begun in slow.stopped
    # One of the two partitions moved: the job went with it, or the other edit is the second trainer's.
    assert ended(log) == ([begun] if lost else [e for e in written if e != begun])
    first.leave()
    for _ in range(10):
        second.turns()
    assert sorted(ended(log)) == sorted(written) == sorted(revised(log))
    assert begun in slow.stopped
    second.leave()


def test_a_trainer_that_leaves_drops_its_job(log: Log) -> None:
    edits(log, published()[:1])
    child = Script(polls=1_000)
    member = Member(log, "t", child)
    member.turns(3)
    member.leave()
    assert child.stopped == [child.jobs[0][0]]
    assert ended(log) == []


def test_an_edit_that_has_an_outcome_is_not_applied_again(log: Log) -> None:
    (edit,) = edits(log, published()[:1])
    with log.producer("somebody").transaction() as transaction:
        transaction.send(OUTCOMES, next(o.value for o in the_run().outcomes if o.key == edit), key=edit, timestamp=0.0)
    child = Script()
    member = Member(log, "t", child)
    member.turns(5)
    member.leave()
    assert child.jobs == []
    assert ended(log) == [edit]
    again = log.consumer("trainer", (EDITS,), "t")
    again.poll(1, 0.0)
    assert again.committed(EDITS, 0) == 1


def test_an_edit_whose_regions_moved_meanwhile_is_judged_against_what_is_live_now(log: Log) -> None:
    chosen = published()[0]
    (edit,) = edits(log, [chosen])
    revision = next(r.value for r in the_run().regions if r.value is not None and r.value["edit_id"] == edit)
    rolled_back = {**revision, "edit_id": "a person"}
    others = iter([True])

    def roll_back() -> None:
        if next(others, False):
            with log.producer("person").transaction() as transaction:
                transaction.send(REGIONS, rolled_back, key="4", timestamp=0.0)

    child = Script(meanwhile=roll_back)
    member = Member(log, "t", child)
    member.turns(10)
    member.leave()
    assert child.jobs == [(edit, 0), (edit, 1)]
    assert ended(log) == [edit]


def test_a_version_that_passes_its_trial_overtakes_no_edit(log: Log) -> None:
    (edit,) = edits(log, published()[:1])
    passes = iter([True])

    def let_pass() -> None:
        if next(passes, False):
            with log.producer("canary").transaction() as transaction:
                nothing = {"regions": [], "origins": None, "gate_version": 0, "passed": "r0004_v0001"}
                transaction.send(REGIONS, nothing, key="4", timestamp=0.0)

    child = Script(meanwhile=let_pass)
    member = Member(log, "t", child)
    member.turns(10)
    member.leave()
    assert log.end_offset(REGIONS, 0) == 2
    assert child.jobs == [(edit, 0)]
    assert ended(log) == [edit]


@pytest.mark.parametrize("touches", [False, True])
def test_only_a_change_of_what_an_edit_touches_has_it_done_again(log: Log, touches: bool) -> None:
    place = next(i for i in published() if the_run().ledger[i][0].operation is Operation.UPDATE)
    (edit,) = edits(log, [place])
    (update,) = the_run().ledger[place][0].touched
    revisions = [value_of(r) for r in the_run().regions]
    # Another region that was opened, or the one of the edit.
    opened = next(r for r in revisions if r["origins"] and len(r["regions"]) == 1)
    other = {**opened, "regions": [{**opened["regions"][0], "region_id": update if touches else 99}], "edit_id": "x"}
    others = iter([True])

    def publish() -> None:
        if next(others, False):
            with log.producer("another").transaction() as transaction:
                transaction.send(REGIONS, other, key="gate", timestamp=0.0)

    child = Script(meanwhile=publish)
    member = Member(log, "t", child)
    member.turns(10)
    member.leave()
    assert child.jobs == ([(edit, 0), (edit, 1)] if touches else [(edit, 0)])
    assert ended(log) == [edit]


def test_a_child_that_is_killed_may_be_tried_again() -> None:
    child = TrainingChild({}, ("/bin/sh", "-c", "kill -9 $$"))
    child.begin({})
    with pytest.raises(UnavailableError, match="killed by signal 9"):
        while child.result() is None:
            pass
    child.stop()


def test_a_child_that_ends_by_itself_is_a_defect() -> None:
    child = TrainingChild({}, ("/bin/sh", "-c", "read line; exit 3"))
    child.begin({})
    with pytest.raises(RaieError, match="ended with code 3") as error:
        while child.result() is None:
            pass
    assert not isinstance(error.value, UnavailableError)


@pytest.mark.parametrize(("word", "kind"), [("failed", UnavailableError), ("refused", RaieError)])
def test_a_refusal_of_the_child_is_an_error(word: str, kind: type[Exception]) -> None:
    child = TrainingChild({}, ("/bin/sh", "-c", f"""read a; read b; echo '{{"{word}": "the disk is full"}}'; read c"""))
    child.begin({})
    with pytest.raises(kind, match="the disk is full"):
        while child.result() is None:
            pass
    child.stop()


def test_a_training_process_yields_to_the_stages() -> None:
    lines = ["import os", "from consumers.trainer import worker", "worker.serve = lambda *_: os._exit(os.nice(0))"]
    ended = subprocess.run([sys.executable, "-c", "\n".join([*lines, "worker.main()"])], check=False)
    assert ended.returncode == min(os.nice(0) + NICENESS, 19)
