"""Removal of orphans: adapter versions and array files in the store that no revision names and none ever will.

A trainer that dies after it wrote a version and before it published the revision leaves the version behind. While its
edit has no outcome, another trainer may apply the edit again and publish the version, so it stays. Once the edit has
an outcome and no revision names the version, it is an orphan. So is the file of a revision's arrays. A file without an
origin is of a rollback, which writes it again under the same name, and stays.
"""

from collections.abc import Collection
from dataclasses import dataclass

from adapters_store import AdaptersStore
from adapters_store.errors import AdapterRefused
from consumers.runtime.ledger import adapters_ever_live, arrays_ever_named
from consumers.runtime.topic_reader import new_records
from pipeline.streams.interface import Log
from pipeline.streams.topics import OUTCOMES


@dataclass(frozen=True)
class Orphans:
    """Versions by name, and array files by sha256, that no revision names and none ever will."""

    versions: Collection[str]
    arrays: Collection[str]


def find_orphans(log: Log, store: AdaptersStore) -> Orphans:
    """Find the orphans in the store.

    Raises:
        StoreError: the store cannot be read.
    """
    # Names before outcomes before revisions: a version published meanwhile is in none of the three, or in the last.
    names, files = store.names(), store.arrays.names()
    ended = {record.key for record in new_records(log, OUTCOMES, 0)}
    live, named = adapters_ever_live(log), arrays_ever_named(log)
    return Orphans(
        [name for name in names if name not in live and _edit_of(name, store) in ended],
        [sha256 for sha256 in files if sha256 not in named and store.arrays.made_by(sha256) in ended],
    )


def remove_orphans(orphans: Orphans, store: AdaptersStore) -> list[str]:
    """Remove orphans and the remains of interrupted publications; return their names.

    Raises:
        StoreError: the store cannot be written.
    """
    removed = store.remove(orphans.versions)
    return [*removed, *(f"arrays/{sha256}" for sha256 in store.arrays.remove(orphans.arrays))]


def collect_orphans(log: Log, store: AdaptersStore) -> list[str]:
    """Remove all orphans, and the remains of interrupted publications; return their names."""
    return remove_orphans(find_orphans(log, store), store)


def _edit_of(name: str, store: AdaptersStore) -> str | None:
    """Return the edit that made a version; None where its manifest is damaged: such a version is not removed."""
    try:
        return store.show(name).edit_id
    except AdapterRefused:
        return None
