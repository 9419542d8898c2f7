"""Publication of edits: a new version goes to the store, then a revision names it."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from numpy.typing import NDArray

from adapters_store import AdaptersStore, version_name
from adapters_store.errors import NameTaken
from pipeline.config import Config
from pipeline.editing.editor import Editor, Result
from pipeline.editing.training import Known, TrainingWindows, none_known, only_new
from pipeline.editing.workspace import Workspace
from pipeline.events.edit import Edit, Outcome
from pipeline.models.injected import InjectedItems
from pipeline.regions.bank import RegionBank
from pipeline.regions.injection import EVERY_REGION, Injection
from pipeline.regions.region import Region
from pipeline.regions.revision import Revision
from pipeline.setup.artifacts import SetUp

INPUTS = "inputs"
"""Field of a version's configuration: digest of all that its training depends on (`Candidate.inputs`)."""


class EditPublisher:
    """Application of edits, and publication of the adapters that they train.

    Args:
        setup: backbone, set-up regions and their reference windows.
        config: the whole tree.
        workspace: of the edits.
        store: new adapter versions are published to it.
        training_windows: chooses the windows of each training.
        known: finds adapters that need no training.
    """

    def __init__(
        self,
        setup: SetUp,
        config: Config,
        workspace: Workspace,
        store: AdaptersStore,
        training_windows: TrainingWindows = only_new,
        known: Known = none_known,
    ) -> None:
        self._setup = setup
        self._store = store
        self._workspace = workspace
        self._editor = Editor(setup, config, workspace, training_windows, known)

    def apply(self, edit: Edit, before: RegionBank) -> tuple[Outcome, Revision | None]:
        """Apply an edit to the regions in force.

        Returns:
            Its outcome, and the revision that puts it in force (None where it was rejected). A new adapter version
            is complete in the store by then; the record of the revision makes it live.

        Raises:
            StoreError: an adapter that is needed is refused, or the new version cannot be written.
        """
        result = self.carry_out(edit, before)
        if not result.outcome.published:
            return result.outcome, None
        result = self.publish(edit, result, before)
        moved = result.bank.gate_version != before.gate_version
        validation = result.outcome.validation
        cause = {"edit_id": edit.edit_id, "validation": validation}
        injection = None if result.injected is None else result.bank.injection
        return result.outcome, Revision.of(result.bank, result.changed, moved, injection=injection, **cause)

    def carry_out(self, edit: Edit, before: RegionBank) -> Result:
        """Apply an edit to the regions in force, and publish nothing.

        Raises:
            StoreError: an adapter that is needed is refused.
        """
        return self._editor.apply(edit, before)

    def publish(self, edit: Edit, result: Result, before: RegionBank) -> Result:
        """Publish the new version of a result, if it has one.

        An earlier attempt at the edit, which ended before its revision was written, may have left a version that was
        trained from other regions or injected items. It stays as it is, and the new one has the next number.

        Returns:
            The result, with the number under which it is published.

        Raises:
            StoreError: it cannot be written.
        """
        while True:
            try:
                if result.injected is not None:
                    self._publish_injected(edit, result, result.injected, before)
                if result.adapter:
                    self._publish(edit, result, result.adapter, before)
            except NameTaken:
                result = self._renumbered(result)
            else:
                return result

    def tensors(self, result: Result) -> Mapping[str, NDArray[Any]] | None:
        """Return the tensors of the new version of a result, None where it has none."""
        if result.injected is not None:
            return result.injected.to_tensors()
        return self._workspace.host.tensors(result.adapter) if result.adapter else None

    def _renumbered(self, result: Result) -> Result:
        """Give the new version of a result the next number.

        Raises:
            StoreError: there is none.
        """
        if result.injected is not None:
            injection, region_id = result.bank.injection, EVERY_REGION
            name = version_name(region_id, injection.version + 1)
            renamed = Injection(injection.version + 1, (*injection.names[:-1], name))
            return replace(
                result, outcome=replace(result.outcome, version=name), bank=replace(result.bank, injection=renamed)
            )
        host, old = self._workspace.host, str(result.adapter)
        region = _region_of(result, old)
        name = version_name(region.region_id, region.version + 1)
        host.register(name, host.tensors(old), host.rows(old))
        host.drop(old)
        newer = replace(region, version=region.version + 1, adapter=name)
        return replace(
            result,
            outcome=replace(result.outcome, version=name),
            bank=result.bank.changed(newer),
            changed=tuple(newer if r is region else r for r in result.changed),
            adapter=name,
        )

    def _publish(self, edit: Edit, result: Result, name: str, before: RegionBank) -> None:
        region = _region_of(result, name)
        # A new region starts from the adapter of the one that it grew out of.
        known = {r.region_id: r.adapter for r in before.regions}
        origin = region.region_id if region.region_id in known else region.parent
        host, validation = self._workspace.host, result.outcome.validation or {}
        self._store.publish(
            region.region_id,
            region.version,
            host.tensors(name),
            {**host.describe(name, self._workspace.catalogue.ids), INPUTS: result.inputs},
            backbone_sha256=self._setup.backbone_sha256,
            edit_id=edit.edit_id,
            parent=known[origin] if origin is not None else None,
            rank=host.settings.rank,
            targets=host.targets,
            seed=edit.seed,
            before={validation["metric"]: float(validation["before"])},
            after={validation["metric"]: float(validation["after"])},
        )

    def _publish_injected(self, edit: Edit, result: Result, injected: InjectedItems, before: RegionBank) -> None:
        validation, injection = result.outcome.validation or {}, before.injection
        self._store.publish(
            EVERY_REGION,
            result.bank.injection.version,
            injected.to_tensors(),
            injected.to_config(),
            backbone_sha256=self._setup.backbone_sha256,
            edit_id=edit.edit_id,
            parent=injection.names[-1] if injection.names else None,
            rank=0,
            targets=(),
            seed=edit.seed,
            before={validation["metric"]: float(validation["before"])},
            after={validation["metric"]: float(validation["after"])},
        )


def _region_of(result: Result, adapter: str) -> Region:
    """The changed region that an adapter answers for."""
    return next(region for region in result.changed if region.adapter == adapter)
