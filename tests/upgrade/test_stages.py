"""A running pipeline of the version before is upgraded stage by stage while events come: none is lost or doubled.

RAIE_SOAK=1 runs it, as `make soak` does. The version before is commit `BEFORE` of this repository, unpacked from its
history; the order of the stages is that of docs/guides/upgrade.md.
"""

import io
import os
import subprocess
import sys
import tarfile
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from pipeline.streams import Log, open_existing_log
from pipeline.streams.topics import DEAD_LETTERS, EDITS, GATED, INTERACTIONS, OUTCOMES, REGIONS
from tests.upgrade.test_upgrade import FIXTURE, SETTINGS, at_event, eventually

REPOSITORY = Path(__file__).parents[2]
BEFORE = "1a1139b"
PACKAGES = ("pipeline", "consumers", "adapters_store")
STAGES = ("train", "monitor", "gate")
"""In the order of their upgrade: those that read a record before those that write it."""

RATE, EVENTS = 60, 1_800
SOON = ("monitor.expected_run=200", "consumers.poll_timeout=0.1")

FEED = """
import csv, sys, time
from pipeline.streams import open_log
from pipeline.streams.topics import GATED, INTERACTIONS, pipeline_topics

url, data, rate, events = sys.argv[1], sys.argv[2], float(sys.argv[3]), int(sys.argv[4])
log = open_log(url)
log.create_topics(pipeline_topics(partitions=2))
producer = log.producer("feed")
with open(data) as file:
    rows = list(csv.DictReader(file))[-events:]
print("created", flush=True)
for number, row in enumerate(rows):
    value = {"event_id": f"e{number}", "user_id": row["user_id"], "item_id": row["item_id"]}
    value["timestamp"] = float(row["timestamp"])
    with producer.transaction() as transaction:
        transaction.send(INTERACTIONS, value, key=row["user_id"], timestamp=value["timestamp"])
    time.sleep(1 / rate)
    while number - log.end_offset(GATED, 0) > 150:
        time.sleep(0.05)
"""
"""A producer of the version before, which is not upgraded; it waits where the gate is far behind."""


@dataclass
class Pipeline:
    """Stages in processes of their own, each of the version before or of this one.

    Attributes:
        folder: with the old packages, ROOT, data and log.
        running: process of each stage.
    """

    folder: Path
    running: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    @property
    def url(self) -> str:
        return f"sqlite:///{self.folder / 'rolling.sqlite'}"

    def start(self, stage: str, code: Path) -> None:
        """Start a stage from the packages of a folder."""
        settings = [f"--set={setting}" for setting in (*SETTINGS, *SOON, f"log.url={self.url}")]
        command = [stage, "--root", str(self.folder / "root"), "--instance", f"{stage}-0", *settings]
        self.running[stage] = self.spawn(code, stage, "-m", "consumers.cli.main", *command)

    def stop(self, stage: str) -> None:
        """Ask a stage to stop, and wait for it."""
        process = self.running.pop(stage)
        assert process.poll() is None, self.printed(stage)
        process.terminate()
        assert process.wait(60.0) in (0, -15, 143), self.printed(stage)

    def spawn(self, code: Path, name: str, *arguments: str) -> subprocess.Popen[bytes]:
        """Run Python on the packages of a folder."""
        environment = {**os.environ, "PYTHONPATH": str(code), "OMP_NUM_THREADS": "1"}
        with (self.folder / f"{name}.out").open("ab") as out:
            command = [sys.executable, *arguments]
            return subprocess.Popen(command, cwd=self.folder, env=environment, stdout=out, stderr=out)

    def printed(self, name: str) -> str:
        """Return what a process wrote so far."""
        return (self.folder / f"{name}.out").read_text()


def packages_of(commit: str, folder: Path) -> Path:
    """Unpack the packages of an earlier commit; a history without it is a failure."""
    command = ["git", "-C", str(REPOSITORY), "archive", commit, *PACKAGES]
    done = subprocess.run(command, capture_output=True, check=False)
    assert done.returncode == 0, (
        f"this clone has no commit {commit}: {done.stderr.decode().strip()}; fetch the whole history "
        "(git fetch --unshallow) and try again"
    )
    with tarfile.open(fileobj=io.BytesIO(done.stdout)) as archive:
        archive.extractall(folder, filter="data")
    return folder


