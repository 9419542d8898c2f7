"""Looking at edits and regions from the command line."""

from pathlib import Path

import pytest

from pipeline.setup.storage import save_setup
from pipeline.streams import SqliteLog
from pipeline.streams.topics import EDITS, OUTCOMES, REGIONS, pipeline_topics
from tests.consumers.run_of_raie import the_run, the_setup
from tests.replay.small import raie


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A set-up, and a log with the edits of the replay beside it."""
    folder = tmp_path_factory.mktemp("commands")
    save_setup(the_setup(), folder / "root")
    log = SqliteLog(folder / "log.sqlite")
    log.create_topics(pipeline_topics(8))
    with log.producer("replay").transaction() as transaction:
        for edit, outcome in the_run().ledger:
            transaction.send(EDITS, edit.to_record(), key=str(edit.region_id), timestamp=edit.timestamp)
            transaction.send(OUTCOMES, outcome.to_record(), key=edit.edit_id, timestamp=edit.timestamp)
        for record in the_run().regions:
            transaction.send(REGIONS, record.value, key=record.key, timestamp=record.timestamp)
    log.close()
    return folder / "root"


def log_of(root: Path) -> tuple[str, str]:
    return "--set", f"log.url=sqlite:///{root.parent / 'log.sqlite'}"


def test_edits_are_listed_in_the_order_in_which_they_ended(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ended = raie(capsys, "edits", *log_of(root))
    assert ended.code == 0
    lines = ended.out.splitlines()
    assert [line.split()[0] for line in lines] == [edit.edit_id for edit, _ in the_run().ledger]
    assert "published r0004_v0001" in lines[0]
    assert sum("rejected" in line for line in lines) == sum(not outcome.published for _, outcome in the_run().ledger)


def test_regions_are_shown_as_of_the_newest_revision(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ended = raie(capsys, "regions", "--root", root, *log_of(root))
    assert ended.code == 0
    first, *regions = ended.out.splitlines()
    newest = the_run().regions[-1].offset
    assert first.startswith(f"revision {newest}, gate version ")
    assert len(regions) >= 4
    assert "adapter r0004_v" in regions[3]


def test_an_edit_that_is_not_there_is_no_traceback(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ended = raie(capsys, "edits", "rerun", "nothing", "--root", root, *log_of(root))
    assert (ended.code, ended.out) == (2, "")
    assert ended.err == "raie: the log has no edit nothing: `raie edits` lists those that it has\n"


def test_an_edit_of_a_replay_says_that_it_cannot_be_made_again(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    published = next(edit for edit, outcome in the_run().ledger if outcome.published)
    ended = raie(capsys, "edits", "rerun", published.edit_id, "--root", root, *log_of(root))
    assert ended.code == 2
    assert "has no base revision: it was written by a replay" in ended.err


def test_up_needs_a_set_up(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ended = raie(capsys, "up", "--root", tmp_path / "none")
    assert ended.code == 2
    assert "make it with `raie setup" in ended.err


@pytest.mark.parametrize("command", ["gate", "train"])
def test_another_precision_than_that_of_the_set_up_is_refused_at_once(
    command: str, root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ended = raie(capsys, command, "--root", root, *log_of(root), "--set", "compute.precision=bfloat16")
    assert (ended.code, ended.out) == (2, "")
    assert "compute.precision: bfloat16 here" in ended.err
    assert "made with float32; set compute.precision=float32" in ended.err


READING = {
    "lag": ["lag"],
    "edits": ["edits"],
    "rerun": ["edits", "rerun", "e"],
    "regions": ["regions"],
    "dead letters": ["dead-letters", "list"],
    "replay of dead letters": ["dead-letters", "replay"],
    "explain": ["explain"],
    "topics": ["topics", "check"],
}
"""Command lines that read a log."""


@pytest.mark.parametrize("command", READING)
def test_a_command_that_reads_creates_no_log(
    command: str, root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "elsewhere" / "log.sqlite"
    options = ["--root", root] if command in ("rerun", "regions") else []
    ended = raie(capsys, *READING[command], *options, "--set", f"log.url=sqlite:///{path}")
    assert (ended.code, ended.out) == (2, "")
    assert ended.err.startswith(f"raie: there is no log at {path} (log.url is sqlite:///{path}): ")
    assert not path.parent.exists()


def test_a_rollback_creates_no_log(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "log.sqlite"
    ended = raie(capsys, "adapters", "rollback", "4", "--adapters", tmp_path, "--log", f"sqlite:///{path}")
    assert ended.code == 2
    assert f"there is no log at {path}" in ended.err
    assert not path.exists()
