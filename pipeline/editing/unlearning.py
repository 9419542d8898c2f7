"""Unlearning: published edits carried out again, in their order, without the windows of erased users.

It begins with the first edit that rests on such a window, from the regions of before it. From there on the regions may
differ from those that each edit was decided about, so each is judged again, by the same rule:

    its adapter is trained anew     with the same seed and passes, unless nothing that the training depends on has
                                    changed (`Candidate.inputs`)
    it is published                 as a new version; where the weights come out the same, the version stays
    it is rejected                  its version gives way to the one before it, the newest clean ancestor
    its windows are gone            it is rejected if it rests on an erased window, or on regions that came out
                                    differently; else its revision stays

Regions that ended stay ended, and none is opened that was not. Edits that were rejected in their time stay rejected.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import accumulate

from adapters_store import AdaptersStore, ArrayFile, parse_version_name
from adapters_store.errors import AdapterRefused
from pipeline.config import Config
from pipeline.editing import banks
from pipeline.editing.editor import Result
from pipeline.editing.publisher import INPUTS, EditPublisher
from pipeline.editing.workspace import Workspace
from pipeline.events.edit import Edit, Operation, Outcome
from pipeline.events.gated import EvidenceError
from pipeline.events.unlearning import ForgottenWindows, touches, without
from pipeline.models.lora.moved_items import Tensors
from pipeline.regions.bank import RegionBank
from pipeline.regions.injection import EVERY_REGION
from pipeline.regions.revision import Revision
from pipeline.regions.rewritten import Rewritten, write_rewritten
from pipeline.regions.unlearned import Replacement, Unlearned
from pipeline.setup.artifacts import SetUp
from pipeline.streams.interface import RecordsLostError

LEAST_WINDOWS = 2
"""Windows that an edit needs, one to learn and one to judge."""


@dataclass(frozen=True)
class Step:
    """One revision of a ledger.

    Attributes:
        revision: with all of its arrays.
        edit: that it comes from, without windows that were forgotten before; None where a person or a trial made it.
    """

    revision: Revision
    edit: Edit | None


@dataclass
class _Progress:
    """State of one Unlearn: its aim, and its work so far.

    Attributes:
        forgotten: the windows.
        kept_from: first offset that `gated` still holds.
        numbers: region id -> highest version number taken; 0: injected items.
        replaced: see `Unlearned`.
        injections: injected items in force in their time -> those in force now.
        published: ids of the regions that have new versions.
        trained: windows trained on, counting each pass.
    """

    forgotten: ForgottenWindows
    kept_from: int
    numbers: dict[int, int]
    replaced: dict[str, Replacement | None] = field(default_factory=dict)
    injections: dict[tuple[str, ...], tuple[str, ...]] = field(default_factory=dict)
    published: set[int] = field(default_factory=set)
    trained: int = 0

    def note(self, version: str | None, by: Replacement | None) -> None:
        """Note what stands for a version from now on."""
        if by is not None:
            self.published.add(parse_version_name(by.adapter)[0])
        if version is not None:
            self.replaced[version] = by

    @property
    def detail(self) -> str:
        """Sentence for the ledger."""
        anew = sum(by is not None for by in self.replaced.values())
        windows, fallen = len(self.forgotten.offsets), len(self.replaced) - anew
        return f"without {windows} windows {anew} versions are trained anew; {fallen} give way to the one before them"


class Unlearner:
    """Unlearning over one set-up.

    Args:
        setup: regions and backbone.
        config: the whole tree.
        workspace: of the edits.
        store: has the versions so far; new ones are published to it.
    """

    def __init__(self, setup: SetUp, config: Config, workspace: Workspace, store: AdaptersStore) -> None:
        self._bank, self._store, self._backbone = setup.bank, store, setup.backbone_sha256
        self._publisher = EditPublisher(setup, config, workspace, store, known=self._known)
        self._version: str | None = None

    def apply(
        self, unlearn: Edit, steps: Sequence[Step], forgotten: ForgottenWindows, kept_from: int
    ) -> tuple[Outcome, Revision]:
        """Carry out the edits of a ledger again, from the first that rests on a forgotten window.

        Args:
            unlearn: the edit that asks for it.
            steps: all revisions so far, in order.
            forgotten: the windows.
            kept_from: first offset that `gated` still holds.

        Returns:
            Its outcome, and the revision that puts it in force.

        Raises:
            StoreError: a version that is needed is refused, or a new one cannot be written.
        """
        then = list(accumulate(steps, lambda bank, step: step.revision.after(bank), initial=self._bank))
        progress = _Progress(forgotten, kept_from, self._numbers(then[-1]))
        first = next((i for i, step in enumerate(steps) if touches(step.edit, forgotten, kept_from)), None)
        if first is None:
            return _finish(unlearn, then[-1], then[-1], progress, None)
        while not all(self._has(name) for name in (*then[first].adapters, *then[first].injection.names) if name):
            # A version that it would start from was pruned: it is brought about again.
            first -= 1
        bank, rewritten = banks.numbered(then[first], progress.numbers), list[Revision]()
        progress.injections[bank.injection.names] = bank.injection.names
        for step, before, after in zip(steps[first:], then[first:-1], then[first + 1 :], strict=True):
            again = banks.with_ends(self._carry_out(unlearn, step, before, bank, progress), after)
            rewritten += banks.change(bank, again, step.revision.edit_id)
            bank = banks.numbered(again, progress.numbers)
            progress.injections[after.injection.names] = bank.injection.names
        part = write_rewritten(Rewritten(first, rewritten), self._store.arrays, unlearn.edit_id)
        return _finish(unlearn, then[-1], banks.in_place(then[-1], bank, progress.published), progress, part)

    def _carry_out(
        self, unlearn: Edit, step: Step, before: RegionBank, bank: RegionBank, progress: _Progress
    ) -> RegionBank:
        """Return the regions after a step, given those before it in its time and those before it now."""
        if step.edit is None:
            after = _rolled_back(step.revision, before, bank, progress)
            return after if all(map(self._has, (*after.adapters, *after.injection.names))) else bank
        version = banks.version_of(step.revision, before)
        edit = _fitted(step.edit, unlearn.edit_id, bank, progress)
        try:
            result = None if edit is None else self._try(edit, bank, version)
        except (RecordsLostError, EvidenceError):
            is_touched = touches(step.edit, progress.forgotten, progress.kept_from)
            if not is_touched and self._has(version) and banks.stands(step.revision, before, bank):
                return banks.as_it_was(step.revision, bank)
            result = None
        if result is not None:
            progress.trained += result.outcome.trained_windows
        if edit is None or result is None or not _is_accepted(result, step.revision, bank):
            progress.note(version, None)
            return bank
        return self._published(edit, result, bank, version, progress)

    def _try(self, edit: Edit, bank: RegionBank, version: str | None) -> Result | None:
        """Apply an edit; None where too little is left to learn or to judge."""
        judged = edit.samples if edit.operation is Operation.INJECT else edit.windows
        if edit.operation is not Operation.RETIRE and len(judged) < LEAST_WINDOWS:
            return None
        self._version = version
        return self._publisher.carry_out(edit, bank)

    def _published(
        self, edit: Edit, result: Result, bank: RegionBank, version: str | None, progress: _Progress
    ) -> RegionBank:
        """Publish a version that came out differently; return the regions after it."""
        tensors = self._publisher.tensors(result)
        if tensors is None:
            return result.bank
        name = _version_of(result)
        if version is not None and self._store.has_weights(version, tensors):
            return banks.renamed(result.bank, name, version)
        result = self._publisher.publish(edit, result, bank)
        name = _version_of(result)
        weight = next((r.adapter_weight for r in result.changed if r.adapter == name), 1.0)
        progress.note(version, Replacement(name, weight))
        number = parse_version_name(name)
        progress.numbers[number[0]] = number[1]
        return result.bank

    def _has(self, version: str | None) -> bool:
        """Return whether a version is in the store; True for none."""
        try:
            return version is None or bool(self._store.show(version))
        except AdapterRefused:
            return False

    def _known(self, inputs: str) -> Tensors | None:
        """Tensors of the version that an edit has led to, if it was trained from the same inputs."""
        try:
            loaded = self._version and self._store.load(self._version, backbone_sha256=self._backbone)
        except AdapterRefused:
            return None
        return loaded.tensors if loaded and loaded.config.get(INPUTS) == inputs else None

    def _numbers(self, now: RegionBank) -> dict[int, int]:
        """Region id -> highest version number that was ever in force or lies in the store; 0: injected items."""
        numbers = {r.region_id: r.version for r in now.regions} | {EVERY_REGION: now.injection.version}
        for region_id, version in map(parse_version_name, self._store.names()):
            numbers[region_id] = max(version, numbers.get(region_id, 0))
        return numbers


def _fitted(edit: Edit, edit_id: str, bank: RegionBank, progress: _Progress) -> Edit | None:
    """Return an edit as of the present regions, without forgotten windows; None where its regions are not there."""
    live = {r.region_id: r for r in bank.live}
    if edit.operation is Operation.INJECT:
        base = bank.injection.version
    elif edit.operation is Operation.ADD:
        base = progress.numbers.get(edit.region_id, 0)
    elif edit.region_id in live and (edit.other_region_id is None or edit.other_region_id in live):
        base = live[edit.region_id].version
    else:
        return None
    left = without(edit, progress.forgotten)
    # Windows of regions that did not come about are evidence for none.
    samples = tuple(e for e in left.samples if e.region_id in (EVERY_REGION, edit.region_id, *live))
    return replace(left, edit_id=edit_id, base_version=base, base_gate=bank.gate_version, samples=samples)


def _version_of(result: Result) -> str:
    """Name of the new version of a result that has one."""
    return result.adapter or result.bank.injection.names[-1]


def _is_accepted(result: Result, revision: Revision, bank: RegionBank) -> bool:
    """Return whether a result is published and opens no region that the edit did not open in its time."""
    known = {r.region_id for r in (*bank.live, *revision.regions)}
    return result.outcome.published and known.issuperset(r.region_id for r in result.bank.live)


def _rolled_back(revision: Revision, before: RegionBank, bank: RegionBank, progress: _Progress) -> RegionBank:
    """Return the regions after a rollback; to a version that gave way, it changes nothing."""
    if revision.injection is not None and revision.injection.names != before.injection.names:
        names = progress.injections.get(revision.injection.names, revision.injection.names)
        bank = replace(bank, injection=replace(bank.injection, names=names))
    for region in revision.regions:
        now, old = bank.find(region.region_id), before.find(region.region_id)
        if now and old and region.adapter and region.adapter != old.adapter:
            by = progress.replaced.get(region.adapter, Replacement(region.adapter, region.adapter_weight))
            if by is not None:
                restored = replace(now, version=now.version + 1, adapter=by.adapter, adapter_weight=by.weight)
                bank = bank.changed(restored)
    return bank


def _finish(
    unlearn: Edit, before: RegionBank, after: RegionBank, progress: _Progress, part: ArrayFile | None
) -> tuple[Outcome, Revision]:
    """Return outcome and revision that lead from the regions in force to those without the windows."""
    trained = progress.trained
    outcome = Outcome(unlearn.edit_id, unlearn.operation, EVERY_REGION, True, progress.detail, trained_windows=trained)
    revision = Revision.of(
        after,
        tuple(r for r in after.regions if r is not before.find(r.region_id)),
        after.gate_version != before.gate_version,
        edit_id=unlearn.edit_id,
        injection=None if after.injection == before.injection else after.injection,
        unlearned=Unlearned(progress.forgotten.offsets, progress.replaced, part),
    )
    return outcome, revision
