"""A monitor that was written down and restored is the monitor that was never interrupted."""

import json
from collections.abc import Collection
from typing import Any

import pytest

from pipeline.errors import LogError
from pipeline.events.edit import Operation
from pipeline.events.gated import GatedEvent
from pipeline.monitor import Monitor
from pipeline.monitor.snapshot import FORMAT, restore, snapshot
from pipeline.regions.bank import RegionBank
from tests.consumers.run_of_raie import SETTINGS, the_run, the_setup


def fresh() -> Monitor:
    setup = the_setup()
    return Monitor(SETTINGS, setup.bank, setup.calibration, seed=0, setup_items=setup.catalogue.item_ids)


def again(monitor: Monitor, bank: RegionBank) -> Monitor:
    """Written down, through JSON, into a new monitor."""
    other = fresh()
    restore(other, json.loads(json.dumps(snapshot(monitor), allow_nan=False)), bank)
    return other


def decided(interrupted: Collection[int]) -> tuple[list[str], list[dict[str, Any]], dict[str, Any]]:
    """Edits, statistics and last state over the run, written down and restored after these steps.

    A step is an observed batch or an applied outcome.
    """
    run, monitor, bank, step = the_run(), fresh(), the_setup().bank, 0
    seen: set[str] = set()
    edits, statistics = [], []

    def after_step() -> None:
        nonlocal monitor, step
        if step in interrupted:
            monitor = again(monitor, bank)
        step += 1

    for number, batch in enumerate(run.batches(SETTINGS)):
        events = [(GatedEvent.from_record(record.value or {}, ()), record.offset) for record in batch]
        for event, offset in events:
            monitor.observe(event, offset)
        # No item of this log is announced: each begins with its first interaction.
        monitor.note_items(dict.fromkeys(e.target for e, _ in events if e.target not in seen), [])
        seen.update(event.target for event, _ in events)
        after_step()
        while made := monitor.decide():
            edits += [json.dumps(edit.to_record(), sort_keys=True) for edit in made]
            after_step()
            for edit in made:
                outcome, bank = run.settled(bank, edit)
                monitor.apply(outcome, bank)
                after_step()
        if number % 3 == 0:
            statistics += monitor.statistics()
    return edits, statistics, snapshot(monitor)


def test_the_run_is_worth_interrupting() -> None:
    ledger = the_run().ledger
    assert len(ledger) >= 15
    kinds = {Operation.ADD, Operation.UPDATE, Operation.EXPAND, Operation.INJECT}
    assert kinds <= {edit.operation for edit, _ in ledger}
    assert {True, False} == {outcome.published for _, outcome in ledger}


def test_the_recorded_run_drives_a_monitor_to_the_same_edits() -> None:
    edits, _, _ = decided(())
    assert edits == [json.dumps(edit.to_record(), sort_keys=True) for edit, _ in the_run().ledger]


@pytest.mark.parametrize("interrupted", [range(0, 500, 9), range(3, 500, 7), range(500)], ids=["9", "7", "every"])
def test_snapshot_and_restore_at_any_point_change_nothing(interrupted: range) -> None:
    assert decided(interrupted) == decided(())


@pytest.mark.parametrize("written", [{}, {"format": 1}, {"format": FORMAT + 1}])
def test_a_state_of_another_version_is_refused_with_what_to_do(written: dict[str, int]) -> None:
    monitor = fresh()
    state = {name: kept for name, kept in snapshot(monitor).items() if name != "format"} | written
    with pytest.raises(
        LogError, match=rf"format {written.get('format', 1)}, .* reads {FORMAT}: go on with the version"
    ):
        restore(fresh(), state, the_setup().bank)


def test_the_run_measures_separability() -> None:
    _, statistics, state = decided(())
    assert any(row["told_apart"] is not None for row in statistics)
    assert any(region["untold"] for region in state["watched"])
