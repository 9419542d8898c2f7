"""A split of the users by commands: the stages of both generations run, and the outcome is that of the feedback."""

from contextlib import closing

import pytest

from consumers.refresh.splitting import end_split, split
from consumers.refresh.switching import switch_by_force
from consumers.runtime.generations import log_in, read_acts, read_generations
from consumers.runtime.split_counts import read_outcome
from pipeline.errors import LogError
from pipeline.events.buckets import BUCKETS
from pipeline.events.feedback import CLICK, IMPRESSION, Feedback
from pipeline.events.generation import Act, State
from pipeline.events.request_id import Answered
from pipeline.events.split import Split
from pipeline.recommend.split_outcome import SplitOutcome
from pipeline.streams import Log
from pipeline.streams.topics import FEEDBACK
from tests.consumers.refreshed import LATER, Refreshed, operator, states, stream
from tests.replay.small import raie


def feed(log: Log, generation: int, *told: tuple[int, str, Answered]) -> None:
    """Write feedback on answers, each with its number, into the topic of a generation."""
    with log_in(log, generation).producer("test").transaction() as transaction:
        for number, kind, answered in told:
            request_id = answered.request_id(f"{number:016x}")
            transaction.send(FEEDBACK, Feedback(request_id, kind).to_record(), key=request_id, timestamp=0.0)


def answered_by(found: Split, bucket: int, generation: int | None = None, number: int | None = None) -> Answered:
    own = found.arm(bucket) if generation is None else generation
    return Answered(4, None, -1, generation=own, split=found.number if number is None else number, part=bucket)


def test_the_outcome_counts_each_answer_once_and_only_those_of_the_split(pipeline: Refreshed) -> None:
    pipeline.gate(2).run()
    with closing(pipeline.open()) as log:
        found = split(log, 0.25, None, 1.0, operator())
        assert (found.generation, found.beside, found.number) == (2, 1, 1)
        first, last = answered_by(found, 0), answered_by(found, BUCKETS - 1)
        assert (first.generation, last.generation) == (2, 1)
        feed(log, 2, (1, IMPRESSION, first), (1, CLICK, first), (1, CLICK, first), (2, IMPRESSION, first))
        # A click whose impression was lost; and what counts for nothing:
        feed(log, 2, (3, CLICK, first))
        feed(log, 2, (4, CLICK, answered_by(found, 0, number=2)), (5, CLICK, Answered(4, None, -1, generation=2)))
        feed(log, 2, (6, CLICK, answered_by(found, BUCKETS - 1, generation=2)), (7, CLICK, last))
        feed(log, 1, (8, IMPRESSION, last), (9, CLICK, answered_by(found, 0, generation=1)), (10, CLICK, first))
        outcome = read_outcome(log, found)
    assert (outcome.tried.shown, outcome.tried.clicked) == (3, 2)
    assert (outcome.others.shown, outcome.others.clicked) == (1, 0)
    assert outcome.difference is None


def test_another_share_is_counted_anew_and_the_record_that_ends_one_has_its_outcome(pipeline: Refreshed) -> None:
    pipeline.gate(2).run()
    with closing(pipeline.open()) as log:
        one = split(log, 0.25, None, 1.0, operator())
        feed(log, 2, (1, CLICK, answered_by(one, 0)))
        more = split(log, 0.5, 2, 1.0, operator())
        assert (more.number, more.salt) == (2, 1)
        feed(log, 1, (2, IMPRESSION, answered_by(more, BUCKETS - 1)))
        ended = end_split(log, operator())
        assert (ended.tried.shown, ended.others.shown) == (0, 1)
        assert read_generations(log).split is None and states(pipeline)[2] is State.SHADOW
        acts = [act for act, _ in read_acts(log) if act.act is Act.SPLIT]
        kept = [SplitOutcome.from_record(act.details["outcome"]) for act in acts[1:]]
        assert [(act.by, act.details["share"]) for act in acts] == [("ann", 0.25), ("ann", 0.5), ("ann", 0.0)]
        assert (kept[0].tried.clicked, kept[1]) == (1, ended) and "outcome" not in acts[0].details
        with pytest.raises(LogError, match="no users are split"):
            end_split(log, operator())


def test_a_generation_that_stands_by_runs_again_first_and_one_that_lags_gets_no_users(pipeline: Refreshed) -> None:
    pipeline.gate(2).run()
    with closing(pipeline.open()) as log:
        switch_by_force(log, 2, pipeline.config.refresh, operator())
        with pytest.raises(LogError, match="no generation runs in the shadow"):
            split(log, 0.5, None, 1.0, operator())
        found = split(log, 0.5, 1, 1.0, operator())
        assert (found.generation, found.beside) == (1, 2)
        assert states(pipeline) == {1: State.SHADOW, 2: State.ACTIVE}
        end_split(log, operator())
        pipeline.write(stream(LATER, LATER + 150))
        with pytest.raises(LogError, match="interactions to read after 1 s"):
            split(log, 0.5, 1, 1.0, operator())
        assert read_generations(log).split is None
        with pytest.raises(LogError, match="generation 2 is active"):
            split(log, 0.5, 2, 1.0, operator())


def test_the_commands(pipeline: Refreshed, capsys: pytest.CaptureFixture[str]) -> None:
    pipeline.gate(2).run()
    options = ["--set", f"log.url={pipeline.config.log.url}", "--set", "log.partitions=2"]
    begun = raie(capsys, "refresh", "split", "--share", "0.5", "--by", "ann", *options)
    line = "generation 2 answers 50.0% of the users, generation 1 all others; `--share 0` ends it\n"
    assert (begun.code, begun.out.startswith(line), "servers load it first" in begun.out) == (0, True, True)
    with closing(pipeline.open()) as log:
        found = read_generations(log).split
        assert found is not None
        feed(log, 2, (1, CLICK, answered_by(found, 0)))
    status = raie(capsys, "refresh", "status", *options).out
    assert f"{line}clicks since: generation 2: 1 of 1 shown answers clicked, 1.0000 (95% interval 0.20" in status
    ended = raie(capsys, "refresh", "split", "--share", "0", "--by", "bob", *options)
    assert ended.out.endswith("too few for a difference\ngeneration 1 answers all users\n")
    acts = raie(capsys, "acts", *options).out.splitlines()[-2:]
    assert acts[0].endswith("split     by ann, without a token: generation 2, share 0.5")
    assert "by bob, without a token: generation 2, share 0.0, clicks generation 2: 1 of 1 shown" in acts[1]
    assert raie(capsys, "refresh", "split", "--share", "1.5", *options).code == 2
    assert raie(capsys, "refresh", "split", "--share", "0", "--to", "2", *options).code == 2
