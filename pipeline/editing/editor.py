"""The edit operations: each builds its candidate beside the incumbent, has it validated and decided about.

No log and no store is used here: an editor takes an edit and the current regions, and returns the regions after it.
Training is in `training`, the closed form of an Inject in `injection`, validation in `validation`, the decision in
`publish_rule`; `publisher` publishes.
"""

from dataclasses import dataclass, replace

import numpy as np

from adapters_store import version_name
from pipeline.config import Config
from pipeline.editing.boundaries import Boundaries, other_region, reshaped
from pipeline.editing.encoding import encode
from pipeline.editing.injection import Injector
from pipeline.editing.publish_rule import (
    Decision,
    decide,
    decide_parent_update,
    parent_suffices,
    reject_stale,
    reject_unpromising,
    reject_unreachable,
)
from pipeline.editing.training import (
    AdapterTrainer,
    Candidate,
    Known,
    TrainingWindows,
    none_known,
    only_new,
)
from pipeline.editing.validation import ValidationResult, Validator
from pipeline.editing.workspace import Workspace
from pipeline.events.edit import Edit, Operation, Outcome, held_out
from pipeline.events.windows import Windows
from pipeline.models.injected import InjectedItems
from pipeline.regions.bank import RegionBank
from pipeline.regions.encoded import Encoded
from pipeline.regions.injection import EVERY_REGION, Injection
from pipeline.regions.region import Origin, Region, Status
from pipeline.regions.shape import Shape, moved, shape_of
from pipeline.setup.artifacts import SetUp

MOST_INJECTED = 65_536
"""Injected items in force at most; those unchanged for longest go back to the vectors of their texts."""

MOST_PARTS = 32
"""Versions of injected items in force at most; the next one holds all of them."""


@dataclass(frozen=True)
class Result:
    """Result of an edit.

    Attributes:
        outcome: for the ledger.
        bank: the regions after it; as before where it was rejected.
        changed: regions that differ from before.
        adapter: name of the new adapter version, registered with the host and to be published, or None.
        inputs: see `Candidate`, of that version.
        injected: content of the new version of injected items, to be published, or None.
    """

    outcome: Outcome
    bank: RegionBank
    changed: tuple[Region, ...] = ()
    adapter: str | None = None
    injected: InjectedItems | None = None
    inputs: str = ""


