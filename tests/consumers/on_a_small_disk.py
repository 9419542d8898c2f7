"""An edit on a full disk: `test_small_disk` runs this where `SMALL_DISK` is a file system of 64 MiB.

The adapters store is on that disk; log and set-up are not. A trainer with its child process carries an edit out, and
a server answers over HTTP meanwhile.
"""

import errno
import os
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from threading import Event, Thread

import pytest

from adapters_store import AdaptersStore
from consumers.runtime.health import LoopHealth
from consumers.runtime.loop import Loop
from consumers.runtime.topic_reader import new_records
from consumers.trainer.child_process import TrainingChild
from consumers.trainer.stage import TrainerStage
from pipeline.events.edit import Operation
from pipeline.setup.storage import save_setup
from pipeline.streams import SqliteLog
from pipeline.streams.topics import EDITS, GATED, ITEMS, OUTCOMES, REGIONS, pipeline_topics
from pipeline.telemetry import new_metrics
from tests.consumers.run_of_raie import SETTINGS, the_run, the_setup
from tests.consumers.test_small_disk import SMALL_DISK
from tests.replay.small import dataset
from tests.server.world import Server, eventually, serving

MOUNTED = Path(os.environ[SMALL_DISK])


@dataclass
class Place:
    """Paths of log and store, as `serving` expects them."""

    folder: Path
    log_path: Path


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    save_setup(the_setup(), tmp_path / "root")
    log = SqliteLog(tmp_path / "log.sqlite")
    log.create_topics(pipeline_topics(1))
    with log.producer("before").transaction() as transaction:
        for item in dataset().items.values():
            transaction.send(ITEMS, item.to_record(), key=item.item_id, timestamp=0.0)
        for record in the_run().gated:
            transaction.send(GATED, record.value, key=record.key, timestamp=record.timestamp)
    log.close()
    yield Place(MOUNTED, tmp_path / "log.sqlite")


def fill(ballast: Path) -> None:
    """Fill the disk."""
    with ballast.open("wb", buffering=0) as stream:
        while True:
            try:
                stream.write(bytes(4096))
            except OSError as error:
                assert error.errno == errno.ENOSPC
                return


def loop(place: Place, root: Path, stop: Event, said: list[str]) -> Loop:
    """A trainer with a short pause before it tries again."""
    settings = SETTINGS.model_copy(
        update={
            "log": SETTINGS.log.model_copy(update={"url": f"sqlite:///{place.log_path}", "partitions": 1}),
            "consumers": SETTINGS.consumers.model_copy(update={"poll_timeout": 0.05, "backoff": 0.05}),
        }
    )
    start = {"root": str(root), "adapters": str(place.folder / "adapters"), "config": settings.model_dump(mode="json")}
    metrics = new_metrics()
    stage = TrainerStage(TrainingChild(start), metrics)
    health = LoopHealth(metrics, time.monotonic, said.append)
    return Loop(stage, lambda: SqliteLog(place.log_path), "t", settings.consumers, 1, stop, health)


def answers(server: Server) -> list[object]:
    return [server.recommend(history=history, k=20)["items"] for history in HISTORIES]


HISTORIES = [the_setup().catalogue.item_ids[i : i + 5] for i in (0, 20, 60)]


def test_an_edit_waits_for_space_and_nobody_notices(place: Place, tmp_path: Path) -> None:
    assert shutil.disk_usage(MOUNTED).total == 64 << 20
    log, store = SqliteLog(place.log_path), AdaptersStore(place.folder / "adapters")
    edit = next(e for e, outcome in the_run().ledger if e.operation is Operation.ADD and outcome.published)
    fill(MOUNTED / "ballast")
    stop, said = Event(), []
    trainer = Thread(target=loop(place, tmp_path / "root", stop, said).run)
    with serving(place, settings=SETTINGS, made=the_setup) as server:
        before = answers(server)
        trainer.start()
        try:
            with log.producer("monitor").transaction() as transaction:
                transaction.send(EDITS, edit.to_record(), key=str(edit.region_id), timestamp=edit.timestamp)
            eventually(lambda: bool(said), PATIENCE)
            assert "free space" in said[0]
            assert "No space left on device" in said[0]
            assert log.committed("trainer", EDITS, 0) == 0
            assert new_records(log, OUTCOMES, 0) == new_records(log, REGIONS, 0) == []
            assert store.names() == []
            assert [p.name for p in (MOUNTED / "adapters").iterdir()] == []
            assert answers(server) == before
            assert server.ask("GET", "/readyz")[0] == 200
            (MOUNTED / "ballast").unlink()
            eventually(lambda: log.committed("trainer", EDITS, 0) == 1, PATIENCE)
            (outcome,), (revision,) = new_records(log, OUTCOMES, 0), new_records(log, REGIONS, 0)
            assert outcome.value == next(o.value for o in the_run().outcomes if o.key == edit.edit_id)
            (name,) = store.names()
            weights = (MOUNTED / "adapters" / name / "adapter.safetensors").read_bytes()
            assert weights == the_run().versions[name]
            server.served(revision.offset)
            assert dict(server.service.live.refusals) == {}
            assert name in server.service.live.adapters
        finally:
            stop.set()
            trainer.join(PATIENCE)
    log.close()
    assert not trainer.is_alive()


PATIENCE = 240.0
"""Seconds for a child to start and to train, on a busy machine."""
