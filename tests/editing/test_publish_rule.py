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
from pipeline.events.edit import AUDIT, Edit, Operation
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
def test_an_edit_of_regions_that_changed_meanwhile_is_rejected(operation: Operation) -> None:
    current = replace(bank(), gate_version=3)
    region = current.regions[0]
    fresh = edit(operation, region_id=region.region_id, base_version=region.version, base_gate=3)
    assert reject_stale(fresh, current) is None
    gate = reject_stale(replace(fresh, base_gate=1), current)
    moved = reject_stale(replace(fresh, base_version=region.version + 1), current)
    said = (False, "the gate moved on from version 1 to 3 since this was decided")
    assert gate == (None if operation is Operation.UPDATE else said)
    said = (
        False,
        f"region {region.region_id} moved on from version {region.version + 1} since this was decided",
    )
    assert moved == (None if operation is Operation.ADD else said)
