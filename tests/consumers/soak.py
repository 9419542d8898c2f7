"""A driver of worker processes that kills them at random, and a verifier that compares what is left.

python -m tests.consumers.soak        50 edits or more, at least 30 kills
"""

import json
import os
import signal
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Any

from adapters_store import AdaptersStore
from consumers.following import new_records, value_of
from consumers.ledger import Ledger, adapters_ever_live
from consumers.lockstep import Barrier
from consumers.monitor_journal import read_newest
from consumers.orphans import collect_orphans
from pipeline.config import Config
from pipeline.datasets.base import read_dataset
from pipeline.evaluation.protocols import plan_replay
from pipeline.evaluation.raie_files import ledger_record
from pipeline.evaluation.replay import make_deterministic
from pipeline.evaluation.replay import prepare as prepare_replay
from pipeline.items import make_catalogue
from pipeline.logs import LocalLog
from pipeline.logs.topics import GATED, INTERACTIONS, OUTCOMES, REGIONS, pipeline_topics
from pipeline.setup import SetUp, set_up
from pipeline.setup_files import save_setup
from pipeline.windows import Windows
from tests.consumers.forking import Nursery
from tests.consumers.run_of_raie import SETTINGS, Run, run_of
from tests.consumers.stand_in_gate import fill
from tests.replay.small import emerging

EDITS, KILLS, SOAK_EVENTS = 50, 32, 5_000
"""The full form: at least so many edits and kills, on a log of so many events."""

PARTITIONS = 4
WORKERS = (("gate", "g"), ("monitor", "m"), ("trainer", "t0"), ("trainer", "t1"))

Worker = tuple[str, str]


def prepare(folder: Path, setup: SetUp, config: Config, stream: Windows) -> None:
    """Write what workers start from, and the events."""
    save_setup(setup, folder / "root")
    there = config.log.model_copy(update={"url": f"sqlite:///{folder / 'log.sqlite'}", "partitions": PARTITIONS})
    (folder / "config.json").write_text(config.model_copy(update={"log": there}).model_dump_json())
    log = LocalLog(folder / "log.sqlite")
    log.create_topics(pipeline_topics(PARTITIONS))
    fill(log, stream)
    log.close()


@dataclass
class Driver:
    """Keeps the workers running, and lets them die.

    Attributes:
        folder: see `prepare`.
        rng: draws who dies, and when.
        most_kills: after so many nobody dies any more.
        deaths: worker and signal of every process that was killed, by itself or by us.
    """

    folder: Path
    rng: Random
    most_kills: int = 0
    kill_every: float = 3.0
    workers: Sequence[Worker] = WORKERS
    deaths: list[tuple[str, int]] = field(default_factory=list)
    running: dict[Worker, int] = field(default_factory=dict)
    nursery: Nursery = field(default_factory=Nursery)

    def run(self, limit: float) -> None:
        """Until everything is settled, or so many seconds have passed."""
        log, began = LocalLog(self.folder / "log.sqlite"), time.monotonic()
        next_kill = began + self.kill_every
        try:
            while not self.finished(log):
                assert time.monotonic() - began < limit, f"not settled after {limit} s: {self.deaths}"
                self.keep_running()
                if len(self.deaths) < self.most_kills and time.monotonic() >= next_kill:
                    next_kill += self.rng.uniform(0.3, 2 * self.kill_every)
                    os.kill(self.rng.choice(list(self.running.values())), signal.SIGKILL)
                time.sleep(0.05)
        finally:
            self.end()
            log.close()

    def keep_running(self) -> None:
        for worker in self.workers:
            pid = self.running.get(worker)
            code = None if pid is None else self.nursery.code(pid)
            if code is not None:
                assert code == -signal.SIGKILL, f"{worker} ended with {code}: {self.words(worker)}"
                self.deaths.append((worker[0], -code))
            if pid is None or code is not None:
                self.running[worker] = self.start(worker)

    def start(self, worker: Worker) -> int:
        death = self.rng.randint(1, 1_000_000) if len(self.deaths) < self.most_kills else 0
        words = self.folder / f"{worker[1]}.err"
        return self.nursery.start([*worker, str(self.folder), str(death), str(words)])

    def words(self, worker: Worker) -> str:
        return (self.folder / f"{worker[1]}.err").read_text()[-2000:]

    def end(self) -> None:
        running = [pid for pid in self.running.values() if self.nursery.code(pid) is None]
        for pid in running:
            os.kill(pid, signal.SIGTERM)
        while any(self.nursery.code(pid) is None for pid in running):
            time.sleep(0.01)
        self.nursery.close()

    @staticmethod
    def finished(log: LocalLog) -> bool:
        gated = new_records(log, GATED, max(0, log.end_offset(GATED, 0) - 1))
        events = log.end_offset(INTERACTIONS, 0)
        return bool(gated) and gated[-1].offset + 1 == events and (Barrier().is_open(log) or _nothing_left(log))


