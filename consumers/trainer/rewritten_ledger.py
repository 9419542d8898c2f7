"""The ledger that an Unlearn starts from: all revisions with their edits, as the Unlearns before it have left them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from adapters_store import ArrayFiles
from adapters_store.errors import StoreError
from consumers.runtime.ledger import Ledger
from consumers.runtime.malformed import unreported
from consumers.runtime.revisions import RevisionFollower
from pipeline.editing.unlearning import Step
from pipeline.events.edit import Edit
from pipeline.events.unlearning import ForgottenWindows, without
from pipeline.regions.bank import RegionBank
from pipeline.regions.revision import Revision
from pipeline.regions.rewritten import read_rewritten
from pipeline.streams.interface import Log, UnavailableError
from pipeline.streams.topics import EDITS, REGIONS


@dataclass
class _Edits:
    """Edits by id, without the windows that were forgotten so far."""

    by_id: Mapping[str, Edit]
    forgotten: frozenset[int] = frozenset()

    def of(self, revision: Revision) -> Edit | None:
        """The edit of a revision; None where a person or a trial made it, and for an Unlearn."""
        if revision.edit_id is None or revision.unlearned is not None:
            return None
        if revision.edit_id not in self.by_id:
            raise LookupError(f"the log has a revision of edit {revision.edit_id}, but not the edit")
        return without(self.by_id[revision.edit_id], ForgottenWindows(tuple(self.forgotten), complete=True))


def read_ledger(log: Log, setup: RegionBank, files: ArrayFiles, until: int) -> Sequence[Step]:
    """Read the ledger before an offset of `regions`.

    Raises:
        UnavailableError: an array file cannot be read.
        LookupError: an edit is not in the log.
    """
    ledger = Ledger(log, log.topic(EDITS).partitions)
    ledger.poll()
    revisions = list(RevisionFollower(setup, files, unreported).poll(log, until))
    unlearned = [revision.unlearned for _, revision in revisions if revision.unlearned is not None]
    edits = _Edits(ledger.edits, frozenset(offset for one in unlearned for offset in one.windows))
    steps: list[Step] = []
    for _, revision in revisions:
        if revision.unlearned is not None and revision.unlearned.rewritten is not None:
            try:
                part = read_rewritten(revision.unlearned.rewritten, files)
            except StoreError as error:
                raise UnavailableError(f"the ledger since an Unlearn in {REGIONS}/0 cannot be read: {error}") from error
            steps[part.first :] = [Step(one, edits.of(one)) for one in part.revisions]
        steps.append(Step(revision, edits.of(revision)))
    return steps
