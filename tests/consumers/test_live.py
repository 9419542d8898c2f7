"""Live mode: a second trainer joins and leaves, and every published edit can be carried out again.

RAIE_SOAK=1 tries it on a broker, too, as `make soak` does.
"""

import os
import signal
import time
from collections import Counter
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from random import Random
from threading import Thread

import pytest

from adapters_store import AdaptersStore
from consumers.runtime.ledger import Ledger, adapters_ever_live
from consumers.runtime.runner import adapters_of, log_of
from consumers.runtime.topic_reader import new_records, value_of
from consumers.trainer.orphans import collect_orphans
from consumers.trainer.rerun import rerun
from pipeline.config import LogSettings
from pipeline.models.seeding import make_deterministic
from pipeline.setup.storage import load_setup
from pipeline.streams.topics import REGIONS
from tests.consumers.gating import changed
from tests.consumers.soak import Driver, MonitorDriver, prepare, wait_for_commits, write_stream

KINDS = ["sqlite", *(["kafka"] if os.environ.get("RAIE_SOAK") else [])]

EVENTS, RATE, JOINS = 1_000, 40.0, 10
"""Events of the data set, half of them the stream; events per second, so that trainers have time; second trainers."""


@dataclass
class ComingAndGoing(Driver):
    """A second trainer joins and leaves, by SIGTERM or by SIGKILL.

    Attributes:
        joined: how often.
        turn: when it next comes or goes.
    """

    joined: int = 0
    turn: float = 0.0

    def keep_running(self) -> None:
        super().keep_running()
        guest = ("trainer", "t1")
        if time.monotonic() < self.turn:
            return
        self.turn = time.monotonic() + self.rng.uniform(0.2, 0.9)
        pid = self.running.get(guest)
        if pid is None and self.joined < JOINS:
            self.joined += 1
            self.running[guest] = self.start(guest)
        elif pid is not None:
            os.kill(pid, signal.SIGTERM if self.joined % 2 else signal.SIGKILL)
            while self.nursery.code(pid) is None:
                time.sleep(0.01)
            del self.running[guest]

    def finished(self, course: MonitorDriver) -> bool:
        return self.joined == JOINS and super().finished(course)


@pytest.mark.parametrize("log_settings", KINDS, indirect=True)
def test_a_second_trainer_that_comes_and_goes_publishes_nothing_twice_and_all_can_be_made_again(
    tmp_path: Path, log_settings: LogSettings
) -> None:
    config = changed().model_copy(update={"log": log_settings})
    feed = prepare(tmp_path, EVENTS, config)
    workers = (("gate", "g"), ("monitor", "m"), ("trainer", "t0"))
    driver = ComingAndGoing(tmp_path, len(feed.stream), Random(0), workers=workers)
    writing = Thread(target=write_stream, args=(feed, config, RATE))
    writing.start()
    driver.run(limit=300)
    writing.join()
    make_deterministic()
    adapters = adapters_of(tmp_path / "root")
    with closing(log_of(config)) as log:
        wait_for_commits(log)
        ledger = Ledger(log, config.log.partitions).poll()
        # How many there are hangs on how long trainings take beside the stream.
        assert ledger
        assert max(Counter(edit.edit_id for edit, _ in ledger).values()) == 1
        published = [edit for edit, outcome in ledger if outcome.published]
        assert published
        revisions = [value_of(record) for record in new_records(log, REGIONS, 0)]
        assert sorted(r["edit_id"] for r in revisions) == sorted(edit.edit_id for edit in published)
        store = AdaptersStore(adapters)
        collect_orphans(log, store)
        assert set(store.names()) == adapters_ever_live(log)
        for edit in published:
            found = rerun(edit, load_setup(tmp_path / "root"), config, log, adapters)
            assert found.alike, (edit, found)
            assert found.version is None or found.adapter_alike
