"""Collecting versions that a trainer put into the store and died before it put them into force.

Such a version waits for the trainer that carries its edit out again, and finds it there. An orphan for good is one
whose edit has ended without it: then nothing will ever name it. Whatever another trainer may be about to
publish has an edit that has not ended, and stays.
"""

from adapters_store import AdaptersStore
from adapters_store.errors import AdapterRefused
from consumers.runtime.ledger import adapters_ever_live
from consumers.runtime.topic_reader import new_records
from pipeline.streams.interface import Log
from pipeline.streams.topics import OUTCOMES


def collect_orphans(log: Log, store: AdaptersStore) -> list[str]:
    """Remove orphans and what torn publications left behind; return their names.

    Raises:
        StoreError: the store cannot be read or written.
    """
    # Names before outcomes before revisions: what is published meanwhile is in none of the three, or in the last.
    names = store.names()
    ended = {record.key for record in new_records(log, OUTCOMES, 0)}
    live = adapters_ever_live(log)
    return store.remove([name for name in names if name not in live and _edit_of(name, store) in ended])


def _edit_of(name: str, store: AdaptersStore) -> str | None:
    """The edit that made a version; None where its manifest is damaged, which is for a person to look at."""
    try:
        return store.show(name).edit_id
    except AdapterRefused:
        return None
