"""Many opened regions of a wide backbone: each is published, served and rolled back, and every record fits the log.

RAIE_SOAK=1 takes sixty regions of width 4,096, as `make soak` does: a few gigabytes, and minutes.
"""

import copy
import json
import os
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from pipeline.evaluation.replay import prepare
from pipeline.models.lora.host import AdapterHost
from pipeline.models.seeding import make_deterministic
from pipeline.regions.origin_classifier import fit_origins
from pipeline.regions.origin_model import OriginModel
from pipeline.regions.revision import Revision
from pipeline.regions.revision_arrays import by_reference
from pipeline.setup.artifacts import SetUp
from pipeline.setup.bootstrap import set_up
from pipeline.streams.topics import REGIONS
from tests.replay.small import config, dataset, plan
from tests.server import world
from tests.server.world import LENGTH, Server, World, eventually, histories, serving

WIDTH, COUNT = (4_096, 60) if os.environ.get("RAIE_SOAK") else (256, 24)
SETTINGS = config(
    *(f"backbone.hidden_size={WIDTH}", "backbone.blocks=1", "setup.max_epochs=1", "log.partitions=2"),
    *("trend.half_lives=[]", f"edits.max_regions={COUNT + 10}", "adapter.rank=2"),
)
FIRSTS = {10 + number: 1 + 4 * number for number in range(COUNT)}
"""Region -> first of twenty items of its windows."""


@cache
def wide_setup() -> SetUp:
    make_deterministic()
    windows = plan().setup[slice(-200, None)]
    return set_up(SETTINGS, prepare(dataset(), SETTINGS, lambda *_: None)[1], windows, seed=0)


@cache
def wide_origins() -> OriginModel:
    setup = wide_setup()
    host = AdapterHost(copy.deepcopy(setup.backbone), SETTINGS.adapter)
    known = [setup.encoded]
    for first in FIRSTS.values():
        windows = histories(first, 20)
        known.append(setup.view(host.states(windows, None), windows, np.full(len(windows), LENGTH)))
    coverage = np.ones((COUNT, len(setup.bank.setup)))
    return fit_origins(list(FIRSTS), known, coverage, [1.0] + [0.5] * COUNT, SETTINGS.gate.penalty)


@pytest.fixture(autouse=True)
def _wide(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Put the set-up and the settings of this file in the place of those of the world."""
    monkeypatch.setattr(world, "the_setup", wide_setup)
    monkeypatch.setattr(world, "origins", wide_origins)
    monkeypatch.setattr(world, "SETTINGS", SETTINGS)
    monkeypatch.setattr(world, "FIRSTS", FIRSTS)
    world._shapes.cache_clear()
    yield
    world._shapes.cache_clear()


class WideWorld(World):
    """Writes its revisions as a trainer does: arrays that are too large for a record are in a file."""

    def send(self, topic: str, value: object, key: str) -> int:
        if topic == REGIONS:
            assert isinstance(value, dict)
            value = by_reference(Revision.from_record(value), self.store.arrays).to_record()
        return super().send(topic, value, key)  # type: ignore[arg-type]


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[WideWorld]:
    made = WideWorld(tmp_path)
    for number, region_id in enumerate(FIRSTS):
        last = number == COUNT - 1
        made.announce(world.region(region_id, 1, made.publish(region_id, seed=region_id)), moved=last)
    for region_id, first in FIRSTS.items():
        made.user(f"u{region_id}", histories(first, 1)[0].tolist())
    yield made
    made.close()


def adapters_of(server: Server) -> dict[int, str | None]:
    return {region.region_id: region.adapter for region in server.service.live.view.bank.stream}


def test_every_region_is_served_by_its_version_and_rolled_back_alone(opened: WideWorld) -> None:
    with serving(opened, settings=SETTINGS, made=wide_setup) as server:
        eventually(lambda: len(adapters_of(server)) == COUNT)
        assert adapters_of(server) == {i: f"r{i:04d}_v0001" for i in FIRSTS}
        answers = [server.recommend(user_id=f"u{region_id}") for region_id in FIRSTS]
        assert all(len(answer["items"]) == 10 for answer in answers)
        by = [answer["region_id"] for answer in answers if answer["answered_by"] == "adapter"]
        assert len(set(by)) > COUNT / 2, "users of most regions are answered by their adapter"
        region_id = by[-1]
        before = server.recommend(user_id=f"u{region_id}")
        name, revision = opened.update(region_id, seed=9)
        server.served(revision)
        assert server.recommend(user_id=f"u{region_id}")["adapter"] == name
        assert server.ask("POST", "/admin/rollback", {"region_id": region_id, "by": "ann"})[0] == 200
        eventually(lambda: adapters_of(server)[region_id] == f"r{region_id:04d}_v0001")
        again = server.recommend(user_id=f"u{region_id}")
        assert again["items"] == before["items"]
        longest = max(len(json.dumps(record.value)) for record in opened.log.read(REGIONS, 0, 0, COUNT + 2))
        assert longest < min(100_000, opened.log.longest_record), "arrays are in files"
        rest = {i: adapter for i, adapter in adapters_of(server).items() if i != region_id}
        assert rest == {i: f"r{i:04d}_v0001" for i in FIRSTS if i != region_id}
