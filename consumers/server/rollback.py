"""Administrative acts as records: a rollback is a new revision, so no record is ever changed."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from adapters_store import AdaptersStore
from consumers.runtime.topic_reader import new_records, value_of
from consumers.server.views.region_history import RegionHistory
from pipeline.errors import DataError
from pipeline.events.control import ROLLBACK, ControlAct
from pipeline.regions.bank import RegionBank
from pipeline.regions.region import Region, Status
from pipeline.regions.revision import Revision
from pipeline.streams.interface import Log, Producer, Record
from pipeline.streams.topics import CONTROL, REGIONS


@dataclass(frozen=True)
class Rollback:
    """Plan to restore an older adapter of a region.

    Attributes:
        region: the next version of the region, with the older adapter and its weight.
        left: adapter that is replaced, None for the backbone.
        revision: revision that published the older adapter.
    """

    region: Region
    left: str | None
    revision: int

    def next(self, bank: RegionBank) -> Revision:
        """Revision that carries the plan out; boundaries are unchanged."""
        return Revision.of(bank, (self.region,), moved=False, rollback_of=self.left, restored=self.revision)


def roll_back(
    log: Log,
    producer: Producer,
    store: AdaptersStore,
    region_id: int,
    to: str | None,
    by: str,
    now: float,
    why: Mapping[str, object] | None = None,
) -> tuple[int, Rollback]:
    """Republish an older version of a region: a new revision and a record of `control`, in one transaction.

    Args:
        log: has all records of `regions`.
        producer: writes to the same log.
        store: must have the older version undamaged.
        region_id: see `plan_rollback`.
        to: see `plan_rollback`.
        by: name of the person or program, for the record.
        now: seconds since 1970.
        why: more fields of the record of `control`.

    Returns:
        The new revision, and the plan that it carries out.

    Raises:
        DataError: there is nothing to roll back to.
        AdapterRefused: the older version is damaged; nothing is written.
    """
    history = new_records(log, REGIONS, 0)
    bank = RegionHistory.of(history).bank
    plan = plan_rollback(bank, history, region_id, to)
    store.verify(str(plan.region.adapter))
    details = {"from": plan.left, "to": plan.region.adapter, **(why or {})}
    act = ControlAct(ROLLBACK, by, region_id, details=details).to_record()
    with producer.transaction() as transaction:
        transaction.send(REGIONS, plan.next(bank).to_record(), key=str(region_id), timestamp=now)
        transaction.send(CONTROL, act, key=str(region_id), timestamp=now)
    return transaction.offsets[0][2], plan


def plan_rollback(bank: RegionBank, revisions: Iterable[Record], region_id: int, to: str | None) -> Rollback:
    """Find the version that a region is to be rolled back to.

    Args:
        bank: the newest regions.
        revisions: all records of `regions`.
        region_id: of a live stream region.
        to: adapter version to restore, or None for the previous one.

    Raises:
        DataError: there is no such region, or no such version in its history.
    """
    now = next((r for r in bank.opened if r.region_id == region_id and r.status is Status.LIVE), None)
    if now is None:
        raise DataError(f"region {region_id} is not a live region opened since set-up: there is nothing to roll back")
    found: tuple[int, Region] | None = None
    for offset, region in _states(revisions, region_id):
        if region.adapter is not None and region.adapter != now.adapter and to in (None, region.adapter):
            found = offset, region
    if found is None:
        raise DataError(f"region {region_id} never had {to or 'another version'} live: see its history in `regions`")
    offset, then = found
    # A version number is never used twice: the next one counts on from the present version.
    region = replace(now, version=now.version + 1, adapter=then.adapter, adapter_weight=then.adapter_weight)
    return Rollback(region, now.adapter, offset)


def _states(revisions: Iterable[Record], region_id: int) -> Iterable[tuple[int, Region]]:
    for record in revisions:
        for region in Revision.from_record(value_of(record)).regions:
            if region.region_id == region_id:
                yield record.offset, region
