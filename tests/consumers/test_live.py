"""Live: nobody waits, a second trainer comes and goes, and every published edit can be made again."""

import copy
import os
import signal
import time
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random

from adapters_store import AdaptersStore
from consumers.ledger import Ledger, adapters_ever_live
from consumers.orphans import collect_orphans
from consumers.rerun import rerun
from pipeline.config import Config
from pipeline.logs import LocalLog
from tests.consumers.run_of_raie import SETTINGS, the_setup
from tests.consumers.soak import PARTITIONS, Driver, prepare, revisions
from tests.consumers.worker import settings
from tests.replay.small import plan

JOINS = 10


def live() -> Config:
    quick = SETTINGS.consumers.model_copy(update={"poll_timeout": 0.02, "snapshot_events": 300})
    return SETTINGS.model_copy(update={"consumers": quick})


@dataclass
class ComingAndGoing(Driver):
    """A second trainer joins and leaves, by a signal that it heeds or by one that it cannot.

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

    def finished(self, log: LocalLog) -> bool:
        return self.joined == JOINS and super().finished(log)


def test_a_second_trainer_that_comes_and_goes_publishes_nothing_twice_and_all_can_be_made_again(tmp_path: Path) -> None:
    stream = plan().stream
    prepare(tmp_path, the_setup(), live(), stream)
    workers = (("gate", "g"), ("monitor", "m"), ("trainer", "t0"))
    driver = ComingAndGoing(tmp_path, Random(0), workers=workers)
    driver.run(limit=300)
    log, store = LocalLog(tmp_path / "log.sqlite"), AdaptersStore(tmp_path / "adapters")
    ledger = Ledger(log, PARTITIONS).fresh()
    # How many there are hangs on how long trainings take beside the stream.
    assert ledger
    assert max(Counter(edit.edit_id for edit, _ in ledger).values()) == 1
    published = [edit for edit, outcome in ledger if outcome.published]
    assert published
    assert sorted(r["edit_id"] for r in revisions(tmp_path)) == sorted(edit.edit_id for edit in published)
    collect_orphans(log, store)
    assert set(store.names()) == adapters_ever_live(log)
    adapters = tmp_path / "adapters"
    for edit in published:
        mine = replace(the_setup(), backbone=copy.deepcopy(the_setup().backbone))
        found = rerun(edit, mine, settings(tmp_path), log, adapters)
        assert found.alike, (edit, found)
        assert found.version is None or found.adapter_alike
    log.close()
