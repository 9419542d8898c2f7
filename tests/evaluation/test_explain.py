"""`raie explain`: an edit in sentences, from the ledger of a run or of the log."""

from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from consumers.cli.main import app
from pipeline.errors import DataError
from pipeline.evaluation.explain import explained, listed
from pipeline.evaluation.ledger import ledger_record, write_ledger
from pipeline.events.edit import Edit, Evidence, Operation, Outcome
from pipeline.streams import SqliteLog
from pipeline.streams.topics import EDITS, OUTCOMES, pipeline_topics

ALARM = {"signal": "loss", "statistic": 14.25, "threshold": 13.8155, "text": "192 windows look new", "regions": [1]}
ROUTINE = {"signal": "new windows", "statistic": None, "threshold": None, "text": "512 windows wait"}
JUDGED = {"metric": "mean log rank", "windows": 60, "before": 3.5, "after": 3.25, "error": 0.05}


def edit(edit_id: str, at_event: int, operation: Operation = Operation.ADD, reason: Any = ALARM) -> Edit:
    windows = tuple(Evidence(f"e{n}", n, 7) for n in range(at_event, at_event + 3))
    return Edit(edit_id, operation, 7, None, 0, 0, reason, windows, (), at_event, 1e9, 0)


def outcome(asked: Edit, published: bool = True, **more: Any) -> Outcome:
    return Outcome(asked.edit_id, asked.operation, 7, published, "better than the incumbent", **more)


def ledger() -> list[dict[str, Any]]:
    add, update, same = (
        edit("aa11", 1_000),
        edit("ab22", 2_000, Operation.UPDATE, ROUTINE),
        edit("cc33", 2_000, Operation.EXPAND),
    )
    return [
        ledger_record(0, add, outcome(add, version="r0007_v0001", validation=JUDGED, trained_windows=346)),
        ledger_record(0, update, outcome(update, published=False)),
        ledger_record(0, same, outcome(same, moved_windows=0.25)),
    ]


def test_it_says_why_on_what_and_what_came_of_it() -> None:
    text = explained(ledger(), "aa")
    for part in (
        "aa11: add of region 7",
        "event 1,000 (2001-09-09 01:46:40+00:00), published as r0007_v0001: better than the incumbent",
        "because 192 windows look new",
        "statistic 14.250, threshold 13.816",
        "windows: 3, from event e1000 to e1002",
        "after 3.25, before 3.5, error 0.05, metric mean log rank, windows 60",
        "346 windows trained on",
    ):
        assert part in text
    assert "before:" not in text and "same event" not in text


def test_it_names_edits_of_the_same_moment_and_of_the_region_before() -> None:
    text = explained(ledger(), "ab22")
    assert "rejected" in text and "no detector alarm" in text and "validation: none" in text
    assert "decided at the same event:\ncc33" in text
    assert "earlier edits of its regions:\naa11" in text
    assert "moved: 25.0% of its windows" in explained(ledger(), "cc")


@pytest.mark.parametrize(("asked", "said"), [("a", "2 edits .* aa11, ab22"), ("zz", "no edit .* aa11, ab22, cc33")])
def test_an_id_that_is_not_one_edits_is_refused_with_those_there_are(asked: str, said: str) -> None:
    with pytest.raises(DataError, match=said):
        explained(ledger(), asked)


def test_the_command_explains_a_run(tmp_path: Path) -> None:
    write_ledger(ledger(), tmp_path / "ledger.jsonl")
    assert CliRunner().invoke(app, ["explain", "aa11", "--run", str(tmp_path)]).output == (
        explained(ledger(), "aa11") + "\n"
    )
    assert CliRunner().invoke(app, ["explain", "--run", str(tmp_path)]).output == listed(ledger()) + "\n"


def test_the_command_explains_the_log(tmp_path: Path) -> None:
    asked = edit("aa11", 1_000)
    with closing(SqliteLog(tmp_path / "log.sqlite")) as log:
        log.create_topics(pipeline_topics(8))
        with log.producer("test").transaction() as transaction:
            transaction.send(EDITS, asked.to_record(), key="7", timestamp=0.0)
            transaction.send(OUTCOMES, outcome(asked).to_record(), key="aa11", timestamp=0.0)
    done = CliRunner().invoke(app, ["explain", "aa", "--log", f"sqlite:///{tmp_path}/log.sqlite"])
    assert done.exit_code == 0, done.output
    assert "because 192 windows look new" in done.output


def test_a_folder_without_a_ledger_is_refused(tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["explain", "--run", str(tmp_path)])
    assert done.exit_code == 2
    assert "ledger.jsonl is not there" in done.output
