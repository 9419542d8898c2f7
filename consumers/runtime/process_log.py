"""Status lines of a long-running process through the standard library's logging, as text or as JSON objects.

What reports a problem that others should look at is given `Logger.warning`, what tells of progress `Logger.info`; so
the parts that say something take a function of one text, and tests give them a list.
"""

import json
import logging
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from datetime import UTC, datetime

from adapters_store.errors import StoreError
from pipeline.config import LoggingSettings
from pipeline.errors import RaieError

LOGGER = logging.getLogger("raie")
"""Logger of the program; those of libraries have names of their own, and are shown from warnings on."""

DEFECT, WRONG = 1, 2
"""Exit codes of a process that ends by an unexpected error, and by one that a person can fix."""


class JsonLines(logging.Formatter):
    """One JSON object a record, in one line.

    Args:
        stage: stage or service of the process.
        instance: its name.
    """

    def __init__(self, stage: str, instance: str) -> None:
        super().__init__()
        self._process = {"stage": stage, "instance": instance}

    def format(self, record: logging.LogRecord) -> str:
        """Return the fields time (ISO 8601, UTC), level, stage, instance, logger, message, and traceback if any."""
        moment = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        line = {
            "time": moment.replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            **self._process,
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info and record.exc_info[1]:
            line["traceback"] = "".join(traceback.format_exception(record.exc_info[1]))
        return json.dumps(line)


@contextmanager
def process_log(settings: LoggingSettings, stage: str, instance: str) -> Iterator[logging.Logger]:
    """Show what is logged on stderr until the block ends.

    As JSON, warnings of Python are lines, too, and so is the error that ends the process, which then exits as it would
    with text: 2 (or the status of the error) where a person can fix it, else 1.

    Args:
        settings: section `logging`.
        stage: stage or service of the process.
        instance: its name.

    Yields:
        The logger of the program.
    """
    root, as_json = logging.getLogger(), settings.format == "json"
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines(stage, instance) if as_json else logging.Formatter("%(message)s"))
    before = root.level, LOGGER.level
    level = logging.getLevelNamesMapping()[settings.level.upper()]
    root.addHandler(handler)
    root.setLevel(max(level, logging.WARNING))
    LOGGER.setLevel(level)
    logging.captureWarnings(as_json)
    try:
        with _errors_as_lines() if as_json else nullcontext():
            yield LOGGER
    finally:
        logging.captureWarnings(False)
        root.removeHandler(handler)
        root.setLevel(before[0])
        LOGGER.setLevel(before[1])


@contextmanager
def _errors_as_lines() -> Iterator[None]:
    try:
        yield
    except BrokenPipeError:
        raise
    except (RaieError, StoreError, OSError) as error:
        LOGGER.critical(str(error))
        raise SystemExit(getattr(error, "exit_status", WRONG)) from None
    except Exception as error:
        LOGGER.critical(f"unexpected error: {error!r}", exc_info=True)
        raise SystemExit(DEFECT) from None
