"""Any lasting log can be saved while it is used, and made again on either kind, under the same offsets."""

import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from threading import Event, Thread
from typing import Any

import pytest
from kafka import KafkaProducer

from pipeline.config import LogSettings
from pipeline.errors import LogError
from pipeline.streams import LastingLog, Log, Record, UnavailableError, open_log, restore_log
from pipeline.streams.sqlite.saved import SavedLog, opened
from pipeline.streams.topics import EDITS, GATED, INTERACTIONS, ITEMS, USERS, pipeline_topics
from tests.broker import settings

PARTITIONS = 2

NewLog = Callable[[str], LogSettings]


@pytest.fixture
def new_log(request: pytest.FixtureRequest, tmp_path: Path) -> NewLog:
    """Settings of a log of a kind that does not exist yet."""

    def of(kind: str) -> LogSettings:
        if kind == "kafka":
            return settings(url=request.getfixturevalue("kafka_url"), partitions=PARTITIONS)
        return LogSettings(url=f"sqlite:///{tmp_path / f'{time.monotonic_ns()}.sqlite'}", partitions=PARTITIONS)

    return of


def saved(log: Log, to: Path) -> Path:
    assert isinstance(log, LastingLog)
    log.save(to)
    return to


def everything(log: Log) -> dict[tuple[str, int], list[tuple[Record, float | None, bytes | None]]]:
    """All records by partition, with what equality of records leaves out."""
    found = {}
    for topic in pipeline_topics(PARTITIONS):
        for number in range(topic.partitions):
            first, end = log.start_offset(topic.name, number), log.end_offset(topic.name, number)
            records = log.read(topic.name, number, first, end)
            found[topic.name, number] = [(record, record.written_at, record.raw) for record in records]
    return found


def fill(log: Log) -> None:
    """Write records with gaps between them, before the first and behind the last; the gate has read one."""
    log.create_topics(pipeline_topics(PARTITIONS))
    producer = log.producer("writer")
    for turn in range(6):
        with producer.transaction() as transaction:
            for n in range(turn):
                transaction.send(INTERACTIONS, {"n": n}, key=f"u{n}", timestamp=100.25 + n)
            transaction.send(USERS, {"turn": turn}, key="ann", partition=1, timestamp=1.0)
    with producer.transaction() as transaction:
        transaction.send(ITEMS, None, key="gone", timestamp=3.0)
        transaction.send(GATED, {"text": "\ud800"}, key="last \ud800", timestamp=2.0)
    log.delete_before(INTERACTIONS, 0, 3)
    if hasattr(log, "compact"):
        assert log.compact(USERS) == 5
    with closing(log.consumer("gate", (INTERACTIONS,), "g")) as consumer:
        deadline = time.monotonic() + 20
        while len(consumer.poll(1, 0.1)) < 1:
            assert time.monotonic() < deadline
        with producer.transaction() as transaction:
            transaction.commit_offsets(consumer)


def fill_as_a_stock_client(log: LogSettings) -> None:
    stock = KafkaProducer(bootstrap_servers=log.url.removeprefix("kafka://"))
    for key, value in ((b"\xff", b"{}"), (None, b"no json"), (b"a", None)):
        stock.send(log.prefix + INTERACTIONS, value, key, headers=[("trace", b"\0\1"), ("t", b"short")]).get(20)
    stock.close()


def raw_interactions(log: Any) -> list[tuple[object, ...]]:
    """Records of a broker as its client has them."""
    return [
        (number, raw.offset, raw.headers, raw.timestamp, raw.key, raw.value)
        for number in range(PARTITIONS)
        for raw in log._readers.raw(
            log._topics.partition(INTERACTIONS, number),
            log.start_offset(INTERACTIONS, number),
            log.end_offset(INTERACTIONS, number),
        )
    ]


@pytest.mark.parametrize(
    ("source", "target"), [("sqlite", "sqlite"), ("sqlite", "kafka"), ("kafka", "sqlite"), ("kafka", "kafka")]
)
def test_a_log_comes_back_record_by_record_on_either_kind(
    new_log: NewLog, tmp_path: Path, source: str, target: str
) -> None:
    was, now = new_log(source), new_log(target)
    with closing(open_log(was.url, was)) as log:
        fill(log)
        if source == "kafka":
            fill_as_a_stock_client(was)
        file = saved(log, tmp_path / "saved")
        restore_log(file, now.url, now)
        with closing(open_log(now.url, now)) as other:
            other.create_topics(pipeline_topics(PARTITIONS))
            assert everything(other) == everything(log)
            assert sum(map(len, everything(other).values())) > 10
            if (source, target) == ("kafka", "kafka"):
                assert raw_interactions(other) == raw_interactions(log)
            for number in range(PARTITIONS):
                assert other.start_offset(INTERACTIONS, number) == log.start_offset(INTERACTIONS, number)
                assert other.committed("gate", INTERACTIONS, number) == log.committed("gate", INTERACTIONS, number)
                assert other.committed("trainer", EDITS, number) == 0
            end = log.end_offset(GATED, 0)
            with other.producer("writer").transaction() as transaction:
                transaction.send(GATED, {"n": 1}, key="new", timestamp=1.0)
            assert transaction.offsets[0][2] >= end
        with pytest.raises(LogError, match="never overwritten"):
            restore_log(file, now.url, now)


