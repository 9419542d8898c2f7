"""Application of edits from the log: windows by offset, regions as of a revision, adapters from the store."""

import traceback
from dataclasses import replace
from functools import partial
from pathlib import Path

from adapters_store import AdaptersStore, version_name
from adapters_store.errors import StoreError
from consumers.runtime.item_records import ItemFollower
from consumers.runtime.malformed import described, unreported
from consumers.runtime.revisions import RevisionFollower
from consumers.trainer.rewritten_ledger import read_ledger
from pipeline.config import Config
from pipeline.editing.publisher import EditPublisher
from pipeline.editing.unlearning import Unlearner
from pipeline.editing.workspace import Workspace
from pipeline.events.edit import Edit, Operation, Outcome
from pipeline.events.gated import EvidenceError, read_events
from pipeline.events.item import WHEN_TAKEN
from pipeline.events.unlearning import windows_of_requests
from pipeline.models.lora.host import AdapterHost
from pipeline.models.open_catalogue import OpenCatalogue
from pipeline.models.text import reopen_text_encoder
from pipeline.regions.revision import Revision
from pipeline.setup.artifacts import SetUp
from pipeline.streams.interface import Log, RecordsLostError
from pipeline.streams.topics import GATED


class JobRunner:
    """Application of edits one after another, each on a revision no older than the one before.

    Args:
        setup: backbone and set-up regions; the backbone is wrapped and belongs to the runner from then on.
        config: the whole tree.
        log: has the windows and revisions.
        adapters: has the adapter versions of the regions.
        publish_to: store for new versions; None: `adapters`.
    """

    def __init__(
        self, setup: SetUp, config: Config, log: Log, adapters: AdaptersStore, publish_to: AdaptersStore | None = None
    ) -> None:
        self._log = log
        # The gate reports records that cannot be read.
        self._revisions = RevisionFollower(setup.bank, adapters.arrays, unreported)
        self._share = config.canary.share
        self._bank = setup.bank
        # Of the catalogue only the records count: an edit makes rows of its own.
        items = OpenCatalogue(setup.catalogue, None)
        self._items = ItemFollower(items, WHEN_TAKEN, unreported)
        workspace = Workspace(
            setup,
            AdapterHost(setup.backbone, config.adapter),
            adapters,
            reopen_text_encoder(
                setup.catalogue.encoder, config.items.text_encoder, Path(config.items.cache).expanduser()
            ),
            items.item,
            partial(read_events, log, setup_items=setup.catalogue.item_ids),
            config.windows.length,
        )
        self._publisher = EditPublisher(setup, config, workspace, publish_to or adapters)
        self._unlearner = Unlearner(setup, config, workspace, adapters)
        self._setup_bank, self._files = setup.bank, adapters.arrays

    def apply(self, edit: Edit, next_revision: int) -> tuple[Outcome, Revision | None]:
        """Apply an edit to the regions as they were before an offset of `regions`.

        Returns:
            Its outcome, and the revision that puts it in force, or None. An edit whose windows are not in the log, or
            not any more, is rejected, and the outcome names the offsets; so is one that cannot be carried out, because
            it names no region or has no window.

        Raises:
            StoreError: an adapter that is needed is refused, or the new one cannot be written.
            UnavailableError: the arrays of a revision before it cannot be read.
        """
        for _, newer in self._revisions.poll(self._log, until=next_revision):
            self._bank = newer.after(self._bank)
        self._items.poll(self._log)
        try:
            _check_names(edit)
            is_unlearn = edit.operation is Operation.UNLEARN
            outcome, changed = (
                self._unlearn(edit, next_revision) if is_unlearn else self._publisher.apply(edit, self._bank)
            )
        except (RecordsLostError, EvidenceError) as error:
            return _rejected(edit, f"its windows are lost: {error}"), None
        except (LookupError, TypeError, ValueError, ArithmeticError) as error:
            # The edit of another program, or a defect: neither may keep the edits after it from being carried out.
            traceback.print_exc()
            return _rejected(edit, f"it cannot be carried out: {described(error)}"), None
        if changed is None:
            return outcome, None
        # An injection has no incumbent that could answer some of the users, an Unlearn none that may.
        share = self._share if changed.injection is None and changed.unlearned is None else 0.0
        return outcome, replace(changed, base_revision=next_revision, canary=share)

    def _unlearn(self, edit: Edit, next_revision: int) -> tuple[Outcome, Revision]:
        steps = read_ledger(self._log, self._setup_bank, self._files, next_revision)
        forgotten = windows_of_requests(self._log, edit.reason["requests"])
        return self._unlearner.apply(edit, steps, forgotten, self._log.start_offset(GATED, 0))


def _rejected(edit: Edit, why: str) -> Outcome:
    return Outcome(edit.edit_id, edit.operation, edit.region_id, False, why)


def _check_names(edit: Edit) -> None:
    """Check that the next version of an edit's region has a name.

    Raises:
        ValueError: it has none.
    """
    try:
        version_name(edit.region_id, edit.base_version + 1)
    except StoreError as error:
        raise ValueError(str(error)) from None
