"""Progress of an unlearning beside a refresh: each generation that runs has its own answer to give."""

from contextlib import closing

from consumers.erasure.request import Requested, request
from consumers.erasure.unlearning_progress import UnlearningProgress
from consumers.refresh.switching import switch_by_force
from pipeline.events.edit import Edit, Operation, Outcome
from pipeline.events.erasure import Erasure
from pipeline.events.unlearning import is_unlearning_request
from pipeline.streams import Log
from pipeline.streams.generation import GenerationLog
from pipeline.streams.topics import EDITS, GATED, OUTCOMES
from tests.consumers.gating import read
from tests.consumers.refreshed import LATER, LEARNED, SECONDS, Refreshed, operator, stream


def answer(log: GenerationLog) -> str:
    """Write what monitor and trainer of a generation write in answer to its requests; return the edit's id."""
    requests = [record.offset for record in read(log, GATED) if is_unlearning_request(record)]
    assert len(requests) == 1
    reason = {"signal": "erasure", "statistic": None, "threshold": None, "text": "because", "requests": requests}
    edit = Edit(f"{log.generation:024x}", Operation.UNLEARN, 0, None, 0, 0, reason, (), (), 999, 1e9, 0)
    outcome = Outcome(edit.edit_id, Operation.UNLEARN, 0, published=True, detail="done")
    with log.producer("test").transaction() as transaction:
        transaction.send(EDITS, edit.to_record(), key="gate", timestamp=0.0)
        transaction.send(OUTCOMES, outcome.to_record(), key=edit.edit_id, timestamp=0.0)
    return edit.edit_id


def asked(pipeline: Refreshed, log: Log) -> tuple[UnlearningProgress, Requested]:
    """Ask both generations, which have read everything, to unlearn a user."""
    pipeline.gate(2).run()
    user = stream(LEARNED, LATER)[0].user_id
    progress = UnlearningProgress(log, user)
    return progress, request(log, Erasure(user, SECONDS, is_dated=False, unlearn=True), "me")


def test_each_generation_that_runs_has_to_answer_and_one_that_no_longer_runs_has_not(pipeline: Refreshed) -> None:
    with closing(pipeline.open()) as log:
        progress, requested = asked(pipeline, log)
        assert not progress.is_done(requested)
        pipeline.gate(1).run()
        before = progress.ended()
        answer(GenerationLog(log, 1))
        assert progress.ended() != before
        assert not progress.is_done(requested), "the gate in the shadow has not read the erasure"
        pipeline.gate(2).run()
        assert not progress.is_done(requested), "the trainer in the shadow has not answered"
        second = answer(GenerationLog(log, 2))
        assert progress.is_done(requested)
        assert [(one.generation, list(edits)) for one, edits in progress.results()] == [
            (1, [f"{1:024x}"]),
            (2, [second]),
        ]


def test_after_a_switch_the_generation_before_has_nothing_to_answer(pipeline: Refreshed) -> None:
    with closing(pipeline.open()) as log:
        progress, requested = asked(pipeline, log)
        for generation in (1, 2):
            pipeline.gate(generation).run()
        assert not progress.is_done(requested)
        switch_by_force(log, 2, pipeline.config.refresh, operator())
        assert not progress.is_done(requested)
        answer(GenerationLog(log, 2))
        assert progress.is_done(requested)
        assert [one.generation for one, _ in progress.results()] == [2]
