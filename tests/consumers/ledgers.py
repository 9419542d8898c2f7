"""Logs that hold the ledger of a recorded replay, for what is carried out again from them."""

import copy
import shutil
from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path

from adapters_store import AdaptersStore
from consumers.trainer.job import JobRunner
from pipeline.events.edit import Edit, Evidence, Operation, Outcome
from pipeline.events.unlearning import unlearning_request
from pipeline.regions.bank import RegionBank
from pipeline.regions.revision import Revision
from pipeline.streams import Log, MemoryLog
from pipeline.streams.topics import EDITS, GATED, ITEMS, OUTCOMES, REGIONS, pipeline_topics
from tests.consumers.run_of_raie import SETTINGS, Run, the_setup
from tests.replay.small import dataset


def ledger_log(run: Run, log: Log | None = None) -> Log:
    """A log with everything that a replay wrote, and the items that it knew."""
    log = log or MemoryLog()
    log.create_topics(pipeline_topics(1))
    with log.producer("replay").transaction() as transaction:
        for item in dataset().items.values():
            transaction.send(ITEMS, item.to_record(), key=item.item_id, timestamp=0.0)
        for record in run.gated:
            transaction.send(GATED, record.value, key=record.key, partition=0, timestamp=record.timestamp)
        for edit, _ in run.ledger:
            transaction.send(EDITS, edit.to_record(), key=str(edit.region_id), timestamp=edit.timestamp)
        for record in run.outcomes:
            transaction.send(OUTCOMES, record.value, key=record.key, timestamp=record.timestamp)
        for base, record in enumerate(run.regions):
            value = {**(record.value or {}), "base_revision": base}
            transaction.send(REGIONS, value, key=record.key, timestamp=record.timestamp)
    return log


def request_unlearning(log: Log, *users: str) -> Edit:
    """Write requests to `gated`, and return the edit that answers them."""
    with log.producer("gate").transaction() as transaction:
        for user in users:
            transaction.send(GATED, unlearning_request(), key=user, partition=0, timestamp=0.0)
            transaction.send(GATED, None, key=user, partition=0, timestamp=0.0)
    requests = [offset for _, _, offset in transaction.offsets[::2]]
    reason = {"signal": "erasure", "statistic": None, "threshold": None, "text": "because", "requests": requests}
    number = log.end_offset(EDITS, 0)
    return Edit(f"{number:024x}", Operation.UNLEARN, 0, None, number, 0, reason, (), (), 999, 1e9, 0)


def copy_of_store(run: Run, folder: Path) -> AdaptersStore:
    """A store with the versions of a replay."""
    shutil.copytree(run.folder / "adapters", folder)
    return AdaptersStore(folder)


def carry_out(log: Log, store: AdaptersStore, edit: Edit) -> tuple[Outcome, Revision | None]:
    """Apply an edit to the newest regions in a new trainer, and write what a trainer writes."""
    runner = JobRunner(copy.deepcopy(the_setup()), SETTINGS, log, store)
    outcome, revision = runner.apply(edit, log.end_offset(REGIONS, 0))
    with log.producer("trainer").transaction() as transaction:
        transaction.send(OUTCOMES, outcome.to_record(), key=edit.edit_id, timestamp=0.0)
        if revision is not None:
            transaction.send(REGIONS, revision.to_record(), key="gate", timestamp=0.0)
    return outcome, revision


def without_users(run: Run, users: Collection[str], folder: Path) -> tuple[dict[str, bytes | None], RegionBank]:
    """Carry out the published edits of a replay from a `gated` that never held the windows of users.

    The reference of unlearning: nothing is shared with it but the trainer.

    Returns:
        Weights by the name of the version that each edit had led to, None where it was rejected; and the regions.
    """
    log, store = MemoryLog(), AdaptersStore(folder)
    log.create_topics(pipeline_topics(1))
    with log.producer("replay").transaction() as transaction:
        for item in dataset().items.values():
            transaction.send(ITEMS, item.to_record(), key=item.item_id, timestamp=0.0)
        for record in run.gated:
            if record.key not in users:
                transaction.send(GATED, record.value, key=record.key, partition=0, timestamp=record.timestamp)
    kept = [offset for topic, _, offset in transaction.offsets if topic == GATED]
    events = [str(record.value["event_id"]) for record in run.gated if record.value and record.key not in users]
    places = dict(zip(events, kept, strict=True))

    def there(evidence: Sequence[Evidence]) -> tuple[Evidence, ...]:
        return tuple(Evidence(e.event_id, places[e.event_id], e.region_id) for e in evidence if e.event_id in places)

    runner = JobRunner(copy.deepcopy(the_setup()), SETTINGS, log, store)
    bank, found = the_setup().bank, dict[str, bytes | None]()
    for edit, outcome in run.ledger:
        if not outcome.published:
            continue
        base = bank.injection.version if edit.operation is Operation.INJECT else _version(bank, edit.region_id)
        again = replace(edit, base_version=base, base_gate=bank.gate_version, windows=there(edit.windows))
        done, revision = runner.apply(replace(again, samples=there(edit.samples)), log.end_offset(REGIONS, 0))
        if revision is not None:
            bank = revision.after(bank)
            with log.producer("trainer").transaction() as transaction:
                transaction.send(REGIONS, revision.to_record(), key="0", timestamp=0.0)
        if outcome.version is not None:
            found[outcome.version] = weights(store, done.version) if done.version else None
    return found, bank


def _version(bank: RegionBank, region_id: int) -> int:
    region = bank.find(region_id)
    return region.version if region else 0


def weights(store: AdaptersStore, name: str) -> bytes:
    """The file of a version's weights."""
    return (Path(store.root) / name / "adapter.safetensors").read_bytes()
