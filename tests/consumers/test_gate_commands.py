"""Producing, scoring, lag, topics and dead letters on the command line."""

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from threading import Thread

import pytest

from consumers.gate.dead_letters import dead_letter
from pipeline.errors import BadEvent
from pipeline.events.dead_letter import DeadLetter
from pipeline.setup.storage import save_setup
from pipeline.streams import SqliteLog
from pipeline.streams.topics import DEAD_LETTERS, INTERACTIONS, ITEMS, pipeline_topics
from tests.consumers.gating import events, gated, read
from tests.consumers.run_of_raie import the_setup
from tests.consumers.test_loop import until
from tests.replay.small import SET, Ended, dataset, emerging, raie

PARTITIONS = 2


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("gate-commands") / "root"
    save_setup(the_setup(), folder)
    return folder


class OnALog:
    """Runs commands on a log of its own."""

    def __init__(self, path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.path = path
        self.url = f"sqlite:///{path}"
        self.partitions = PARTITIONS
        self._capsys = capsys

    def __call__(self, *arguments: str | Path) -> Ended:
        settings = ("--set", f"log.url={self.url}", "--set", f"log.partitions={self.partitions}")
        return raie(self._capsys, *arguments, *SET, *settings)

    def log(self) -> SqliteLog:
        return SqliteLog(self.path)

    @contextmanager
    def terminated_once_gated(self, count: int) -> Iterator[None]:
        """Send SIGTERM to this process, as a supervisor does, once so many events are scored."""
        with closing(self.log()) as log, self.terminated_once(lambda: len(gated(log)) >= count):
            yield

    @contextmanager
    def terminated_once(self, is_true: Callable[[], bool]) -> Iterator[None]:
        """Send SIGTERM to this process once something holds."""

        def watch() -> None:
            until(is_true)
            os.kill(os.getpid(), signal.SIGTERM)

        thread = Thread(target=watch)
        thread.start()
        yield
        thread.join()


@pytest.fixture
def on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> OnALog:
    return OnALog(tmp_path / "log.sqlite", capsys)


def refused(ended: Ended, message: str) -> None:
    """Exit code 2, nothing on stdout, and one line on stderr."""
    assert (ended.code, ended.out) == (2, "")
    assert ended.err.startswith("raie: ")
    assert message in ended.err
    assert ended.err.count("\n") == 1


def test_a_data_set_is_produced_and_gated_and_the_lag_says_so(on: OnALog, root: Path) -> None:
    stream = [e.event_id for e in events()[1]]
    produced = on("produce", "--data", emerging())
    assert (produced.code, produced.out) == (0, f"{len(stream):,} interactions written to {on.url}\n")
    log = on.log()
    assert len(read(log, ITEMS)) == len(dataset().items)
    behind = sum(len(read(log, INTERACTIONS, p)) for p in range(PARTITIONS))
    before = on("lag")
    assert (before.code, lag_of(before, "gate")) == (0, behind)
    with on.terminated_once_gated(len(stream)):
        ran = on("gate", "--root", root, "--instance", "g", "--set", "consumers.poll_timeout=0.02")
    assert (ran.code, ran.out) == (0, "")
    assert ran.err.startswith(f"gate g runs on {on.url}; metrics on http://127.0.0.1:")
    assert ran.err.endswith("gate g has stopped\n")
    assert sorted(record["event_id"] for record in gated(log)) == sorted(stream)
    after = on("lag")
    assert (lag_of(after, "gate"), lag_of(after, "monitor")) == (0, len(stream))
    unread = len(stream)
    for wait, code in ((unread, 0), (unread - 1, 1)):
        waited = on("lag", "--wait", str(wait), "--patience", "0.1")
        assert (waited.code, waited.out) == (code, after.out)


def lag_of(ended: Ended, stage: str) -> int:
    lines = [line for line in ended.out.splitlines() if line.startswith(f"{stage} ")]
    return sum(int(line.split(": ")[1].split(" behind")[0].replace(",", "")) for line in lines)


def test_a_stream_is_paced_one_way_or_the_other(on: OnALog) -> None:
    ended = on("produce", "--data", emerging(), "--rate", "5", "--speed", "5")
    assert (ended.code, ended.out) == (2, "")
    assert "give --speed or --rate, not both" in ended.err
    assert not on.path.exists()


def test_what_is_not_there_is_named_in_one_line(on: OnALog, tmp_path: Path, root: Path) -> None:
    refused(on("produce", "--data", tmp_path / "none"), str(tmp_path / "none"))
    refused(on("gate", "--root", tmp_path / "none"), str(tmp_path / "none"))
    (tmp_path / "file").write_text("no log at all, but longer than the head of one" * 100)
    on.url = f"sqlite:///{tmp_path / 'file'}"
    ended = on("gate", "--root", root)
    assert (ended.code, ended.out) == (2, "")
    assert (
        ended.err.splitlines()[-1]
        == f"raie: {tmp_path / 'file'}: file is not a database; it is no SQLite file: name another path"
    )
    refused(on("lag"), str(tmp_path / "file"))
    on.url = "ftp://somewhere"
    for command in (("lag",), ("dead-letters", "list"), ("dead-letters", "replay"), ("topics", "check")):
        refused(on(*command), "'ftp://somewhere' names no log")


REFUSED = (b'{"n": 1}', b'{"n":2,"far":1e400}', b"{n}")
"""Bytes of records that a gate refused."""


def letters(on: OnALog) -> None:
    """Write three dead letters: two of one reason, and one of a record that cannot be read."""
    log = on.log()
    log.create_topics(pipeline_topics(PARTITIONS))
    with log.producer("gate").transaction() as transaction:
        for raw in REFUSED:
            transaction.send(INTERACTIONS, raw, key="u", partition=1, timestamp=1.0)
    reasons = zip(read(log, INTERACTIONS, 1), ("unknown_item", "unknown_item", "bad_json"), strict=True)
    with log.producer("gate").transaction() as transaction:
        for record, reason in reasons:
            letter = dead_letter(record, BadEvent(reason, f"about {record.offset}"))
            transaction.send(letter.topic, letter.value, key=letter.key, timestamp=letter.timestamp)
    log.close()


def test_dead_letters_are_listed_with_reason_and_place(on: OnALog) -> None:
    on.log().close()
    assert (on("dead-letters", "list").code, on("dead-letters", "list").out) == (0, "")
    letters(on)
    lines = on("dead-letters", "list").out.splitlines()
    assert [line.split(maxsplit=2) for line in lines] == [
        ["0", "unknown_item", "interactions/1 offset 0: about 0"],
        ["1", "unknown_item", "interactions/1 offset 1: about 1"],
        ["2", "bad_json", "interactions/1 offset 2: about 2"],
    ]
    assert on("dead-letters", "list", "--reason", "bad_json").out.splitlines() == lines[2:]


def test_each_dead_letter_is_replayed_once_to_where_it_came_from(on: OnALog) -> None:
    letters(on)
    left = "not: the record is gone, or could never be read"
    assert on("dead-letters", "replay", "--reason", "nothing").out == f"0 replayed, 0 {left}\n"
    assert on("dead-letters", "replay").out == f"2 replayed, 1 {left}\n"
    assert on("dead-letters", "replay").out == f"0 replayed, 1 {left}\n"
    again = read(on.log(), INTERACTIONS, 1)[len(REFUSED) :]
    assert [(record.key, record.raw) for record in again] == [("u", raw) for raw in REFUSED[:2]]
    marks = [line.endswith(", replayed") for line in on("dead-letters", "list").out.splitlines()]
    assert marks == [True, True, False]
    assert len(read(on.log(), DEAD_LETTERS)) == 3


def test_a_dead_letter_of_an_earlier_version_is_replayed_from_its_value_and_one_whose_record_is_gone_is_not(
    on: OnALog,
) -> None:
    letters(on)
    log = on.log()
    value = {**DeadLetter.of(read(log, INTERACTIONS, 1)[0], BadEvent("unknown_item", "")).to_record(), "schema": 2}
    with log.producer("gate").transaction() as transaction:
        transaction.send(DEAD_LETTERS, value, key="unknown_item", timestamp=1.0)
    log.delete_before(INTERACTIONS, 1, len(REFUSED))
    assert on("dead-letters", "replay").out.startswith("1 replayed, 3 not: the record is gone")
    (again,) = log.read(INTERACTIONS, 1, len(REFUSED), log.end_offset(INTERACTIONS, 1))
    assert (again.key, again.value) == ("u", {"n": 1})


def test_topics_are_created_once_and_checked(on: OnALog) -> None:
    on.log().close()
    missing = on("topics", "check")
    assert (missing.code, missing.out) == (2, "")
    assert missing.err.count("does not exist") == len(pipeline_topics())
    assert "`raie topics create` creates those that are missing" in missing.err
    said = f"{on.url}: {len(pipeline_topics())} topics are as the pipeline needs them\n"
    for command, more in (("create", ""), ("create", ""), ("check", "interactions: no records\n")):
        ended = on("topics", command)
        assert (ended.code, ended.out) == (0, said + more)
    on.partitions = 5
    refused(on("topics", "create"), "exists with partitions=2")
    other = on("topics", "check")
    assert (other.code, other.out) == (2, "")
    assert "topic interactions has 2 partitions, not 5" in other.err