@pytest.fixture(scope="module")
def upgraded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Log, dict[str, int]]]:
    """The log after the upgrade, and the number of gated events at which each stage was replaced."""
    pipeline = Pipeline(tmp_path_factory.mktemp("rolling"))
    old = packages_of(BEFORE, pipeline.folder / "before")
    with tarfile.open(FIXTURE) as archive:
        wanted = [member for member in archive.getmembers() if member.name.startswith(("root", "data"))]
        archive.extractall(pipeline.folder, wanted, filter="data")
    data = str(pipeline.folder / "data/interactions.csv")
    feed = pipeline.spawn(old, "feed", "-c", FEED, pipeline.url, data, str(RATE), str(EVENTS))
    try:
        eventually(lambda: "created" in pipeline.printed("feed"), "the log is created")
        for stage in STAGES:
            pipeline.start(stage, old)
        with closing(open_existing_log(pipeline.url)) as log:
            replaced = {}
            for number, stage in enumerate(STAGES, start=1):
                due = number * EVENTS // 5
                eventually(lambda due=due: log.end_offset(GATED, 0) >= due, f"{due} events are gated")
                pipeline.stop(stage)
                replaced[stage] = log.end_offset(GATED, 0)
                pipeline.start(stage, REPOSITORY)
            assert feed.wait(300.0) == 0, pipeline.printed("feed")
            eventually(lambda: log.end_offset(GATED, 0) >= EVENTS, "all events are gated")
            eventually(lambda: at_event(log) >= EVENTS - 100, "the monitor has seen them")
            pipeline.stop("gate")
            pipeline.stop("monitor")
            eventually(lambda: len(values(log, OUTCOMES)) >= len(values(log, EDITS)), "all edits have ended")
            pipeline.stop("train")
            yield log, replaced
    finally:
        for process in (feed, *pipeline.running.values()):
            process.kill()
            process.wait()


def values(log: Log, topic: str) -> list[Any]:
    """Values of all records of a topic, partition by partition."""
    ends = [(partition, log.end_offset(topic, partition)) for partition in range(log.topic(topic).partitions)]
    return [record.value for partition, end in ends for record in log.read(topic, partition, 0, end)]


def test_each_event_is_gated_once_and_in_order(upgraded: tuple[Log, dict[str, int]]) -> None:
    log, replaced = upgraded
    sent = [record["event_id"] for record in values(log, INTERACTIONS)]
    gated = values(log, GATED)
    assert len(sent) == EVENTS
    assert sorted(record["event_id"] for record in gated) == sorted(sent)
    assert [record["number"] for record in gated] == list(range(EVENTS))
    assert 0 < replaced["train"] < replaced["monitor"] < replaced["gate"] < EVENTS, "events came all the while"
    assert not values(log, DEAD_LETTERS)


def test_each_edit_is_carried_out_once_under_either_version(upgraded: tuple[Log, dict[str, int]]) -> None:
    log, replaced = upgraded
    edits, outcomes, regions = (values(log, topic) for topic in (EDITS, OUTCOMES, REGIONS))
    assert set(Counter(edit["edit_id"] for edit in edits).values()) == {1}
    assert {edit["edit_id"] for edit in edits} == {outcome["edit_id"] for outcome in outcomes}
    assert len(outcomes) == len(edits)
    published = [outcome["edit_id"] for outcome in outcomes if outcome["published"]]
    assert sorted(record["edit_id"] for record in regions) == sorted(published)
    moments = [edit["at_event"] for edit in edits]
    assert min(moments) < replaced["train"] and max(moments) > replaced["gate"]


def test_a_history_without_the_version_before_is_a_failure_that_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="git fetch --unshallow"):
        packages_of("0" * 40, tmp_path)
