"""A member that takes over reads all that was committed, though a broker shows its parts one after another."""

from pathlib import Path

import pytest

from consumers.gate.migration import _states
from consumers.gate.remembered_events import RememberedEvents
from consumers.monitor.stage import MonitorStage
from pipeline.streams.interface import TopicPartition
from pipeline.streams.topics import GATED, MONITOR, USERS
from pipeline.telemetry import new_metrics
from tests.consumers.gating import changed, events, fill, gate_loop, gated, said, write
from tests.consumers.recorded import World, monitor_loop
from tests.consumers.run_of_raie import empty_store, the_run, the_setup
from tests.consumers.test_loop import Kept
from tests.consumers.test_monitor_stage import lockstep
from tests.replay.small import plan

STREAM = 120
"""Events of the stream."""


class Late(Kept):
    """A log that does not show the newest commits of some partitions before they are waited for.

    Attributes:
        shown: end that it shows of these partitions.
    """

    def __init__(self) -> None:
        super().__init__()
        self.shown: dict[TopicPartition, int] = {}

    def end_offset(self, topic: str, partition: int) -> int:
        return self.shown.get((topic, partition), super().end_offset(topic, partition))

    def acknowledged_end(self, topic: str, partition: int) -> int:
        self.shown.pop((topic, partition), None)
        return super().acknowledged_end(topic, partition)


@pytest.fixture
def log() -> Late:
    return Late()


def test_a_gate_that_takes_over_has_the_histories_of_the_one_before(log: Late, tmp_path: Path) -> None:
    stream = [said(event) for event in events()[1][:STREAM]]
    fill(log, stream[:60], partitions=1)
    gate_loop(lambda: log, tmp_path, changed()).run()
    write(log, stream[60:])
    log.shown = {(USERS, 0): 0}
    gate_loop(lambda: log, tmp_path, changed(), instance="h").run()
    expected, ids = plan().stream[slice(0, STREAM)], ["", *plan().timeline.item_ids]
    assert [g["event_id"] for g in gated(log)] == expected.event_ids.tolist()
    assert [g["window"] for g in gated(log)] == [[ids[row] for row in rows if row] for rows in expected.contexts]
    log.shown = {(USERS, 0): 0, (GATED, 0): 0}
    assert _states(log, 0, 10**6), "a migration reads them too"
    remembered = RememberedEvents(2 * STREAM)
    remembered.restore(log)
    assert all((g["user_id"], g["event_id"]) in remembered for g in gated(log))


def test_a_monitor_that_takes_over_has_the_state_of_the_one_before(log: Late) -> None:
    monitor_loop(World(log, the_run(), lockstep()), lockstep(), lambda: log).run()
    log.shown = {(MONITOR, 0): 0}
    stage = MonitorStage(the_setup(), lockstep(), empty_store(), 0, new_metrics())
    stage.restore({(GATED, 0): log.committed("monitor", GATED, 0)}, log)
    assert stage._driver.monitor.at_event == len(the_run().gated)
