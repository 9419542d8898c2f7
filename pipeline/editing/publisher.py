"""Publication of edits: a new version goes to the store, then a revision names it."""

from adapters_store import AdaptersStore
from pipeline.config import Config
from pipeline.editing.editor import Editor, Result
from pipeline.editing.training import TrainingWindows, only_new
from pipeline.editing.workspace import Workspace
from pipeline.events.edit import Edit, Outcome
from pipeline.models.injected import InjectedItems
from pipeline.regions.bank import RegionBank
from pipeline.regions.injection import EVERY_REGION
from pipeline.regions.revision import Revision
from pipeline.setup.artifacts import SetUp


class EditPublisher:
    """Application of edits, and publication of the adapters that they train.

    Args:
        setup: backbone, set-up regions and their reference windows.
        config: the whole tree.
        workspace: of the edits.
        store: new adapter versions are published to it.
        training_windows: chooses the windows of each training.
    """

    def __init__(
        self,
        setup: SetUp,
        config: Config,
        workspace: Workspace,
        store: AdaptersStore,
        training_windows: TrainingWindows = only_new,
    ) -> None:
        self._setup = setup
        self._store = store
        self._workspace = workspace
        self._editor = Editor(setup, config, workspace, training_windows)

    def apply(self, edit: Edit, before: RegionBank) -> tuple[Outcome, Revision | None]:
        """Apply an edit to the regions in force.

        Returns:
            Its outcome, and the revision that puts it in force (None where it was rejected). A new adapter version
            is complete in the store by then; the record of the revision makes it live.

        Raises:
            StoreError: an adapter that is needed is refused, or the new version cannot be written.
        """
        result = self._editor.apply(edit, before)
        if not result.outcome.published:
            return result.outcome, None
        if result.injected is not None:
            self._publish_injected(edit, result.outcome, result.injected, before)
        if result.adapter:
            self._publish(edit, result, result.adapter, before)
        moved = result.bank.gate_version != before.gate_version
        validation = result.outcome.validation
        cause = {"edit_id": edit.edit_id, "validation": validation}
        injection = None if result.injected is None else result.bank.injection
        return result.outcome, Revision.of(result.bank, result.changed, moved, injection=injection, **cause)

    def _publish(self, edit: Edit, result: Result, name: str, before: RegionBank) -> None:
        region = next(r for r in result.changed if r.adapter == name)
        # A new region starts from the adapter of the one that it grew out of.
        known = {r.region_id: r.adapter for r in before.regions}
        origin = region.region_id if region.region_id in known else region.parent
        host, validation = self._workspace.host, result.outcome.validation or {}
        self._store.publish(
            region.region_id,
            region.version,
            host.tensors(name),
            host.describe(name, self._workspace.catalogue.ids),
            backbone_sha256=self._setup.backbone_sha256,
            edit_id=edit.edit_id,
            parent=known[origin] if origin is not None else None,
            rank=host.settings.rank,
            targets=host.targets,
            seed=edit.seed,
            before={validation["metric"]: float(validation["before"])},
            after={validation["metric"]: float(validation["after"])},
        )

    def _publish_injected(self, edit: Edit, outcome: Outcome, injected: InjectedItems, before: RegionBank) -> None:
        validation, injection = outcome.validation or {}, before.injection
        self._store.publish(
            EVERY_REGION,
            injection.version + 1,
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