class Copier(Thread):
    """A stage that copies `interactions` to `gated`, exactly once, as fast as it can."""

    def __init__(self, log: LogSettings) -> None:
        super().__init__()
        self.stop = Event()
        self._log = log

    def run(self) -> None:
        with closing(open_log(self._log.url, self._log)) as log:
            producer = log.producer("copier")
            with closing(log.consumer("gate", (INTERACTIONS,), "g")) as consumer:
                while not self.stop.is_set():
                    records = consumer.poll(2, 0.5)
                    with producer.transaction() as transaction:
                        for record in records:
                            transaction.send(GATED, record.value, key=record.key, timestamp=1.0)
                        transaction.commit_offsets(consumer)


@pytest.mark.parametrize("kind", ["sqlite", "kafka"])
def test_saved_amid_commits_a_log_has_all_of_each_transaction_or_nothing(
    new_log: NewLog, tmp_path: Path, kind: str
) -> None:
    found = new_log(kind)
    with closing(open_log(found.url, found)) as log:
        log.create_topics(pipeline_topics(PARTITIONS))
        with log.producer("writer").transaction() as transaction:
            for n in range(4_000):
                transaction.send(INTERACTIONS, {"n": n}, key=f"u{n}", timestamp=1.0)
        copier, moments = Copier(found), set()
        copier.start()
        try:
            deadline = time.monotonic() + 30
            while len(moments) < 3:
                assert time.monotonic() < deadline
                file = saved(log, tmp_path / str(time.monotonic_ns()))
                with closing(SavedLog(file)) as one:
                    committed = one.committed().get("gate", {})
                    copied = [record.value for record in one.records(GATED, 0)]
                    read = [
                        record.value
                        for number in range(PARTITIONS)
                        for record in one.records(INTERACTIONS, number)
                        if record.offset < committed.get((INTERACTIONS, number), 0)
                    ]
                assert sorted(copied) == sorted(read)  # type: ignore[type-var]
                if copied:
                    moments.add(len(copied))
        finally:
            copier.stop.set()
            copier.join()


def test_a_transaction_that_stays_open_is_named(new_log: NewLog, tmp_path: Path) -> None:
    found = new_log("kafka").model_copy(update={"commit_seconds": 1.0})
    with closing(open_log(found.url, found)) as log:
        log.create_topics(pipeline_topics(PARTITIONS))
        other = KafkaProducer(bootstrap_servers=found.url.removeprefix("kafka://"), transactional_id=found.prefix)
        other.init_transactions()
        other.begin_transaction()
        other.send(found.prefix + GATED, b"{}").get(20)
        with pytest.raises(UnavailableError, match="a transaction was open on gated/0"):
            saved(log, tmp_path / "saved")
        other.abort_transaction()
        other.close()


def test_unread_records_that_retention_would_delete_at_once_are_refused(new_log: NewLog, tmp_path: Path) -> None:
    was, now = new_log("sqlite"), new_log("kafka")
    with closing(open_log(was.url, was)) as log:
        fill(log)
        file = saved(log, tmp_path / "saved")
    short = now.model_copy(update={"retention_days": 1e-9})
    with pytest.raises(LogError, match=r"interactions/\d has records from offset \d on that no gate has read"):
        restore_log(file, short.url, short)


def test_a_saved_log_is_one_file_that_no_reader_changes(new_log: NewLog, tmp_path: Path) -> None:
    was = new_log("sqlite")
    with closing(open_log(was.url, was)) as log:
        fill(log)
        folder = tmp_path / "backup"
        folder.mkdir()
        file = saved(log, folder / "saved")
        with closing(SavedLog(file)) as one:
            before = one.bounds(), one.committed()
        with opened(file) as again:
            assert everything(again) == everything(log)
        assert list(folder.iterdir()) == [file]
        with closing(SavedLog(file)) as one:
            assert (one.bounds(), one.committed()) == before
