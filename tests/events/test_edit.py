"""Edits: ids that follow from their content, records without loss, and windows held out for validation."""

import hashlib
import json
from dataclasses import fields, replace
from itertools import pairwise

import numpy as np
import pytest

from pipeline.config import EditSettings
from pipeline.events.edit import (
    AUDIT,
    LEAST_HELD_OUT,
    Edit,
    Evidence,
    Operation,
    Outcome,
    edit_id,
    held_out,
)

TRAINING = {"epochs": 2, "rank": 8}
DRIFT = {"signal": "loss", "statistic": 14.2, "threshold": 13.8, "text": "because"}

EDIT = Edit(
    edit_id="0123456789abcdef01234567",
    operation=Operation.EXPAND,
    region_id=3,
    other_region_id=5,
    base_version=1,
    base_gate=4,
    reason={**DRIFT, "regions": [3, 5], "shares": {"3": 0.25, "5": 0.1}},
    windows=(Evidence("e1", 10, 3), Evidence("e2", 17, 5)),
    samples=(Evidence("e0", 2, 9),),
    at_event=1_234,
    timestamp=1_600_000_000.25,
    seed=42,
)

OUTCOME = Outcome(
    edit_id=EDIT.edit_id,
    operation=Operation.UPDATE,
    region_id=3,
    published=True,
    detail="better",
    version="r0003_v0002",
    validation={"metric": "loss", "windows": 48, "before": 1.5, "after": 1.25, "error": 0.1},
    trained_windows=900,
    moved_windows=0.125,
)


def name(**changed: object) -> str:
    content = {
        "operation": Operation.UPDATE,
        "region_id": 3,
        "base_version": 1,
        "event_ids": ["a", "b", "c"],
        "training": TRAINING,
        "seed": 0,
    }
    return edit_id(**{**content, **changed})  # type: ignore[arg-type]


def settings(**changed: float) -> EditSettings:
    return EditSettings(**changed)  # type: ignore[arg-type]


def test_the_id_of_an_edit_follows_from_its_content() -> None:
    names = {
        name(),
        name(operation=Operation.ADD),
        name(region_id=4),
        name(base_version=2),
        name(event_ids=["a", "b"]),
        name(event_ids=["a", "b", "d"]),
        name(training={**TRAINING, "rank": 4}),
        name(seed=1),
    }
    assert len(names) == 8
    assert {len(n) for n in names} == {24}


def test_the_order_in_which_windows_or_settings_come_does_not_matter() -> None:
    assert name(event_ids=["c", "a", "b"]) == name()
    assert name(event_ids=iter(["b", "c", "a"])) == name()
    assert name(training=dict(reversed(TRAINING.items()))) == name()


def test_ids_that_read_alike_when_joined_are_told_apart() -> None:
    assert name(event_ids=["a", "bc"]) != name(event_ids=["ab", "c"])
    assert name(event_ids=["1"], seed=0) != name(event_ids=[], seed=10)


def test_a_name_is_the_same_in_every_process() -> None:
    content = '["update",3,1,["a","b","c"],{"epochs":2,"rank":8},0]'
    assert name() == hashlib.sha256(content.encode()).hexdigest()[:24]


def test_an_edit_survives_being_recorded() -> None:
    assert Edit.from_record(json.loads(json.dumps(EDIT.to_record()))) == EDIT


def test_an_edit_touches_the_regions_that_it_changes_and_those_whose_windows_it_rests_on() -> None:
    assert replace(EDIT, reason={**DRIFT, "regions": [3, 7]}).touched == {3, 5, 7}
    assert replace(EDIT, other_region_id=None, reason=DRIFT).touched == {3}
    for strange in (None, 7, "37", [None, "7"], {"7": 1}):
        assert replace(EDIT, reason={**DRIFT, "regions": strange}).touched == {3, 5}


@pytest.mark.parametrize("operation", Operation)
def test_every_operation_survives_being_recorded(operation: Operation) -> None:
    edit = replace(EDIT, operation=operation, other_region_id=None, windows=(), samples=())
    again = Edit.from_record(json.loads(json.dumps(edit.to_record())))
    assert again == edit
    assert again.operation is operation
    outcome = replace(OUTCOME, operation=operation)
    assert Outcome.from_record(json.loads(json.dumps(outcome.to_record()))).operation is operation


@pytest.mark.parametrize(
    "outcome", [OUTCOME, Outcome("e", Operation.ADD, 7, False, "the gate moved on from version 1 to 2")]
)
def test_an_outcome_survives_being_recorded(outcome: Outcome) -> None:
    again = Outcome.from_record(json.loads(json.dumps(outcome.to_record())))
    assert again == outcome
    assert set(outcome.to_record()) == {field.name for field in fields(Outcome)}


def test_a_record_with_a_field_that_nobody_knows_is_refused() -> None:
    with pytest.raises(TypeError, match="surprise"):
        Edit.from_record({**EDIT.to_record(), "surprise": 1})


@pytest.mark.parametrize("signal", ["loss", AUDIT])
@pytest.mark.parametrize("share", [0.01, 0.1, 0.49])
def test_at_least_one_window_is_judged_and_at_least_one_learned(signal: str, share: float) -> None:
    for windows in range(2, 600):
        judged = held_out({**DRIFT, "signal": signal}, windows, settings(held_out=share))
        assert judged.shape == (windows,)
        assert 1 <= judged.sum() < windows


@pytest.mark.parametrize(("windows", "judged"), [(64, 16), (192, 48), (400, 48), (1_000, 100), (4_096, 410)])
def test_enough_windows_are_judged_to_tell_and_never_more_than_a_quarter_of_few(windows: int, judged: int) -> None:
    assert held_out(DRIFT, windows, settings(held_out=0.1)).sum() == judged
    assert judged == max(round(windows * 0.1), min(LEAST_HELD_OUT, windows // 4))


@pytest.mark.parametrize("windows", [32, 100, 193, 1_000, 4_095])
def test_judged_windows_are_spread_evenly(windows: int) -> None:
    places = np.flatnonzero(held_out(DRIFT, windows, settings(held_out=0.1)))
    gaps = {b - a for a, b in pairwise(places.tolist())}
    assert max(gaps) - min(gaps) <= 1
    assert places[0] <= max(gaps)
    assert windows - 1 - places[-1] <= max(gaps)


def test_half_of_an_audit_is_judged() -> None:
    judged = held_out({**DRIFT, "signal": AUDIT}, 200, settings())
    assert judged.sum() == 100
    assert {b - a for a, b in pairwise(np.flatnonzero(judged).tolist())} == {2}


def test_which_windows_are_judged_depends_on_nothing_but_how_many_there_are() -> None:
    one = held_out(DRIFT, 321, settings())
    np.testing.assert_array_equal(one, held_out({**DRIFT, "signal": "evidence doubled"}, 321, settings()))
