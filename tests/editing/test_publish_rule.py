"""Decisions of the publish rule for each operation, and their sentences in the ledger."""

from dataclasses import replace

import pytest

from pipeline.config import EditSettings
from pipeline.editing.publish_rule import (
    LITTLE,
    confidence_of,
    decide,
    decide_parent_update,
    parent_suffices,
    reject_stale,
)
from pipeline.editing.validation import ValidationResult
from pipeline.events.edit import AUDIT, Edit, Evidence, Operation
from pipeline.regions.bank import RegionBank
from pipeline.regions.region import Status
from tests.regions.test_bank import bank

DRIFT = {"signal": "loss", "statistic": 14.2, "threshold": 13.8, "text": "because"}
SETTINGS = EditSettings(confidence=1.5, audit_confidence=4.0)


def edit(operation: Operation, signal: str = "loss", **changed: int) -> Edit:
    made = Edit("0" * 24, operation, 4, None, 1, 1, {**DRIFT, "signal": signal}, (), (), 1_000, 1.6e9, 7)
    return replace(made, **changed)


def validation(gain: float) -> ValidationResult:
    """A candidate that is better by so many standard errors."""
    return ValidationResult("log_rank", 48, 2.0, 2.0 - 0.1 * gain, 0.1)


@pytest.mark.parametrize(
    ("operation", "signal", "needed"),
    [
        (Operation.UPDATE, "loss", 0.0),
        (Operation.ADD, "loss", 1.5),
        (Operation.EXPAND, "novelty", 1.5),
        (Operation.EXPAND, AUDIT, 4.0),
    ],
)
def test_an_edit_is_published_if_it_is_better_by_its_standard_errors(
    operation: Operation, signal: str, needed: float
) -> None:
    asked = edit(operation, signal)
    assert confidence_of(asked, SETTINGS) == needed
    assert decide(asked, validation(needed + 0.01), SETTINGS).published
    assert not decide(asked, validation(needed - 0.01), SETTINGS).published


def test_a_merge_is_published_unless_it_is_clearly_worse() -> None:
    assert decide(edit(Operation.MERGE), validation(-1.49), SETTINGS).published
    assert not decide(edit(Operation.MERGE), validation(-1.51), SETTINGS).published


def test_an_inject_is_published_unless_it_is_clearly_worse_by_more_than_a_little() -> None:
    clear = ValidationResult("log_rank", 256, 2.0, 2.0 + LITTLE + 0.001, 0.0001)
    assert not decide(edit(Operation.INJECT), clear, SETTINGS).published
    assert decide(edit(Operation.INJECT), replace(clear, error=0.1), SETTINGS).published
    assert decide(edit(Operation.INJECT), replace(clear, after=2.0 + LITTLE - 0.001), SETTINGS).published


def test_a_retire_is_always_published() -> None:
    expected = (True, "region 4 takes part in no answer any more; its versions stay in the store")
    assert decide(edit(Operation.RETIRE), None, SETTINGS) == expected


@pytest.mark.parametrize(("gain", "verdict"), [(2.0, "better than"), (1.0, "not clearly better than")])
def test_the_detail_has_the_figures_of_the_validation(gain: float, verdict: str) -> None:
    _, detail = decide(edit(Operation.ADD), validation(gain), SETTINGS)
    assert detail == (
        f"log_rank {2.0 - 0.1 * gain:.4f} against 2.0000 (difference's standard error 0.1000) on 48 held-out windows: "
        f"{verdict} the incumbent"
    )


def test_a_parent_suffices_unless_the_new_region_is_clearly_better() -> None:
    assert parent_suffices(validation(1.49), SETTINGS)
    assert not parent_suffices(validation(1.51), SETTINGS)


def test_a_parent_is_updated_under_the_rule_of_an_update() -> None:
    update = edit(Operation.UPDATE)
    published, detail = decide_parent_update(update, validation(0.01), SETTINGS)
    assert published
    assert detail == (
        "no region is opened: its parent, region 4, does as well with the same training; log_rank 1.9990 against "
        "2.0000 (difference's standard error 0.1000) on 48 held-out windows: better than the incumbent"
    )
    assert not decide_parent_update(update, validation(-0.01), SETTINGS).published


@pytest.mark.parametrize("operation", [each for each in Operation if each is not Operation.INJECT])
def test_an_edit_of_a_region_that_changed_meanwhile_is_rejected(operation: Operation) -> None:
    region = bank().regions[0]
    fresh = edit(operation, region_id=region.region_id, base_version=region.version, base_gate=bank().gate_version)
    assert reject_stale(fresh, bank()) is None
    moved = reject_stale(replace(fresh, base_version=region.version + 1), bank())
    said = (
        False,
        f"region {region.region_id} moved on from version {region.version + 1} since this was decided",
    )
    assert moved == (None if operation is Operation.ADD else said)


SETUP, OTHER, STREAM, OPENED = 1, 2, 3, 4
"""Two regions of set-up and two of the stream in `moved_on`."""


def moved_on() -> RegionBank:
    """Regions whose boundaries moved twice since an edit was decided."""
    current = replace(bank(), gate_version=3)
    assert {SETUP, OTHER} <= {r.region_id for r in current.setup} and current.origins.origins == (STREAM, OPENED)
    return current


@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize(
    ("operation", "region_id", "refits"),
    [
        (Operation.UPDATE, STREAM, False),
        (Operation.ADD, 9, True),
        (Operation.EXPAND, STREAM, True),
        (Operation.RETIRE, STREAM, True),
        (Operation.RETIRE, SETUP, False),
    ],
)
def test_other_boundaries_may_move_meanwhile_but_no_region_be_opened_that_a_refit_does_not_know(
    operation: Operation, region_id: int, refits: bool, known: bool
) -> None:
    current = moved_on()
    version = 0 if operation is Operation.ADD else current[region_id].version
    decided = edit(operation, region_id=region_id, base_version=version, base_gate=1)
    samples = [Evidence("e", 0, STREAM), *([Evidence("f", 1, OPENED)] if known else [])]
    decided = replace(decided, samples=tuple(samples))
    said = (False, "the gate moved on from version 1 to 3 since this was decided")
    assert reject_stale(decided, current) == (said if refits and not known else None)


def test_an_edit_of_two_regions_one_of_which_has_ended_is_rejected() -> None:
    current = moved_on()
    expand = replace(
        edit(Operation.EXPAND, region_id=SETUP, base_version=current[SETUP].version), other_region_id=OTHER
    )
    assert reject_stale(expand, current) is None
    ended = current.changed(replace(current[OTHER], status=Status.RETIRED))
    assert reject_stale(expand, ended) is not None
