"""A monitor that is restored under other rules, as after an upgrade, goes on from the edits in the log."""

from threading import Event

import pytest

from consumers.monitor.stage import MonitorStage
from consumers.runtime.health import LoopHealth
from consumers.runtime.loop import Loop
from consumers.runtime.stage import Output, Turn
from consumers.runtime.topic_reader import value_of
from pipeline.config import Config
from pipeline.events.edit import Edit, Operation
from pipeline.monitor import Monitor
from pipeline.streams import MemoryLog
from pipeline.streams.topics import EDITS, GATED
from pipeline.telemetry import new_metrics
from tests.consumers.run_of_raie import SETTINGS, empty_store, the_setup
from tests.consumers.test_faults import gated_log


class UntilRead(MonitorStage):
    """Ends its loop once everything is read."""

    stop: Event

    def handle(self, turn: Turn) -> list[Output]:
        outputs = list(super().handle(turn))
        if not turn.records and not outputs and turn.consumer.lag() == 0:
            self.stop.set()
        return outputs


def settings() -> Config:
    quick = SETTINGS.consumers.model_copy(update={"lockstep": False, "poll_timeout": 0.001})
    return SETTINGS.model_copy(update={"consumers": quick})


def stage_of(kind: type[MonitorStage] = MonitorStage) -> MonitorStage:
    return kind(the_setup(), settings(), empty_store(), 0, new_metrics())


def run(log: MemoryLog) -> None:
    """Let a monitor decide, whose edits nobody carries out."""
    stage = stage_of(UntilRead)
    assert isinstance(stage, UntilRead)
    stage.stop = Event()
    health = LoopHealth(new_metrics(), lambda: 0.0, lambda _: None)
    Loop(stage, lambda: log, "m", settings().consumers, 64, stage.stop, health).run()


def restored(log: MemoryLog) -> Monitor:
    stage = stage_of()
    stage.restore({(GATED, 0): log.end_offset(GATED, 0)}, log)
    return stage._driver.monitor


def written(log: MemoryLog) -> dict[str, Edit]:
    records = [r for p in range(log.topic(EDITS).partitions) for r in log.read(EDITS, p, 0, log.end_offset(EDITS, p))]
    return {edit.edit_id: edit for edit in (Edit.from_record(value_of(record)) for record in records)}


def test_edits_that_other_rules_have_decided_stay_pending(monkeypatch: pytest.MonkeyPatch) -> None:
    log = gated_log()
    run(log)
    before = restored(log)
    assert Operation.ADD in {edit.operation for edit in before.pending.values()}
    monkeypatch.setattr("pipeline.monitor.monitor.BOUNDARY", ())
    monkeypatch.setattr("pipeline.monitor.monitor.inject", lambda _: None)
    after = restored(log)
    assert after.pending == before.pending == written(log)
    assert after.state.next_region_id == before.state.next_region_id


def test_edits_that_only_the_new_rules_decide_are_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    log = gated_log()
    with monkeypatch.context() as patched:
        patched.setattr("pipeline.monitor.monitor.inject", lambda _: None)
        run(log)
    assert written(log) and Operation.INJECT not in {edit.operation for edit in written(log).values()}
    assert restored(log).pending == written(log)