def _nothing_left(log: LocalLog) -> bool:
    """Whether the monitor has taken in all there is, and waits for nothing: the end of a live run."""
    kept = read_newest(log)
    at = kept.steps[-1] if kept.steps else kept.at
    ledger = Ledger(log, PARTITIONS)
    ended = len(ledger.fresh())
    return at.gated == log.end_offset(GATED, 0) and at.outcomes == ended == len(ledger.asked)


@dataclass(frozen=True)
class Left:
    """What a run has left in its log and store."""

    ledger: Sequence[Mapping[str, Any]]
    gated: Sequence[str]
    outcomes: Sequence[str]
    live: set[str]
    stored: set[str]
    temporary: list[str]
    versions: Mapping[str, bytes]


def left(folder: Path) -> Left:
    """Read it, after orphans were collected."""
    log, store = LocalLog(folder / "log.sqlite"), AdaptersStore(folder / "adapters")
    try:
        collect_orphans(log, store)
        names = store.names()
        return Left(
            Ledger(log, PARTITIONS).records(seed=0),
            [value_of(r)["event_id"] for r in new_records(log, GATED, 0)],
            [str(r.key) for r in new_records(log, OUTCOMES, 0)],
            adapters_ever_live(log),
            set(names),
            [p.name for p in (folder / "adapters").iterdir() if p.name not in names],
            {n: (folder / "adapters" / n / "adapter.safetensors").read_bytes() for n in names},
        )
    finally:
        log.close()


def verify(found: Left, run: Run, stream: Windows) -> None:
    """Nothing lost, nothing twice, nothing left behind, and the ledger that of the replay."""
    assert list(found.gated) == stream.event_ids.tolist()
    assert max(Counter(found.outcomes).values(), default=1) == 1
    assert found.stored == found.live
    assert found.temporary == []
    expected = [ledger_record(0, *entry) for entry in run.ledger if entry[0].at_event <= len(stream)]
    assert [json.dumps(r, sort_keys=True) for r in found.ledger] == [json.dumps(r, sort_keys=True) for r in expected]
    assert dict(found.versions) == {name: run.versions[name] for name in found.live}


def revisions(folder: Path) -> list[Mapping[str, Any]]:
    log = LocalLog(folder / "log.sqlite")
    try:
        return [value_of(r) for r in new_records(log, REGIONS, 0)]
    finally:
        log.close()


def soak(folder: Path, kills: int, events: int, settings: Config) -> dict[str, Any]:
    """Replay a log, run it again through processes that die, and compare what is left."""
    log = read_dataset(emerging(events))
    windows = plan_replay(log, settings, make_catalogue(log.items, (), None).row_of)
    setup = set_up(settings, prepare_replay(log, settings, lambda *_: None)[1], windows.setup, seed=0)
    run = run_of(setup, settings, windows.setup, windows.stream, folder / "replay")
    prepare(folder, setup, settings, windows.stream)
    driver, began = Driver(folder, Random(0), most_kills=kills, kill_every=2.0), time.monotonic()
    driver.run(limit=7200)
    verify(left(folder), run, windows.stream)
    return {
        "events": len(windows.stream),
        "edits": len(run.ledger),
        "published": sum(outcome.published for _, outcome in run.ledger),
        "kills": len(driver.deaths),
        "killed": dict(Counter(name for name, _ in driver.deaths)),
        "seconds": round(time.monotonic() - began, 1),
        "ledger": "that of the replay",
    }


def main() -> None:
    """The full form of the fault test."""
    make_deterministic()
    quick = SETTINGS.consumers.model_copy(update={"lockstep": True, "poll_timeout": 0.02, "snapshot_events": 300})
    with TemporaryDirectory() as folder:
        found = soak(Path(folder), KILLS, SOAK_EVENTS, SETTINGS.model_copy(update={"consumers": quick}))
    print(json.dumps(found))
    assert found["edits"] >= EDITS, f"{found['edits']} edits are not the {EDITS} that were asked for"
    assert found["kills"] >= KILLS, f"{found['kills']} kills are not the {KILLS} that were asked for"


if __name__ == "__main__":
    main()
