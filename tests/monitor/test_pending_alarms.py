"""Pending alarms, and the condition that each waits for."""

from dataclasses import replace

from pipeline.events.edit import Edit, Operation
from pipeline.monitor.pending_alarms import PendingAlarm, Wait, pending_alarms
from tests.monitor.test_monitor import STRANGE, Driven, config


def only(driven: Driven) -> PendingAlarm:
    (found,) = pending_alarms(driven.monitor)
    return found


def raised(driven: Driven, **changed: object) -> PendingAlarm:
    """Show strange windows until an alarm is pending."""
    driven.feed(100)
    for _ in range(200):
        driven.show(1, **changed)
        if pending_alarms(driven.monitor):
            return only(driven)
    raise AssertionError("no alarm")


def test_without_drift_no_alarm_is_pending() -> None:
    driven = Driven()
    driven.feed(100)
    assert pending_alarms(driven.monitor) == []


def test_an_alarm_waits_for_evidence_with_its_numbers() -> None:
    found = raised(Driven(config("edits.min_windows=500", "edits.update_windows=500")), loss=STRANGE)
    assert (found.region_id, found.signal, found.waits_for) == (1, "loss", Wait.EVIDENCE)
    assert found.statistic >= found.threshold
    assert 200 <= found.since_event <= 206
    assert found.text.endswith("of 500 windows have come")


def test_doubt_waits_for_windows_of_its_own_number() -> None:
    found = raised(Driven(config("edits.boundary_windows=300")), setup_margin=0.01)
    assert (found.signal, found.waits_for) == ("doubt", Wait.EVIDENCE)
    assert found.text.endswith("of 300 windows have come")


def test_moves_wait_for_the_windows_of_movers() -> None:
    driven = Driven(config("edits.boundary_windows=300"))
    driven.feed(100)
    for n in range(300):
        driven.show(1, user_id=f"mover{n // 2}", setup_region=1 + n % 2)
    shift = [s for s in pending_alarms(driven.monitor) if s.signal == "shift" and s.region_id == 1]
    assert [s.waits_for for s in shift] == [Wait.EVIDENCE]


def test_an_alarm_waits_for_a_pending_edit() -> None:
    driven = Driven()
    driven.feed(100)
    (edit,) = driven.feed(100, loss_in_1=STRANGE)
    found = only(driven)
    assert found.waits_for is Wait.EDIT
    assert edit.edit_id in found.text


def test_an_alarm_waits_for_the_classifier_of_origins_but_not_for_edits_of_other_regions() -> None:
    driven = Driven()
    driven.feed(100)
    (edit,) = driven.feed(100, loss_in_1=STRANGE)
    other = replace(edit, edit_id="x", region_id=4, reason={"signal": "novelty", "regions": [2]})
    driven.monitor.state.pending = {"x": other}
    assert (only(driven).waits_for, "edit x fits the classifier" in only(driven).text) == (Wait.EDIT, True)
    driven.monitor.state.pending = {"x": replace(other, operation=Operation.UPDATE)}
    assert only(driven).waits_for is Wait.TURN


def test_an_alarm_waits_for_budget() -> None:
    driven = Driven(config("edits.passes_per_event=0.19", "edits.min_windows=64"))
    driven.feed(100)
    assert driven.feed(100, loss_in_1=STRANGE) == []
    assert (only(driven).signal, only(driven).waits_for) == ("loss", Wait.BUDGET)


def test_an_alarm_waits_for_room() -> None:
    settings = config()
    full = settings.model_copy(update={"edits": settings.edits.model_copy(update={"max_regions": 2})})
    driven = Driven(full)
    driven.feed(100)
    assert driven.feed(100, loss_in_1=STRANGE) == []
    assert only(driven).waits_for is Wait.ROOM
    assert only(driven).text == "2 regions are live, and edits.max_regions is 2"


def test_after_an_edit_alarms_cool_down() -> None:
    driven = Driven(config("edits.cool_down=5000"))
    driven.feed(100)

    def refuse(_: Edit) -> bool:
        return False

    driven.feed(100, verdict=refuse, loss_in_1=STRANGE)
    driven.feed(300, verdict=refuse, loss_in_1=3 * STRANGE)
    found = only(driven)
    assert (found.signal, found.waits_for) == ("loss", Wait.COOL_DOWN)
