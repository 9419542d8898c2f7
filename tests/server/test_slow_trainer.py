"""A trainer that is slower than retention: what it lost is named, and serving goes on as if nothing had been."""

import copy
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from consumers.runtime.topic_reader import new_records, value_of
from consumers.trainer.child_process import TrainingChild
from consumers.trainer.job import JobRunner
from pipeline.events.edit import Edit, Evidence, Operation
from pipeline.events.existence import Existence
from pipeline.events.windows import Windows, no_earlier
from pipeline.models.lora.host import AdapterHost
from pipeline.models.open_catalogue import OpenCatalogue
from pipeline.recommend.event_scorer import EventScorer
from pipeline.regions.live import LiveRegions
from pipeline.regions.revision import Revision
from pipeline.setup.artifacts import SetUp
from pipeline.streams import SqliteLog
from pipeline.streams.topics import EDITS, GATED, OUTCOMES, REGIONS
from tests.consumers.test_trainer_stage import Member
from tests.server.test_recommend import same
from tests.server.world import (
    FIRSTS,
    LENGTH,
    SETTINGS,
    A,
    Server,
    World,
    eventually,
    fresh_state,
    histories,
    histories_of,
    the_setup,
)

USERS = ("a0", "a1", "b0", "s0")
WINDOWS, KEPT_FROM = 100, 40
"""Windows of the region, and the first of them that retention leaves."""


class Throttled(TrainingChild):
    """Applies edits in this process, each at its tenth poll.

    Args:
        runner: applies them.
        meanwhile: called at each poll with the id of the edit under way.
    """

    def __init__(self, runner: JobRunner, meanwhile: Callable[[str], None]) -> None:
        super().__init__({})
        self._runner, self._meanwhile = runner, meanwhile

    def begin(self, job: Mapping[str, Any]) -> None:
        self._job, self._left = job, 10

    def result(self) -> Mapping[str, Any] | None:
        self._meanwhile(self._job["edit"]["edit_id"])
        self._left -= 1
        if self._left:
            return None
        outcome, revision = self._runner.apply(Edit.from_record(self._job["edit"]), self._job["next_revision"])
        return {"outcome": outcome.to_record(), "revision": revision and revision.to_record(), "seconds": 0.0}

    def stop(self) -> None:
        """Nothing runs between two looks."""


def own_setup() -> SetUp:
    return replace(the_setup(), backbone=copy.deepcopy(the_setup().backbone))


def gate_windows(world: World) -> list[Evidence]:
    """Gate windows of the region, as the gate does."""
    setup = own_setup()
    catalogue, host = OpenCatalogue(setup.catalogue, None), AdapterHost(setup.backbone, SETTINGS.adapter)
    live = LiveRegions(setup.bank, host, world.store, setup.backbone_sha256, catalogue)
    live.apply(Revision.from_record(value_of(next(iter(world.log.read(REGIONS, 0, 0, 1))))))
    contexts, names = histories(FIRSTS[A], WINDOWS), [f"e{i}" for i in range(WINDOWS)]
    windows = Windows(
        contexts,
        contexts[:, -1] % 20 + FIRSTS[A],
        np.array(names),
        np.array(names),
        np.arange(WINDOWS) + 1.6e9,
        np.full(WINDOWS, LENGTH),
        np.arange(WINDOWS),
        no_earlier(WINDOWS),
    )
    world.snapshot(fresh_state())
    first = world.log.end_offset(GATED, 0)
    everything = Existence.of_all(len(setup.catalogue))
    for record in EventScorer(setup, SETTINGS, live, catalogue).handle(windows, everything, histories_of(windows)):
        world.gated(record)
    return [Evidence(name, first + i, A) for i, name in enumerate(names)]


def update(edit_id: str, windows: list[Evidence]) -> Edit:
    reason = {"signal": "novelty", "statistic": 2.0, "threshold": 1.0, "text": "because"}
    return Edit(edit_id, Operation.UPDATE, A, None, 1, 1, reason, tuple(windows), (), WINDOWS, 1.6e9, 0)


def test_windows_that_retention_took_are_named_and_serving_is_untouched(world: World, server: Server) -> None:
    windows = gate_windows(world)
    eventually(lambda: server.service.online.events == WINDOWS)
    before = {user: server.recommend(user_id=user, k=20) for user in USERS}
    for edit in (update("late", windows), update("in time", windows[KEPT_FROM:])):
        world.send(EDITS, edit.to_record(), str(A))
    during: list[tuple[str, dict[str, Any]]] = []

    def meanwhile(edit_id: str) -> None:
        if edit_id == "late":
            world.log.delete_before(GATED, 0, windows[KEPT_FROM].offset)
            during.extend((user, server.recommend(user_id=user, k=20)) for user in USERS)

    runner = JobRunner(own_setup(), SETTINGS, world.log, world.store)
    trainer = Member(SqliteLog(world.log_path), "t", Throttled(runner, meanwhile))
    trainer.turns(30)
    trainer.leave()

    outcomes = [value_of(record) for record in new_records(world.log, OUTCOMES, 0)]
    assert [outcome["edit_id"] for outcome in outcomes] == ["late", "in time"]
    lost = f"offsets {windows[0].offset}..{windows[KEPT_FROM].offset - 1} of {GATED}/0 are already deleted"
    assert not outcomes[0]["published"]
    assert lost in outcomes[0]["detail"]
    assert outcomes[1]["trained_windows"] > 0, "what is kept is trained on"
    assert len(during) == 10 * len(USERS)
    for user, answer in during:
        assert same(answer, before[user])
        assert (answer["adapter"], answer["revision"]) == (before[user]["adapter"], before[user]["revision"])

    eventually(lambda: server.ask("GET", "/edits/late")[1]["outcome"] is not None)
    assert lost in server.ask("GET", "/edits/late")[1]["outcome"]["detail"]
    world.versions[A] += outcomes[1]["published"]
    name, revision = world.update(A, seed=7)
    server.served(revision)
    assert server.recommend(user_id="a0")["adapter"] == name
