"""The publish rule: every decision to publish or to reject an edit is made here.

    operation   published if
    Update      better than the incumbent at all
    Add         better by `edits.confidence` standard errors, and as clearly better than the parent trained alike:
                if the parent's Update does as well, that is decided instead
    Expand      better by `edits.confidence` standard errors; by `edits.audit_confidence` in an audit
    Merge       not worse by more than `edits.confidence` standard errors
    Inject      likewise, or worse by less than `LITTLE`: what new items gain shows when they are taken
    Retire      always

The training of an Add ends, and the Add is rejected, where it is not better at all after an eighth of
`edits.add_steps`. An edit of any operation is rejected if the region that it starts from changed since it was decided,
or another region that it changes has ended, or a stream region was opened whose windows it does not know. Better and
worse are by the validation on held-out windows.
"""

from typing import NamedTuple

from pipeline.config import EditSettings
from pipeline.editing.validation import ValidationResult
from pipeline.events.edit import AUDIT, MOVES_BOUNDARIES, Edit, Operation
from pipeline.regions.bank import RegionBank
from pipeline.regions.refits import refits_classifier

LITTLE = 0.005
"""Mean log rank that an Inject may cost: half a per cent of a rank. Every new item is a rival of the others."""


class Decision(NamedTuple):
    """Decision about an edit, and the reason for it in a sentence (a field of `outcomes` and `ledger.jsonl`)."""

    published: bool
    detail: str


def reject_stale(edit: Edit, bank: RegionBank) -> Decision | None:
    """Reject an edit that rests on regions which changed since it was decided; None if they did not."""
    if edit.operation is Operation.INJECT:
        if edit.base_version == bank.injection.version:
            return None
        moved = f"the injected items moved on from version {edit.base_version}"
    elif edit.base_gate != bank.gate_version and _is_undone(edit, bank):
        moved = f"the gate moved on from version {edit.base_gate} to {bank.gate_version}"
    elif edit.operation is not Operation.ADD and bank[edit.region_id].version != edit.base_version:
        moved = f"region {edit.region_id} moved on from version {edit.base_version}"
    else:
        return None
    return Decision(False, f"{moved} since this was decided")


def _is_undone(edit: Edit, bank: RegionBank) -> bool:
    """Return whether boundaries that moved since an edit was decided took away what it rests on.

    Those of other regions may move meanwhile: it is carried out, and judged, with the boundaries in force. But it knows
    no windows of a stream region that was opened since, which a refit would take out of the classifier of origins.
    """
    if edit.operation not in MOVES_BOUNDARIES:
        return False
    changed = {edit.region_id, edit.other_region_id} - {None}
    live = {r.region_id for r in bank.live}
    has_ended = edit.operation is not Operation.ADD and not changed <= live
    is_refitted = refits_classifier(edit.operation, edit.touched, bank)
    return has_ended or (is_refitted and not set(bank.origins.origins) <= {e.region_id for e in edit.samples})


def reject_unreachable(edit: Edit) -> Decision:
    """Reject an Inject none of whose items has a text or was taken."""
    return Decision(False, f"none of {len(edit.items)} items has a text or was taken after a window: nothing to inject")


def reject_unpromising(validation: ValidationResult) -> Decision:
    """Reject an Add that gained nothing in the trial of its training, which ended there."""
    return Decision(False, f"its training ended early: {_comparison(validation, published=False)}")


def decide(edit: Edit, validation: ValidationResult | None, settings: EditSettings) -> Decision:
    """Decide about an edit whose candidate is complete.

    Args:
        edit: gives operation, region and reason.
        validation: of the candidate against the incumbent; None for a Retire, which is not validated.
        settings: the section `edits`.
    """
    if validation is None:
        detail = f"region {edit.region_id} takes part in no answer any more; its versions stay in the store"
        return Decision(True, detail)
    if edit.operation is Operation.MERGE:
        published = validation.no_worse(settings.confidence)
    elif edit.operation is Operation.INJECT:
        published = validation.no_worse(settings.confidence) or validation.after - validation.before < LITTLE
    else:
        published = validation.better(confidence_of(edit, settings))
    return Decision(published, _comparison(validation, published))


def confidence_of(edit: Edit, settings: EditSettings) -> float:
    """Return the standard errors by which an edit must beat the incumbent: more where no alarm was raised."""
    if edit.reason["signal"] == AUDIT:
        return settings.audit_confidence
    return 0.0 if edit.operation is Operation.UPDATE else settings.confidence


def parent_suffices(new_region: ValidationResult, settings: EditSettings) -> bool:
    """Return whether an Add is to be replaced by an Update of the parent region.

    Args:
        new_region: comparison of the parent with the same training (incumbent) and the new region (candidate).
        settings: the section `edits`.
    """
    return not new_region.better(settings.confidence)


def decide_parent_update(update: Edit, validation: ValidationResult, settings: EditSettings) -> Decision:
    """Decide about the Update of the parent region that replaces an Add."""
    published, detail = decide(update, validation, settings)
    parent = f"no region is opened: its parent, region {update.region_id}, does as well with the same training"
    return Decision(published, f"{parent}; {detail}")


def _comparison(validation: ValidationResult, published: bool) -> str:
    verdict = "better than" if published else "not clearly better than"
    return (
        f"{validation.metric} {validation.after:.4f} against {validation.before:.4f} (difference's standard error "
        f"{validation.error:.4f}) on {validation.windows} held-out windows: {verdict} the incumbent"
    )
