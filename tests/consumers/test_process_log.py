"""Status lines: as before by default, and each a JSON object on request, with the error that ends a process."""

import json
import logging
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from consumers.runtime.process_log import process_log
from pipeline.config import LoggingSettings, load_config
from pipeline.errors import DataError
from pipeline.streams.interface import FencedError
from tests.replay.small import SET, raie

JSON = LoggingSettings(format="json")


@pytest.fixture(autouse=True)
def as_it_was() -> Iterator[None]:
    root = logging.getLogger()
    before = list(root.handlers), root.level
    yield
    assert (list(root.handlers), root.level) == before


def lines(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in capsys.readouterr().err.splitlines()]


def test_text_is_the_message_alone(capsys: pytest.CaptureFixture[str]) -> None:
    with process_log(LoggingSettings(), "gate", "gate-0") as logger:
        logger.info("gate gate-0 runs at 100% of its rate")
        logging.getLogger("kafka").info("of a library, and no problem")
        logging.getLogger("kafka").warning("of a library")
    assert capsys.readouterr().err == "gate gate-0 runs at 100% of its rate\nof a library\n"


def test_a_json_line_has_its_process_its_level_and_one_line_whatever_was_said(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with process_log(JSON, "gate", "gate-0") as logger:
        logger.warning('two\nlines, "quotes" and 5%')
        logging.getLogger("a.library").error("of a library")
    ours, theirs = lines(capsys)
    assert ours.pop("time").endswith("Z")
    assert ours == {
        "level": "warning",
        "stage": "gate",
        "instance": "gate-0",
        "logger": "raie",
        "message": 'two\nlines, "quotes" and 5%',
    }
    assert (theirs["logger"], theirs["level"]) == ("a.library", "error")


@pytest.mark.parametrize(("level", "shown"), [("info", 3), ("warning", 2), ("error", 1)])
def test_the_level_hides_what_is_less_severe(level: Any, shown: int, capsys: pytest.CaptureFixture[str]) -> None:
    with process_log(LoggingSettings(level=level), "gate", "gate-0") as logger:
        logger.info("one")
        logger.warning("two")
        logger.error("three")
    assert len(capsys.readouterr().err.splitlines()) == shown


@pytest.mark.parametrize(
    ("error", "code", "has_traceback"),
    [(DataError("no set-up"), 2, False), (FencedError("gone"), 4, False), (KeyError(1), 1, True)],
)
def test_the_error_that_ends_a_process_is_a_json_line_and_keeps_its_exit_code(
    error: Exception, code: int, has_traceback: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended, process_log(JSON, "gate", "gate-0"):
        raise error
    (line,) = lines(capsys)
    assert ended.value.code == code
    assert line["level"] == "critical" and str(error) in line["message"]
    assert ("traceback" in line) == has_traceback


def test_with_text_the_error_goes_on_to_the_command() -> None:
    with pytest.raises(DataError), process_log(LoggingSettings(), "gate", "gate-0"):
        raise DataError("no set-up")


def test_a_warning_of_python_is_a_json_line(capsys: pytest.CaptureFixture[str]) -> None:
    with process_log(JSON, "gate", "gate-0"), warnings.catch_warnings(record=False):
        warnings.simplefilter("always")
        warnings.warn("old", DeprecationWarning, stacklevel=1)
    (line,) = lines(capsys)
    assert "DeprecationWarning: old" in line["message"]


def test_a_command_writes_nothing_but_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    settings = ("--set", f"log.url=sqlite:///{tmp_path / 'log.sqlite'}", "--set", "logging.format=json")
    ended = raie(capsys, "gate", "--root", tmp_path, "--instance", "g", *SET, *settings)
    (line,) = [json.loads(text) for text in ended.err.splitlines()]
    assert ended.code == 2
    assert str(tmp_path) in line["message"] and (line["stage"], line["instance"]) == ("gate", "g")


def test_the_format_is_text_unless_asked_for() -> None:
    assert load_config().logging == LoggingSettings(format="text", level="info")