class Editor:
    """Application of edits to the regions of one set-up.

    Args:
        setup: backbone, set-up regions and their reference windows.
        config: the whole tree.
        workspace: holds the incumbents' adapters; a candidate is registered with its host, and dropped if rejected.
        training_windows: chooses the windows of each training.
        known: finds adapters that need no training.
    """

    def __init__(
        self,
        setup: SetUp,
        config: Config,
        workspace: Workspace,
        training_windows: TrainingWindows = only_new,
        known: Known = none_known,
    ) -> None:
        self._setup = setup
        self._config = config
        self._workspace = workspace
        self._host = workspace.host
        self._trainer = AdapterTrainer(config, workspace, training_windows, known)
        self._boundaries = Boundaries(setup, config, workspace)
        self._validator = Validator(setup, config, workspace)
        self._injector = Injector(setup, workspace)

    def apply(self, edit: Edit, bank: RegionBank) -> Result:
        """Apply an edit to the current regions.

        Returns:
            The result; rejected where the publish rule says so, or where the regions changed since the edit was
            decided.
        """
        stale = reject_stale(edit, bank)
        if stale:
            return self._finish(edit, stale, bank, bank)
        if edit.operation is Operation.INJECT:
            self._injector.prepare()
        self._workspace.prepare(edit, bank)
        operation = {
            Operation.UPDATE: self._update,
            Operation.ADD: self._add,
            Operation.EXPAND: self._expand,
            Operation.MERGE: self._merge,
            Operation.RETIRE: self._retire,
            Operation.INJECT: self._inject,
        }[edit.operation]
        return operation(edit, bank)

    def _update(self, edit: Edit, bank: RegionBank) -> Result:
        """Train the adapter of a stream region on, and move its shape towards the new windows."""
        region = bank[edit.region_id]
        learned, judged = self._split(edit)
        candidate = self._trainer.train(edit, region.version + 1, learned, judged, region)
        shape = moved(region, self._encode(learned).means, self._config.edits.update_rate, self._quantile)
        after = bank.changed(_with_adapter(reshaped(region, shape), candidate))
        return self._decide_answers(edit, bank, after, judged, candidate)

    def _add(self, edit: Edit, bank: RegionBank) -> Result:
        """Open a region with an adapter trained from its parent's, or update the parent if that does as well."""
        learned, judged = self._split(edit)
        encoded = self._encode(learned)
        parent = self._boundaries.parent(bank, encoded)
        origins = self._boundaries.refit({**self._boundaries.samples(edit.samples), edit.region_id: encoded})

        def opened(candidate: Candidate) -> RegionBank:
            return bank.changed(self._new_region(edit, encoded, parent, candidate)).rebound(origins)

        def gains(candidate: Candidate) -> bool:
            return self._validator.compare_answers(judged, bank, opened(candidate)).better(0.0)

        candidate = self._trainer.train(edit, edit.base_version + 1, learned, judged, parent, gains)
        after = opened(candidate)
        if parent and not candidate.stopped:
            updated = _with_adapter(parent, candidate)
            against_parent = self._validator.compare_answers(judged, bank.changed(updated), after)
            if parent_suffices(against_parent, self._config.edits):
                return self._update_parent(edit, bank, updated, judged, candidate)
        return self._decide_answers(edit, bank, after, judged, candidate)

    def _update_parent(
        self, edit: Edit, bank: RegionBank, updated: Region, judged: Windows, candidate: Candidate
    ) -> Result:
        """Update the parent of an Add instead: the candidate becomes the next version of its adapter."""
        validation = self._validator.compare_answers(judged, bank, bank.changed(updated))
        renamed = replace(candidate, name=version_name(updated.region_id, updated.version))
        self._host.register(renamed.name, self._host.tensors(candidate.name), self._host.rows(candidate.name))
        self._host.drop(candidate.name)
        update = replace(edit, operation=Operation.UPDATE, region_id=updated.region_id)
        decision = decide_parent_update(update, validation, self._config.edits)
        after = bank.changed(replace(updated, adapter=renamed.name))
        return self._finish(update, decision, bank, after, validation, renamed)

    def _expand(self, edit: Edit, bank: RegionBank) -> Result:
        """Move the border between two set-up regions, or all boundaries of the stream regions; train nothing."""
        learned, judged = self._split(edit)
        if edit.other_region_id is not None:
            after = self._boundaries.move_between(edit, bank, self._encode(learned).means)
            return self._decide(edit, bank, after, self._validator.compare_densities(judged, bank, after))
        windows = sorted({e.offset for e in edit.windows})
        is_judged = held_out(edit.reason, len(windows), self._config.edits)
        unseen = {offset for offset, is_unseen in zip(windows, is_judged, strict=True) if is_unseen}
        samples = self._boundaries.samples([e for e in edit.samples if e.offset not in unseen])
        after = bank.rebound(self._boundaries.refit(samples))
        return self._decide_answers(edit, bank, after, judged)

    def _merge(self, edit: Edit, bank: RegionBank) -> Result:
        """End one of two regions and give its share of windows to the other."""
        kept, gone = bank[edit.region_id], bank[other_region(edit)]
        judged = self._workspace.windows_of(edit.windows)
        merged = replace(
            reshaped(kept, _merged_shape(kept, gone)), version=kept.version + 1, prior=kept.prior + gone.prior
        )
        after = bank.changed(merged, replace(gone, version=gone.version + 1, status=Status.MERGED))
        samples = self._boundaries.samples(edit.samples, {gone.region_id: kept.region_id})
        after = after.rebound(self._boundaries.refit(samples) if gone.origin is Origin.STREAM else bank.origins)
        return self._decide_answers(edit, bank, after, judged)

    def _retire(self, edit: Edit, bank: RegionBank) -> Result:
        """End a region; the backbone and the other regions answer for its windows."""
        region = bank[edit.region_id]
        after = bank.changed(replace(region, version=region.version + 1, status=Status.RETIRED))
        samples = self._boundaries.samples([e for e in edit.samples if e.region_id != edit.region_id])
        after = after.rebound(self._boundaries.refit(samples) if region.origin is Origin.STREAM else bank.origins)
        return self._decide(edit, bank, after, None)

    def _inject(self, edit: Edit, bank: RegionBank) -> Result:
        """Give new items output vectors in closed form; train nothing and change no region."""
        before, judged = self._workspace.injected(bank), self._workspace.windows_of(edit.samples)
        injected = self._injector.inject(edit, self._workspace.windows_of(edit.windows), before)
        newer = injected.items
        if not len(newer):
            return self._finish(edit, reject_unreachable(edit), bank, bank)
        after = before.updated(newer).newest(MOST_INJECTED)
        validation = self._injector.compare(judged, before, after, injected.left_out)
        decision = decide(edit, validation, self._config.edits)
        result = self._finish(edit, decision, bank, bank, validation)
        if not decision.published:
            return result
        version = bank.injection.version + 1
        name, whole = version_name(EVERY_REGION, version), len(bank.injection.names) >= MOST_PARTS
        injection = Injection(version, (name,) if whole else (*bank.injection.names, name))
        outcome = replace(result.outcome, version=name)
        return Result(outcome, replace(bank, injection=injection), injected=after if whole else newer)

    @property
    def _quantile(self) -> float:
        return self._config.setup.radius_quantile

    def _encode(self, windows: Windows) -> Encoded:
        return encode(self._setup, self._host, windows)

    def _split(self, edit: Edit) -> tuple[Windows, Windows]:
        """Return the windows to learn and those held out for validation."""
        windows = self._workspace.windows_of(edit.windows)
        judged = held_out(edit.reason, len(windows), self._config.edits)
        return windows[~judged], windows[judged]

    def _new_region(self, edit: Edit, encoded: Encoded, parent: Region | None, candidate: Candidate) -> Region:
        shape = shape_of(encoded.means, self._quantile)
        return Region(
            region_id=edit.region_id,
            version=edit.base_version + 1,
            status=Status.LIVE,
            origin=Origin.STREAM,
            parent=parent.region_id if parent else None,
            centroid=shape.centroid,
            radius=shape.radius,
            concentration=shape.concentration,
            prior=len(encoded) / max(edit.at_event, 1),
            adapter=candidate.name,
            opened_at=edit.at_event,
            adapter_weight=candidate.weight,
        )

    def _decide_answers(
        self, edit: Edit, before: RegionBank, after: RegionBank, judged: Windows, candidate: Candidate | None = None
    ) -> Result:
        """Decide about an edit by the answers after held-out windows."""
        validation = self._validator.compare_answers(judged, before, after)
        if candidate and candidate.stopped:
            return self._finish(edit, reject_unpromising(validation), before, before, validation, candidate)
        return self._decide(edit, before, after, validation, candidate)

    def _decide(
        self,
        edit: Edit,
        before: RegionBank,
        after: RegionBank,
        validation: ValidationResult | None,
        candidate: Candidate | None = None,
    ) -> Result:
        decision = decide(edit, validation, self._config.edits)
        return self._finish(edit, decision, before, after, validation, candidate)

    def _finish(
        self,
        edit: Edit,
        decision: Decision,
        before: RegionBank,
        after: RegionBank,
        validation: ValidationResult | None = None,
        candidate: Candidate | None = None,
    ) -> Result:
        """Make the result of a decision; the adapter of a rejected candidate is dropped."""
        if candidate and not decision.published:
            self._host.drop(candidate.name)
        bank = after if decision.published else before
        adapter = candidate.name if candidate and decision.published else None
        outcome = Outcome(
            edit.edit_id,
            edit.operation,
            edit.region_id,
            decision.published,
            decision.detail,
            version=adapter,
            validation=validation.to_record() if validation else None,
            trained_windows=candidate.trained_windows if candidate else 0,
            moved_windows=self._boundaries.moved_share(edit, before, bank),
        )
        return Result(outcome, bank, _changed(before, bank), adapter, inputs=candidate.inputs if candidate else "")


def _changed(before: RegionBank, after: RegionBank) -> tuple[Region, ...]:
    """Return the regions that differ from before, as they are after."""
    old = {r.region_id: r for r in before.regions}
    return tuple(r for r in after.regions if old.get(r.region_id) is not r)


def _with_adapter(region: Region, candidate: Candidate) -> Region:
    """Return the next version of a region, answered by a new adapter."""
    return replace(region, version=region.version + 1, adapter=candidate.name, adapter_weight=candidate.weight)


def _merged_shape(kept: Region, gone: Region) -> Shape:
    """Return the shape of two regions together: centroids averaged by their priors, the wider of the two spreads."""
    share = gone.prior / max(kept.prior + gone.prior, 1e-12)
    mean = (1.0 - share) * kept.centroid + share * gone.centroid
    return Shape(
        mean / np.linalg.norm(mean), max(kept.radius, gone.radius), min(kept.concentration, gone.concentration)
    )
