"""A driver that kills worker processes at random, and a verifier that compares their results with a replay.

python -m tests.consumers.soak [--kafka NODES]     50 edits or more, at least 30 kills; one node of three dies as well
"""

import argparse
import json
import os
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Any

import torch

from adapters_store import AdaptersStore
from adapters_store.backends.interface import ARRAYS
from consumers.monitor.changelog import read_newest
from consumers.producer.feed import Feed, feed_of
from consumers.producer.feed_writer import FeedWriter, Pace
from consumers.runtime.ledger import Ledger, adapters_ever_live, arrays_ever_named
from consumers.runtime.lockstep import Barrier, nothing_gated_since
from consumers.runtime.runner import adapters_of, log_of
from consumers.runtime.topic_reader import new_records, value_of
from consumers.trainer.orphans import collect_orphans
from pipeline.config import Config, LogSettings
from pipeline.datasets.dataset import read_dataset
from pipeline.evaluation.ledger import write_ledger
from pipeline.evaluation.replay import prepare as prepare_replay
from pipeline.evaluation.replay import replay
from pipeline.evaluation.run_folder import STATE
from pipeline.setup.bootstrap import set_up
from pipeline.setup.storage import save_setup
from pipeline.streams import Log, SqliteLog, UnavailableError, topics
from pipeline.streams.topics import GATED, OUTCOMES, REGIONS
from tests.broker import Broker
from tests.broker import settings as of_a_broker
from tests.consumers.forking import Nursery
from tests.consumers.gating import changed, read, with_users
from tests.consumers.worker import settings
from tests.replay.small import emerging

EDITS, KILLS, SOAK_EVENTS = 50, 40, 10_000
"""The long form: least numbers of edits and kills, and the events of its data set."""

EARLY = 0.25
"""Share of the deaths that may come before any event is scored; the others are spread over the scored events."""

PARTITIONS = 4
WORKERS = (("gate", "g"), ("monitor", "m"), ("trainer", "t0"), ("trainer", "t1"))

OF_THE_LOG = ("gate", "number", "revision", "items", "batch", "schema")
"""Fields of a record of `gated` that a replay does not write."""

Worker = tuple[str, str]
Say = Callable[[str], None]


def quiet(*_: object) -> None:
    """Ignore progress."""


def prepare(folder: Path, events: int, config: Config, data: Path | None = None) -> Feed:
    """Write the set-up of the workers, and all that precedes the stream; `data` takes the place of the usual log."""
    dataset = read_dataset(data or emerging(events))
    plan, catalogue = prepare_replay(dataset, config, quiet)
    save_setup(set_up(config, catalogue, plan.setup, seed=0), folder / "root")
    (folder / "config.json").write_text(config.model_dump_json())
    feed = feed_of(dataset, config)
    with closing(log_of(config)) as log:
        FeedWriter(log, feed, "soak", {}, quiet).write_before()
    return feed


def write_stream(feed: Feed, config: Config, rate: float | None = None) -> None:
    """Write the stream, at a number of events per second or all at once."""
    with closing(log_of(config)) as log:
        FeedWriter(log, feed, "soak", {}, quiet).write_stream(Pace(rate=rate or 1e9), time.sleep, time.monotonic)


class MonitorDriver:
    """Progress of a run.

    Attributes:
        gated: events gated so far.
    """

    def __init__(self, log: Log, config: Config, events: int) -> None:
        self.gated = 0
        self._log = log
        self._events = events
        self._position = 0
        self._barrier = Barrier()
        self._ledger = Ledger(log, config.log.partitions)
        self._ended = 0
        self._lockstep = config.consumers.lockstep

    @property
    def edits(self) -> int:
        """Edits that have ended so far."""
        with suppress(UnavailableError):
            self._ended += len(self._ledger.poll())
        return self._ended

    def is_over(self) -> bool:
        """True if every event is scored and every edit due to them has ended, and a broker is there to say so."""
        try:
            return self._is_over()
        except UnavailableError:
            return False

    def _is_over(self) -> bool:
        for record in new_records(self._log, GATED, self._position):
            self._position = record.offset + 1
            self.gated += 1
        if self.gated < self._events:
            return False
        return self._barrier.is_open(self._log) if self._lockstep else self._nothing_left()

    def _nothing_left(self) -> bool:
        """True if the monitor has read everything and waits for no outcome: the end of a live run."""
        kept = read_newest(self._log)
        at = kept.steps[-1] if kept.steps else kept.at
        taken_in = nothing_gated_since(self._log, at.gated) and not new_records(self._log, OUTCOMES, at.outcomes)
        return taken_in and self.edits == len(self._ledger.edits)


