"""A data set that is fed again goes on where it stopped, and nothing of it is gated twice."""

import os
import signal
import subprocess
import sys
from collections import Counter
from contextlib import closing
from pathlib import Path

import pytest

from consumers.producer.named_feed import NamedFeed
from pipeline.config import LogSettings
from pipeline.errors import DataError
from pipeline.streams import FencedError, Log, MemoryLog, open_log
from pipeline.streams.topics import FEEDS, INTERACTIONS, ITEMS, pipeline_topics
from tests.consumers.gating import changed, events, gate_loop, gated, read
from tests.consumers.soak import PARTITIONS
from tests.consumers.test_loop import until
from tests.replay.small import SET, Ended, emerging, raie

ROOT = Path(__file__).parents[2]


def arguments(log: LogSettings, *more: str) -> list[str]:
    names = ("url", "prefix")
    settings = [word for name in names for word in ("--set", f"log.{name}='{getattr(log, name)}'")]
    return ["produce", "--data", str(emerging()), *SET, *settings, "--set", f"log.partitions={PARTITIONS}", *more]


def written(log: Log) -> int:
    """Number of records of interactions and items."""
    partitions = [(INTERACTIONS, p) for p in range(PARTITIONS)] + [(ITEMS, 0)]
    return sum(len(read(log, *where)) for where in partitions)


def stream_of(log: Log) -> list[object]:
    """Ids of the events of the stream so far; the last transaction of a killed feed may stay undecided for long."""
    ends = [log.end_offset(INTERACTIONS, partition) for partition in range(PARTITIONS)]
    records = (record for p, end in enumerate(ends) for record in log.read(INTERACTIONS, p, 0, end))
    return [r.value["event_id"] for r in records if r.value is not None and "sequence" in r.value]


def killed_on_the_way(log_settings: LogSettings, log: Log) -> None:
    command = [sys.executable, "-m", "consumers.cli.main", *arguments(log_settings, "--rate", "300")]
    with subprocess.Popen(command, env={**os.environ, "PYTHONPATH": str(ROOT)}, stderr=subprocess.DEVNULL) as feeding:
        until(lambda: len(stream_of(log)) > 50)
        feeding.send_signal(signal.SIGKILL)


def test_a_feed_killed_on_the_way_is_completed_and_gated_once(
    log_settings: LogSettings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    expected = [event.event_id for event in events()[1]]
    with closing(open_log(log_settings.url, log_settings)) as log:
        log.create_topics(pipeline_topics(PARTITIONS))
        killed_on_the_way(log_settings, log)
        assert 50 < len(stream_of(log)) < len(expected)
        again = raie(capsys, *arguments(log_settings))
        assert again.code == 0 and "that an earlier run has written" in again.out
        # First, since it waits for what the feed has committed.
        everything = written(log)
        assert Counter(stream_of(log)) == Counter(expected)
        third = raie(capsys, *arguments(log_settings))
        assert (third.code, third.out.split()[0]) == (0, "0")
        assert written(log) == everything
    gate_loop(lambda: open_log(log_settings.url, log_settings), tmp_path, changed()).run()
    with closing(open_log(log_settings.url, log_settings)) as log:
        assert Counter(g["event_id"] for g in gated(log)) == Counter(expected)


@pytest.fixture
def log_url(tmp_path: Path) -> LogSettings:
    return LogSettings(url=f"sqlite:///{tmp_path / 'log.sqlite'}", partitions=PARTITIONS)


def test_other_settings_are_another_feed(log_url: LogSettings, capsys: pytest.CaptureFixture[str]) -> None:
    assert raie(capsys, *arguments(log_url)).code == 0
    with closing(open_log(log_url.url, log_url)) as log:
        before = written(log)
        other = ("--set", "data.finetune_from=0.6")
        ended: Ended = raie(capsys, *arguments(log_url, *other))
        assert (ended.code, written(log)) == (2, before)
        assert "(data.finetune_from)" in ended.err and "--feed NAME" in ended.err
        assert raie(capsys, *arguments(log_url, *other, "--feed", "another")).code == 0
        assert written(log) > before
        assert [str(r.key) for r in read(log, FEEDS)][-1] == "another"


def test_a_second_process_of_a_feed_stops_the_first() -> None:
    log = MemoryLog()
    log.create_topics(pipeline_topics(1))
    first = NamedFeed(log, "f", {"data": "d"})
    first.write(lambda t: t.send(ITEMS, {}, key="a", timestamp=0.0), 1)
    second = NamedFeed(log, "f", {"data": "d"})
    assert second.done.position == 1
    with pytest.raises(FencedError):
        first.write(lambda t: t.send(ITEMS, {}, key="b", timestamp=0.0), 2)
    assert [record.key for record in read(log, ITEMS)] == ["a"]
    with pytest.raises(DataError, match=r"\(data\)"):
        NamedFeed(log, "f", {"data": "e"})
