"""The logs under test; a third one is one more entry in `KINDS`."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pipeline.streams import GenerationLog, Log, MemoryLog, SqliteLog, Topic, open_log
from tests.broker import settings

KINDS: dict[str, Callable[[pytest.FixtureRequest, Path], Log]] = {
    "memory": lambda *_: MemoryLog(),
    "sqlite": lambda _, folder: SqliteLog(folder / "log.db"),
    "generation": lambda _, folder: GenerationLog(SqliteLog(folder / "log.db"), 2),
    "kafka": lambda request, _: open_log(request.getfixturevalue("kafka_url"), settings()),
}

TOPICS = (
    Topic("one"),
    Topic("many", 4),
    Topic("many_too", 4),
    Topic("short", 1, "while needed"),
    Topic("table", 2, "compacted"),
)


@pytest.fixture(params=sorted(KINDS))
def log(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Log]:
    opened = KINDS[request.param](request, tmp_path)
    opened.create_topics(TOPICS)
    yield opened
    opened.close()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "log.db"


@pytest.fixture
def sqlite(path: Path) -> Iterator[SqliteLog]:
    opened = SqliteLog(path)
    opened.create_topics(TOPICS)
    yield opened
    opened.close()