@dataclass
class Driver:
    """Keeps the workers running, and kills them.

    Attributes:
        folder: see `prepare`.
        events: of the stream.
        rng: draws who dies, and when.
        kills: how many are to die, spread over the stream.
        kill_every: seconds between two kills from outside, on average.
        workers: who runs.
        halfway: called once half of the stream is gated.
        say: told every few seconds how far it has come.
        gated: events so far.
        deaths: stage of every process that was killed, by itself or from outside.
    """

    folder: Path
    events: int
    rng: Random
    kills: int = 0
    kill_every: float = 3.0
    workers: Sequence[Worker] = WORKERS
    halfway: Callable[[], None] = quiet
    say: Say = quiet
    gated: int = 0
    deaths: list[str] = field(default_factory=list)
    running: dict[Worker, int] = field(default_factory=dict)
    nursery: Nursery = field(default_factory=Nursery)

    def run(self, limit: float) -> None:
        """Run until everything is settled, or so many seconds have passed."""
        began = time.monotonic()
        next_kill, next_word, halfway = began + self.kill_every, began, False
        config = settings(self.folder)
        try:
            with closing(log_of(config)) as log:
                course = MonitorDriver(log, config, self.events)
                while not self.finished(course):
                    now, self.gated = time.monotonic(), course.gated
                    assert now - began < limit, f"not settled after {limit} s: {self.deaths}"
                    self.keep_running()
                    if not halfway and 2 * self.gated >= self.events:
                        halfway = True
                        self.halfway()
                    if now >= next_kill and self.may_die():
                        next_kill = now + self.rng.uniform(0.3, 1.7) * self.kill_every
                        os.kill(self.rng.choice(list(self.running.values())), signal.SIGKILL)
                    if now >= next_word:
                        next_word = now + 10.0
                        self.say(
                            f"{now - began:4.0f} s: {course.gated} of {self.events} gated, {course.edits} edits, "
                            f"{len(self.deaths)} kills"
                        )
                    time.sleep(0.05)
        finally:
            self.end()

    def may_die(self) -> bool:
        """True if a death is due: all of them at the start would miss the later edits."""
        return len(self.deaths) < self.kills * min(1.0, EARLY + self.gated / self.events)

    def keep_running(self) -> None:
        for worker in self.workers:
            pid = self.running.get(worker)
            code = None if pid is None else self.nursery.code(pid)
            if code is not None:
                assert code == -signal.SIGKILL, f"{worker} ended with {code}: {self.words(worker)}"
                self.deaths.append(worker[0])
            if pid is None or code is not None:
                self.running[worker] = self.start(worker)

    def start(self, worker: Worker) -> int:
        death = self.rng.randint(1, 1_000_000) if self.may_die() else 0
        words = self.folder / f"{worker[1]}.err"
        return self.nursery.start([*worker, str(self.folder), str(death), str(words)])

    def words(self, worker: Worker) -> str:
        return (self.folder / f"{worker[1]}.err").read_text()[-2000:]

    def points(self) -> Counter[str]:
        """Number of deaths, by point."""
        lines = [line for path in self.folder.glob("*.err") for line in path.read_text().splitlines()]
        return Counter(line.removeprefix("killed at ") for line in lines if line.startswith("killed at "))

    def end(self) -> None:
        self.stop()
        self.nursery.close()

    def stop(self) -> None:
        """End the workers; others may be started."""
        running = [pid for pid in self.running.values() if self.nursery.code(pid) is None]
        for pid in running:
            os.kill(pid, signal.SIGTERM)
        while any(self.nursery.code(pid) is None for pid in running):
            time.sleep(0.01)

    def finished(self, course: MonitorDriver) -> bool:
        # Whoever is still to die, dies at rest: to start again must change nothing there either.
        return course.is_over() and len(self.deaths) >= self.kills


@dataclass(frozen=True)
class Left:
    """Results of a run in its log and store.

    Attributes:
        ledger: as `ledger.jsonl` has it.
        gated: what was gated, without what only a log has.
        outcomes: edit ids.
        live: versions that a revision names.
        versions: weights by name of the version.
        torn: what else is in the store.
    """

    ledger: bytes
    gated: Sequence[Mapping[str, Any]]
    outcomes: Sequence[str]
    live: set[str]
    versions: Mapping[str, bytes]
    torn: Sequence[str]


def left(folder: Path) -> Left:
    """Read the results, after orphans were collected."""
    config, adapters = settings(folder), adapters_of(folder / "root")
    store = AdaptersStore(adapters)
    with closing(log_of(config)) as log:
        wait_for_commits(log)
        collect_orphans(log, store)
        write_ledger(Ledger(log, config.log.partitions).records(seed=0), folder / "ledger.jsonl")
        return Left(
            (folder / "ledger.jsonl").read_bytes(),
            gated_of(log),
            [str(r.key) for r in new_records(log, OUTCOMES, 0)],
            adapters_ever_live(log),
            versions_of(adapters),
            [
                *(path.name for path in adapters.iterdir() if path.name not in (ARRAYS, *store.names())),
                *unnamed(log, store),
            ],
        )


