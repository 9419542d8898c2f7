"""Teacher of a refresh in the live pipeline: that of a replay, as of the fork, whatever comes after it."""

import shutil
from collections.abc import Iterable
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from adapters_store import AdaptersStore
from consumers.refresh.preparation import prepare_generation
from consumers.refresh.teacher import teacher_at_fork
from consumers.runtime.generations import log_in
from pipeline.config import LogSettings
from pipeline.events.counting import CountingRule
from pipeline.events.generation import Generation, State
from pipeline.events.item_status import ARRIVED, ItemStatus
from pipeline.models.catalogue import make_catalogue
from pipeline.models.text.hashing import HashingEncoder
from pipeline.setup.artifacts import TrainingLog
from pipeline.setup.checkpoint import FILE
from pipeline.setup.storage import TRAINING, save_setup
from pipeline.setup.teacher import Teacher
from pipeline.streams import Log, SqliteLog
from pipeline.streams.topics import ITEMS, REGIONS
from tests.consumers.gating import changed, fill, said
from tests.consumers.refreshed import Refreshed, stream
from tests.consumers.run_of_raie import everything, the_setup
from tests.replay.small import dataset, plan
from tests.setup.taught import SEEN, catalogue, probabilities, served, teacher, windows

ONLY_ARRIVED = "an item without a record"
NUMBERS = np.arange(len(windows()))[-SEEN:]
FORK = Generation(2, State.PREPARING, beside=1)


class Killed(Exception):
    pass


def taken() -> list[str]:
    """The items that the stream has brought."""
    return served()._items.catalogue.ids[1 + len(the_setup().catalogue) :]


def write_items(log: Log, item_ids: Iterable[str], described: bool = True) -> None:
    """Write records of items, or where they are not described that they have arrived."""
    with log.producer("test").transaction() as transaction:
        for item_id in item_ids:
            status = ItemStatus(item_id, ARRIVED, 1.0)
            key, value = (
                (item_id, dataset().items[item_id].to_record()) if described else (status.key, status.to_record())
            )
            transaction.send(ITEMS, value, key=key, timestamp=1.0)


def write_regions(log: Log, most: int | None = None) -> None:
    """Write the newest revisions of the replayed pipeline that it has not yet, at most so many."""
    with closing(SqliteLog(served()._log.path)) as replayed:
        records = everything(replayed, REGIONS)[log.end_offset(REGIONS, 0) :][:most]
    with log.producer("test").transaction() as transaction:
        for record in records:
            transaction.send(REGIONS, record.value, key=record.key, timestamp=record.timestamp)


@pytest.fixture
def pipeline(tmp_path: Path) -> Refreshed:
    """A live pipeline of the same set-up, with the adapters of the replayed one and without revisions."""
    log = LogSettings(url=f"sqlite:///{tmp_path / 'log.sqlite'}", partitions=2)
    settings = {"begin_from": "distilled", "judged_events": 50}
    made = Refreshed(tmp_path, changed(refresh=settings, trend={"half_lives": []}).model_copy(update={"log": log}))
    learned = TrainingLog("", plan().slices.setup_until, CountingRule())
    save_setup(replace(the_setup(), log=learned), made.root)
    shutil.copytree(served()._log.path.parent / "adapters", made.root / "adapters")
    with closing(made.open()) as opened:
        fill(opened, [said(event) for event in stream(0, SEEN)])
        write_items(opened, taken())
    return made


def read_teacher(made: Refreshed, fork: Generation = FORK) -> tuple[Teacher, list[str]]:
    old = replace(the_setup(), log=TrainingLog("", plan().slices.setup_until, CountingRule()))
    store = AdaptersStore(made.root / "adapters")
    with closing(made.open()) as log:
        found, refused = teacher_at_fork(log_in(log, 1), fork, old, store, made.config, catalogue(), windows())
    return found, list(refused)


