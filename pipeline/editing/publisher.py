"""The trainer stage: carry edits out, publish what beats the incumbent, and say what came of each."""

from adapters_store import AdaptersStore
from pipeline.config import Config
from pipeline.editing.editor import Editor, Result, WindowsOf
from pipeline.events.edit import Edit, Outcome
from pipeline.regions.live import LiveRegions
from pipeline.regions.revision import Revision
from pipeline.setup.artifacts import SetUp


class EditPublisher:
    """Carries edits out against the newest revision.

    Attributes:
        live: the regions and adapters in force.
    """

    def __init__(
        self, setup: SetUp, config: Config, live: LiveRegions, store: AdaptersStore, windows_of: WindowsOf
    ) -> None:
        self.live = live
        self._setup = setup
        self._store = store
        self._editor = Editor(setup, config, live.host, windows_of)

    def handle(self, edit: Edit) -> tuple[Outcome, Revision | None]:
        """Carry one edit out.

        Returns:
            Its outcome, and the revision that puts it in force (None where it was rejected). A new
            adapter version stands complete in the store by then; the record makes it live.
        """
        before = self.live.bank
        result = self._editor.apply(edit, before)
        if not result.outcome.published:
            return result.outcome, None
        if result.adapter:
            self._publish(edit, result, result.adapter)
        moved = result.bank.gate_version != before.gate_version
        validation = result.outcome.validation
        revision = Revision.of(result.bank, result.changed, moved, edit_id=edit.edit_id, validation=validation)
        return result.outcome, revision

    def _publish(self, edit: Edit, result: Result, name: str) -> None:
        region = next(r for r in result.changed if r.adapter == name)
        # A new region starts from the adapter of the one that it grew out of.
        known = {r.region_id: r.adapter for r in self.live.bank.regions}
        origin = region.region_id if region.region_id in known else region.parent
        config = self.live.host.describe(name)
        judged = result.outcome.validation or {}
        self._store.publish(
            region.region_id,
            region.version,
            self.live.host.tensors(name),
            config,
            backbone_sha256=self._setup.backbone_sha256,
            edit_id=edit.edit_id,
            parent=known[origin] if origin is not None else None,
            rank=self.live.host.settings.rank,
            targets=self.live.host.targets,
            seed=edit.seed,
            before={judged["metric"]: float(judged["before"])},
            after={judged["metric"]: float(judged["after"])},
        )
        # What serves is what was read back and verified, here as in every other process.
        self.live.host.drop(name)
