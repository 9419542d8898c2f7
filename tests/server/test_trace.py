"""One id from event to answer, on a log of a few records."""

from collections.abc import Iterator, Mapping
from contextlib import closing
from pathlib import Path

import pytest

from consumers.runtime.generations import create_topics
from consumers.server.trace import Trace
from pipeline.errors import DataError
from pipeline.events.edit import Edit, Evidence, Operation, Outcome
from pipeline.events.feedback import Feedback
from pipeline.regions.revision import Revision
from pipeline.streams import SqliteLog
from pipeline.streams.topics import (
    DEAD_LETTERS,
    EDITS,
    FEEDBACK,
    GATED,
    INTERACTIONS,
    OUTCOMES,
    REGIONS,
    pipeline_topics,
)
from tests.replay.small import raie

EDIT, VERSION = "3f9a" + 20 * "0", "r0004_v0002"
REQUEST = f"0123456789abcdef.4.{VERSION}.0"


@pytest.fixture
def log(tmp_path: Path) -> Iterator[SqliteLog]:
    with closing(SqliteLog(tmp_path / "log.sqlite")) as opened:
        opened.create_topics(pipeline_topics(2))
        yield opened


def write(log: SqliteLog, topic: str, value: Mapping[str, object], key: str = "k", partition: int = 0) -> None:
    with log.producer("test").transaction() as transaction:
        transaction.send(topic, value, key=key, partition=partition, timestamp=1.6e9)


def interaction(event_id: str) -> dict[str, object]:
    return {"event_id": event_id, "user_id": "ann", "item_id": "heat", "timestamp": 1.6e9}


def edit(operation: Operation = Operation.UPDATE, edit_id: str = EDIT) -> Edit:
    windows = tuple(Evidence(f"e{number}", number, 4) for number in range(3))
    return Edit(edit_id, operation, 4, None, 1, 1, {"signal": "loss"}, windows, (), 3, 1.6e9, 0)


def fill(log: SqliteLog) -> None:
    """Event e1, gated, evidence of an edit that was published, and feedback on an answer of its version."""
    write(log, INTERACTIONS, interaction("e0"))
    write(log, INTERACTIONS, interaction("e1"), partition=1)
    gated = {"event_id": "e1", "gate": "gate-0", "revision": 0, "region_id": 4, "confidence": 0.75, "rank": 7}
    write(log, GATED, gated)
    write(log, EDITS, edit().to_record(), partition=1)
    write(log, OUTCOMES, Outcome(EDIT, Operation.UPDATE, 4, True, "better", VERSION).to_record(), EDIT)
    write(log, REGIONS, Revision((), None, 1, edit_id=EDIT).to_record())
    write(log, FEEDBACK, Feedback(REQUEST, "impression", ["heat", "ran"], 4, VERSION, 0).to_record())
    write(log, FEEDBACK, Feedback(REQUEST, "click", ["ran"], 4, VERSION, 0).to_record(), partition=1)


def traced(log: SqliteLog, one: str) -> list[str]:
    return list(Trace(log, {}).of(one))


def test_an_event_is_followed_to_the_feedback_on_the_version_that_learned_from_it(log: SqliteLog) -> None:
    fill(log)
    sent, gated, edited, feedback = traced(log, "e1")
    assert sent.startswith("interaction: interactions/1, offset 0, written 20")
    assert gated.endswith("by gate-0 as of revision -1, region 4, confidence 0.75, rank 7")
    assert edited == f"edit {EDIT}: update of region 4 on 3 events; published as {VERSION}, revision 0"
    assert feedback == f"feedback on {VERSION}: 1 impressions and 1 clicks; newest requests: {REQUEST}"


def test_an_answer_is_followed_back_to_the_events_of_its_version(log: SqliteLog) -> None:
    fill(log)
    assert traced(log, REQUEST) == [
        f"answer: by {VERSION}, region 4, as of revision 0",
        f"edit {EDIT}: update of region 4 on 3 events; published as {VERSION}, revision 0",
        "its newest events: e2, e1, e0, of 3",
        "feedback: impression of heat, ran",
        "feedback: click of ran",
    ]


def test_an_event_that_waits_or_is_refused_says_so(log: SqliteLog) -> None:
    write(log, INTERACTIONS, {**interaction("bad"), "value": "many"})
    refusal = {"reason": "bad_value", "detail": "value must be a number"}
    write(log, DEAD_LETTERS, {**refusal, "topic": INTERACTIONS, "partition": 0, "offset": 0})
    assert traced(log, "bad")[1:] == [
        "refused: bad_value, value must be a number",
        "gated: not, or not any more",
        "edits: none rests on it",
    ]


def test_an_edit_that_has_not_ended_and_one_in_vain_are_told_apart(log: SqliteLog) -> None:
    write(log, INTERACTIONS, interaction("e1"))
    write(log, EDITS, edit().to_record())
    write(log, EDITS, edit(Operation.ADD, "4" * 24).to_record())
    write(log, OUTCOMES, Outcome("4" * 24, Operation.ADD, 4, False, "no better").to_record(), "4" * 24)
    endings = [line.split("; ")[1] for line in traced(log, "e1")[2:]]
    assert endings == ["not ended yet", "rejected: no better"]


def test_an_answer_without_adapter_rests_on_no_edit(log: SqliteLog) -> None:
    fill(log)
    assert traced(log, "0123456789abcdef.0.-.-1") == [
        "answer: by the backbone, region 0, as of revision -1",
        "feedback: none",
    ]


def test_an_answer_of_another_generation_is_followed_in_its_own_topics(log: SqliteLog) -> None:
    fill(log)
    request_id = "0123456789abcdef.4.-.0.g2.s3.7"
    create_topics(log, 2, 2)
    write(log, "feedback.2", Feedback(request_id, "click", ["ran"], 4, None, 0).to_record())
    assert traced(log, request_id) == [
        "answer: by the backbone of generation 2, region 4, as of revision 0",
        "split: 3, bucket 7",
        "feedback: click of ran",
    ]


def test_an_unknown_id_is_refused_by_name(log: SqliteLog) -> None:
    with pytest.raises(DataError, match="no event e9"):
        traced(log, "e9")


def test_the_command_shows_it(log: SqliteLog, capsys: pytest.CaptureFixture[str]) -> None:
    fill(log)
    ended = raie(capsys, "events", "trace", "e1", "--log", f"sqlite:///{log.path}")
    assert ended.code == 0 and f"published as {VERSION}, revision 0" in ended.out