def answered(by: Teacher) -> np.ndarray:
    return probabilities(by.select(NUMBERS), windows()[NUMBERS])[1]


def test_live_and_in_replay_a_teacher_has_the_same_probabilities_for_the_same_windows(pipeline: Refreshed) -> None:
    with closing(pipeline.open()) as log:
        write_regions(log)
    found, refused = read_teacher(pipeline)
    assert not refused
    np.testing.assert_array_equal(found.known, teacher().known)
    np.testing.assert_array_equal(found.since_setup, teacher().since_setup)
    np.testing.assert_allclose(answered(found), answered(teacher()), rtol=1e-4, atol=1e-9)
    # As of an earlier fork it is the one of then.
    before = read_teacher(pipeline, replace(FORK, until={REGIONS: 1}))[0]
    assert before.host.names != found.host.names and before.known.sum() < found.known.sum()


def test_items_have_rows_once_they_were_announced_or_have_arrived(pipeline: Refreshed) -> None:
    with closing(pipeline.open()) as log:
        write_regions(log)
        before = log.end_offset(ITEMS, 0)
        write_items(log, [ONLY_ARRIVED], described=False)
    store, old = AdaptersStore(pipeline.root / "adapters"), the_setup()
    items = make_catalogue([*catalogue().item_ids, ONLY_ARRIVED], dataset().items, HashingEncoder())
    read, known = list[set[str]](), list[set[str]]()
    for end in (0, before, before + 1):
        with closing(pipeline.open()) as log:
            fork = replace(FORK, until={ITEMS: end})
            found, _ = teacher_at_fork(log_in(log, 1), fork, old, store, pipeline.config, items, windows())
        for of, rows in ((read, found.rows), (known, found.known)):
            of.append({items.item_ids[row - 1] for row in np.flatnonzero(rows)})
    assert read[0] == set(old.catalogue.item_ids)
    assert (read[1] - read[0], read[2] - read[1]) == (set(taken()), {ONLY_ARRIVED})
    # Nobody has learned anything about an item that has just arrived.
    assert known[0] < known[1] == known[2]


def test_a_refused_adapter_gives_way_to_the_last_good_one_and_is_named(pipeline: Refreshed) -> None:
    with closing(pipeline.open()) as log:
        write_regions(log)
    whole = read_teacher(pipeline)[0]
    (name,) = whole.host.names
    path = pipeline.root / "adapters" / name / "adapter.safetensors"
    path.write_bytes(path.read_bytes()[:-1] + b"\x00\x00")
    found, refused = read_teacher(pipeline)
    assert refused == [name]
    (before,) = found.host.names
    assert before < name and before.split("_")[0] == name.split("_")[0]
    assert found.identity() != whole.identity()


def test_a_killed_preparation_goes_on_to_the_same_set_up_whatever_was_published_meanwhile(pipeline: Refreshed) -> None:
    with closing(pipeline.open()) as log:
        write_regions(log, most=5)
    pipeline.gate(1).run()
    shutil.copytree(pipeline.folder, twin := pipeline.folder.with_name("twin"))
    settings = LogSettings(url=f"sqlite:///{twin / 'log.sqlite'}", partitions=2)
    other = Refreshed(twin, pipeline.config.model_copy(update={"log": settings}))
    folder = other.prepare().folder

    def killed(stage: str, *_: int) -> None:
        if stage == "set-up" and (pipeline.root / folder / TRAINING / FILE).exists():
            raise Killed

    with pytest.raises(Killed):
        prepare_generation(replace(pipeline.inputs(), progress=killed))
    with closing(pipeline.open()) as log:
        write_regions(log)
        write_items(log, [ONLY_ARRIVED], described=False)
    assert pipeline.prepare().folder == folder
    for file in ("backbone/model.safetensors", "regions.json"):
        assert (pipeline.root / folder / file).read_bytes() == (twin / "root" / folder / file).read_bytes()
