"""Second application of a published edit from its recorded inputs, and comparison of both results."""

from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from adapters_store import AdaptersStore, parse_version_name, version_name
from consumers.runtime.ledger import destroyed_versions
from consumers.runtime.malformed import unreported
from consumers.runtime.revisions import RevisionFollower
from consumers.runtime.topic_reader import new_records
from consumers.trainer.job import JobRunner
from pipeline.config import Config
from pipeline.errors import LogError
from pipeline.events.edit import Edit, Operation
from pipeline.regions.revision import Revision
from pipeline.regions.revision_arrays import resolved
from pipeline.setup.artifacts import SetUp
from pipeline.streams.interface import Log
from pipeline.streams.topics import OUTCOMES

LOCAL = ("edit_id", "base_revision")
"""Fields of a region record that are no part of an edit's result."""


@dataclass(frozen=True)
class Comparison:
    """Result of the second application against that of the first.

    Attributes:
        version: name of the adapter version that the edit published, or None.
        regions_alike: True if the region record is the same, number by number.
        adapter_alike: True if the adapter's files are the same, byte for byte; None where there is none.
    """

    version: str | None
    regions_alike: bool
    adapter_alike: bool | None

    @property
    def alike(self) -> bool:
        """True if nothing differs."""
        return self.regions_alike and self.adapter_alike is not False


def rerun(edit: Edit, setup: SetUp, config: Config, log: Log, adapters: Path) -> Comparison:
    """Apply an edit again, with a temporary store for its adapter.

    Args:
        edit: was published.
        setup: set-up of the root in which it was applied.
        config: configuration under which it was applied.
        log: has the edit, its windows and the revisions.
        adapters: folder of the adapter versions.

    Raises:
        LogError: the edit was not published, or by a replay, whose revisions have no base; or its evidence was erased,
            or a version that it starts from destroyed.
        StoreError: a file of a revision is missing or damaged.
    """
    published, base = _revision_of(edit, log)
    store = AdaptersStore(adapters)
    _check_evidence(edit, base, setup, log, store)
    published = resolved(published, store.arrays)
    named = [r.adapter for r in published.regions] + list(published.injection.names if published.injection else ())
    name = next((name for name in named if _is_new(name, edit, store)), None)
    with TemporaryDirectory() as folder:
        again_in = AdaptersStore(Path(folder))
        again_in.reserve(_before(name))
        runner = JobRunner(setup, config, log, store, again_in)
        outcome, again = runner.apply(edit, base)
        alike = again is not None and _content(again) == _content(published)
        if name is None:
            return Comparison(None, alike, None)
        there = outcome.version == name
        return Comparison(name, alike, there and _files(Path(folder) / name) == _files(adapters / name))


def _before(name: str | None) -> list[str]:
    """Names with a lower number than this one: those that were taken then were passed over."""
    if name is None:
        return []
    region_id, version = parse_version_name(name)
    return [version_name(region_id, number) for number in range(version)]


def _revision_of(edit: Edit, log: Log) -> tuple[Revision, int]:
    """Return the revision that an edit led to, and the `next_revision` that it was applied to."""
    for _, revision in RevisionFollower(None, None, unreported).poll(log):
        if revision.edit_id == edit.edit_id:
            if revision.base_revision is not None:
                return revision, revision.base_revision
            raise LogError(f"the revision of edit {edit.edit_id} has no base revision: it was written by a replay")
    raise LogError(f"edit {edit.edit_id} was not published: there is nothing to compare with")


def _check_evidence(edit: Edit, base: int, setup: SetUp, log: Log, store: AdaptersStore) -> None:
    """Check that no Unlearn has taken away what an edit rests on.

    Raises:
        LogError: one has; names what stands in its place.
    """
    if edit.operation is Operation.UNLEARN:
        raise LogError(f"edit {edit.edit_id} unlearns a user: what it started from is destroyed")
    bank, erased = setup.bank, set[int]()
    for offset, revision in RevisionFollower(setup.bank, store.arrays, unreported).poll(log):
        bank = revision.after(bank) if offset < base else bank
        erased |= set(revision.unlearned.windows if revision.unlearned else ())
    gone = [e for e in (*edit.windows, *edit.samples) if e.offset in erased]
    destroyed = destroyed_versions(log)
    if gone:
        what = f"edit {edit.edit_id} rests on {len(gone)} windows of erased users, which are evidence no more"
        made = next((name for name in destroyed if _was_made_by(name, edit, log)), None)
        if made is None:
            raise LogError(f"{what}: there is nothing to compare with")
        by = destroyed[made]
        raise LogError(f"{what}: {made} was destroyed, {by.adapter if by else 'the version before it'} stands for it")
    needed = [name for name in (*bank.adapters, *bank.injection.names) if name in destroyed]
    if needed:
        raise LogError(f"edit {edit.edit_id} starts from {needed[0]}, which was destroyed when a user was unlearned")


def _was_made_by(name: str, edit: Edit, log: Log) -> bool:
    """Return whether the outcome of an edit names a version."""
    outcomes = (record for record in new_records(log, OUTCOMES, 0) if record.key == edit.edit_id)
    return any((record.value or {}).get("version") == name for record in outcomes)


def _is_new(name: str | None, edit: Edit, store: AdaptersStore) -> bool:
    """Return whether a version was made by this edit and not by an earlier one."""
    return name is not None and store.show(name).edit_id == edit.edit_id


def _content(revision: Revision) -> dict[str, Any]:
    return {key: value for key, value in revision.to_record().items() if key not in LOCAL}


def _files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}