def wait_for_commits(log: Log) -> None:
    """Wait until the log shows everything that stages have committed before they ended."""
    for topic in (GATED, topics.EDITS, OUTCOMES, REGIONS):
        for partition in range(log.topic(topic).partitions):
            log.acknowledged_end(topic, partition)


def unnamed(log: Log, store: AdaptersStore) -> list[str]:
    """Array files of edits that no revision names; those of a gate's snapshots are its own."""
    files = set(store.arrays.names()) - arrays_ever_named(log)
    return [sha256 for sha256 in files if not (store.arrays.made_by(sha256) or "").startswith("gate ")]


def gated_of(log: Log) -> list[Mapping[str, Any]]:
    return without_the_log(with_users(log, (value_of(record) for record in read(log, GATED))))


def without_the_log(values: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Records of `gated` as a replay writes them."""
    return [{name: field for name, field in value.items() if name not in OF_THE_LOG} for value in values]


def versions_of(adapters: Path) -> dict[str, bytes]:
    return {path.parent.name: path.read_bytes() for path in adapters.glob("*/adapter.safetensors")}


def verify(found: Left, replayed: Path) -> None:
    """Compare the results with the run folder of a replay: nothing lost or duplicated, and every byte equal."""
    state = replayed / STATE / "seed0" / "raie"
    with closing(SqliteLog(state / "log.sqlite")) as log:
        expected = gated_of(log)
    assert [g["event_id"] for g in found.gated] == [g["event_id"] for g in expected]
    assert found.gated == expected
    assert max(Counter(found.outcomes).values(), default=1) == 1
    assert found.versions.keys() == found.live
    assert found.torn == []
    assert found.ledger == (replayed / "ledger.jsonl").read_bytes()
    assert found.versions == versions_of(state / "adapters")


@contextmanager
def one_thread() -> Iterator[None]:
    """Run with one thread, as the workers do: sums over two round differently, once in a few hundred windows."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def soak(
    folder: Path,
    events: int,
    kills: int,
    log: LogSettings,
    kill_every: float,
    limit: float = 500.0,
    halfway: Callable[[], None] = quiet,
    say: Say = quiet,
) -> dict[str, Any]:
    """Replay a data set, run it again through processes that are killed, and compare the results."""
    config = changed(consumers={"lockstep": True, "snapshot_events": 300}).model_copy(update={"log": log})
    with one_thread():
        replay(read_dataset(emerging(events)), config, ["raie"], 1, folder / "replay", quiet, time.monotonic)
        feed = prepare(folder, events, config)
    write_stream(feed, config)
    began = time.monotonic()
    driver = Driver(folder, len(feed.stream), Random(0), kills, kill_every, halfway=halfway, say=say)
    driver.run(limit)
    found = left(folder)
    verify(found, folder / "replay")
    return {
        "events": len(feed.stream),
        "edits": len(found.outcomes),
        "published": len(found.live),
        "kills": len(driver.deaths),
        "killed": dict(Counter(driver.deaths)),
        "at": dict(driver.points()),
        "seconds": round(time.monotonic() - began, 1),
        "ledger": "that of the replay",
    }


@contextmanager
def cluster_in(folder: Path, nodes: int) -> Iterator[Broker]:
    """Brokers of this run alone."""
    cluster = Broker(folder, nodes)
    try:
        yield cluster
    finally:
        cluster.stop()


def full(folder: Path, log: LogSettings, halfway: Callable[[], None] = quiet) -> dict[str, Any]:
    """The long form."""
    return soak(folder, SOAK_EVENTS, KILLS, log, 2.0, 7200.0, halfway, say=lambda words: print(words, file=sys.stderr))


def main() -> None:
    """Run the long form, and print its result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kafka", type=int, choices=(1, 3), metavar="NODES", help="on brokers, not the embedded log")
    nodes = parser.parse_args().kafka
    with TemporaryDirectory() as name:
        folder = Path(name)
        if nodes is None:
            found = full(folder, LogSettings(url=f"sqlite:///{folder}/log.sqlite", partitions=PARTITIONS))
        else:
            with cluster_in(folder / "kafka", nodes) as cluster:
                log = of_a_broker(url=cluster.start(), partitions=PARTITIONS, replication_factor=nodes)
                found = full(folder, log, partial(cluster.kill, 1) if nodes > 1 else quiet)
    print(json.dumps(found))
    assert found["edits"] >= EDITS, f"{found['edits']} edits are not the {EDITS} that were asked for"
    assert found["kills"] >= KILLS, f"{found['kills']} kills are not the {KILLS} that were asked for"


if __name__ == "__main__":
    main()
