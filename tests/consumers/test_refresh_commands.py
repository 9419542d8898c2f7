"""Refreshes as commands see them: what runs, what is due, and what is said."""

from contextlib import closing

import pytest

from consumers.refresh.schedule import SCHEDULE, Schedule
from consumers.refresh.switching import roll_back, switch_by_force
from consumers.runtime.generations import read_generations, write_act
from consumers.runtime.running_generations import RunningGenerations
from pipeline.events.edit import Operation, Outcome
from pipeline.events.generation import Act, GenerationAct
from pipeline.streams import Log, UnavailableError
from pipeline.streams.topics import OUTCOMES
from tests.consumers.refreshed import LATER, LEARNED, SECONDS, Refreshed, operator
from tests.replay.small import raie


def test_the_stages_that_run_follow_the_log_and_the_last_known_state_where_it_is_out_of_reach(
    pipeline: Refreshed,
) -> None:
    now, said, reachable = [SECONDS], list[str](), [True]

    def open_it() -> Log:
        if not reachable[0]:
            raise UnavailableError("out of reach")
        return pipeline.open()

    running = RunningGenerations(open_it, pipeline.config, lambda: now[0], lambda: now[0], said.append)

    def numbers() -> list[int]:
        now[0] += 1.0
        return [one.number for one in running()]

    assert numbers() == [1, 2]
    with closing(pipeline.open()) as log:
        switch_by_force(log, 2, pipeline.config.refresh, operator())
        # It lingers for five seconds after the switch.
        assert [numbers(), numbers(), numbers(), numbers()] == [[2, 1], [2, 1], [2, 1], [2]]
        running.close()
        reachable[0] = False
        assert [numbers(), numbers()] == [[2], [2]] and said == ["out of reach; trying again"]
        reachable[0] = True
        roll_back(log, 1.0, at_once=True, operator=operator())
    assert numbers()[0] == 1
    running.close()


def test_a_refresh_by_the_command_line(pipeline: Refreshed, capsys: pytest.CaptureFixture[str]) -> None:
    pipeline.gate(2).run()
    options = ["--set", f"log.url={pipeline.config.log.url}", "--set", "log.partitions=2"]
    status = raie(capsys, "refresh", "status", *options).out
    assert "generation 1: active\ngeneration 2: shadow since 2023-11-14" in status
    assert f"on {LATER - LEARNED} events of" in status and "judged from 2,000 events on" in status
    refused = raie(capsys, "refresh", "switch", "--set", "refresh.judged_events=50", *options, "--by", "ann")
    assert refused.code == 1 and "generation 2 was refused, generation 1 answers as before" in refused.out
    again = raie(capsys, "refresh", "switch", "--force", "--to", "2", "--by", "ann", *options)
    assert (again.code, again.out.split(",")[0]) == (0, "generation 2 answers")
    assert "generation 1 answers again" in raie(capsys, "refresh", "rollback", "--now", *options).out
    acts = raie(capsys, "acts", *options).out.splitlines()[-3:]
    assert [line.split("  ")[1].split()[0] for line in acts] == ["stop", "switch", "switch"]
    assert "by ann, without a token: generation 2, judged Recall@10 0." in acts[0]
    assert raie(capsys, "refresh", "stop", *options).code == 2
    assert "of 2 generations are as the pipeline needs them" in raie(capsys, "topics", "check", *options).out


def test_a_refresh_is_due_by_age_or_when_edits_are_rejected_and_not_again_at_once(pipeline: Refreshed) -> None:
    made = (pipeline.root / "manifest.json").stat().st_mtime
    now, own = [made + 86_400.0], pipeline.config.refresh

    def is_due(**changed: object) -> bool:
        schedule = Schedule(pipeline.root, own.model_copy(update=changed), lambda: now[0])
        with closing(pipeline.open()) as log:
            return schedule.is_due(log, read_generations(log))

    # Somebody else's refresh is under way.
    assert not is_due(every_days=0.5)
    with closing(pipeline.open()) as log:
        write_act(log, GenerationAct(Act.STOP, 2, "test"), now[0])
        assert not is_due(every_days=0.5) and not is_due(when_rejected=0.6, after_edits=4)
        now[0] += 86_400.0
        assert is_due(every_days=0.5) and not is_due(every_days=1.5) and not is_due()
        now[0] = made
        assert not is_due(every_days=0.5)
        write_act(log, GenerationAct(Act.BEGIN, 3, SCHEDULE), now[0])
        # Begun by the schedule, it goes on until it ends.
        assert is_due(every_days=0.5)
        write_act(log, GenerationAct(Act.STOP, 3, SCHEDULE), SECONDS)
        write_act(log, GenerationAct(Act.PRUNE, 2, "test"), SECONDS)
        with log.producer("test").transaction() as transaction:
            for edit_id, published in {"a": False, "b": True, "c": False, "d": False}.items():
                outcome = Outcome(edit_id, Operation.UPDATE, 4, published, "").to_record()
                transaction.send(OUTCOMES, outcome, key=edit_id, timestamp=0.0)
    assert is_due(when_rejected=0.7, after_edits=4)
    assert not is_due(when_rejected=0.8, after_edits=4) and not is_due(when_rejected=0.7, after_edits=5)
    # One schedule is asked again and again: each outcome counts once.
    settings = own.model_copy(update={"when_rejected": 0.6, "after_edits": 4})
    schedule = Schedule(pipeline.root, settings, lambda: now[0])
    with closing(pipeline.open()) as log:
        assert [schedule.is_due(log, read_generations(log)) for _ in range(2)] == [True, True]
        for edit_id, due in (("e", True), ("f", False)):
            with log.producer("test").transaction() as transaction:
                outcome = Outcome(edit_id, Operation.UPDATE, 4, True, "").to_record()
                transaction.send(OUTCOMES, outcome, key=edit_id, timestamp=0.0)
            assert schedule.is_due(log, read_generations(log)) is due
