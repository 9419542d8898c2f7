"""`raie produce --follow`: lines of a pipe until its end, and of a file that grows, from where it stopped."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from threading import Event

import pytest

from consumers.producer.line_source import LONGEST, Line, LineSource
from pipeline.streams import SqliteLog
from pipeline.streams.topics import INTERACTIONS, ITEMS
from tests.consumers.gating import read
from tests.consumers.test_loop import until
from tests.replay.small import raie

ROOT = Path(__file__).parents[2]


def line(number: int, **more: object) -> str:
    return json.dumps({"event_id": f"e{number}", "user": "ann", "item": "i1", "ts": 1700000000 + number, **more}) + "\n"


class Followed:
    """A log, and commands that follow lines into it."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "log.sqlite"
        self.file = folder / "events.jsonl"
        self.settings = ("--set", f"log.url=sqlite:///{self.path}", "--set", "log.partitions=1")

    def ids(self, topic: str = INTERACTIONS) -> list[object]:
        if not self.path.exists():
            return []
        with closing(SqliteLog(self.path)) as log:
            known = {topic.name for topic in log.topics()}
            return [(r.value or {}).get("event_id", r.key) for r in read(log, topic)] if topic in known else []

    @contextmanager
    def following(self, file: str, *more: str) -> Iterator["subprocess.Popen[str]"]:
        command = [sys.executable, "-m", "consumers.cli.main", "produce", "--follow", file, *self.settings, *more]
        pipes = dict.fromkeys(("stdin", "stderr"), subprocess.PIPE)
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        with subprocess.Popen(command, text=True, env=environment, **pipes) as process:  # type: ignore[call-overload]
            try:
                yield process
            finally:
                process.kill()

    def wait_for(self, process: "subprocess.Popen[str]", *ids: str) -> None:
        """Wait until the newest events of the log are these, and fail with what a process said that ended before."""
        until(lambda: self.ids()[-len(ids) :] == list(ids) or process.poll() is not None)
        assert process.poll() is None, process.communicate()[1]


@pytest.fixture
def followed(tmp_path: Path) -> Followed:
    return Followed(tmp_path)


def test_a_pipe_is_written_as_it_comes_and_ends_with_it(followed: Followed) -> None:
    with followed.following("-") as process:
        assert process.stdin is not None and process.stderr is not None
        process.stdin.write(line(0) + "\n" + line(1, ts="soon") + "{broken\n")
        process.stdin.flush()
        followed.wait_for(process, "e0")
        process.stdin.write(line(2).rstrip("\n"))
        process.stdin.close()
        assert process.wait(20) == 0
        said = process.stderr.read().splitlines()
    assert followed.ids() == ["e0", "e2"]
    assert said[0].startswith("line 3: bad_timestamp: ") and said[1].startswith("line 4: bad_json: ")
    assert said[2].startswith("2 records written to ") and said[2].endswith("2 lines refused")


def test_a_file_is_followed_from_where_it_stopped(followed: Followed, capsys: pytest.CaptureFixture[str]) -> None:
    followed.file.write_text(line(0) + line(1)[:10])
    for number in (1, 2):
        with followed.following(str(followed.file)) as process:
            followed.wait_for(process, f"e{number - 1}")
            with followed.file.open("a") as file:
                file.write((line(1)[10:] if number == 1 else line(2)) + line(3)[:5] * (number == 2))
            followed.wait_for(process, f"e{number}")
            process.send_signal(signal.SIGTERM if number == 1 else signal.SIGKILL)
            assert process.wait(20) == (0 if number == 1 else -signal.SIGKILL)
    assert followed.ids() == ["e0", "e1", "e2"]
    followed.file.write_text(line(0))
    ended = raie(capsys, "produce", "--follow", followed.file, *followed.settings)
    assert ended.code == 2 and "was replaced or cut" in ended.err
    followed.file.write_text(line(9) * 9)
    ended = raie(capsys, "produce", "--follow", followed.file, *followed.settings)
    assert ended.code == 2 and "(first line)" in ended.err


def test_items_are_followed_too(followed: Followed) -> None:
    with followed.following("-", "--topic", "items") as process:
        process.communicate('{"item_id": "i9", "title": "Heat"}\n{"title": "no id"}\n', timeout=20)
        assert process.returncode == 0
    assert followed.ids(ITEMS) == ["i9"]


@pytest.mark.parametrize("given", [[], ["--data", "x", "--follow", "y"], ["--follow", "y", "--topic", "gated"]])
def test_what_makes_no_sense_is_refused(
    followed: Followed, capsys: pytest.CaptureFixture[str], given: list[str]
) -> None:
    assert raie(capsys, "produce", *given, *followed.settings).code == 2
    assert not followed.path.exists()


def lines_of(write: Callable[[int], object]) -> list[Line]:
    """The lines that a source reads from what is written into a pipe."""
    reader, writer = os.pipe()
    found: list[Line] = []
    try:
        write(writer)
        os.close(writer)
        LineSource(reader, ends=True).follow(found.extend, Event())
    finally:
        os.close(reader)
    return found


def test_lines_have_numbers_and_ends() -> None:
    found = lines_of(lambda pipe: os.write(pipe, b"a\n\nbc"))
    assert found == [Line(1, b"a", 2), Line(2, b"", 3), Line(3, b"bc", 6)]
    assert lines_of(lambda _: None) == []


def test_a_line_beyond_all_bounds_takes_no_memory_and_hides_no_other(tmp_path: Path) -> None:
    file = tmp_path / "long"
    file.write_bytes(b"a\n" + b"x" * (3 * LONGEST) + b"\nb\n")
    found: list[Line] = []
    with file.open("rb", buffering=0) as opened:
        LineSource(opened.fileno(), ends=True).follow(found.extend, Event())
    assert found == [Line(1, b"a", 2), Line(2, None, 3 * LONGEST + 3), Line(3, b"b", 3 * LONGEST + 5)]
