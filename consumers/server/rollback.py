"""Administrative acts as records: a rollback is a new revision, so no record is ever changed."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from adapters_store import AdaptersStore
from consumers.runtime.topic_reader import value_of
from consumers.server.views.region_history import read_history
from pipeline.errors import DataError
from pipeline.events.control import ROLLBACK, ControlAct
from pipeline.regions.bank import RegionBank
from pipeline.regions.injection import EVERY_REGION, Injection
from pipeline.regions.region import Region, Status
from pipeline.regions.revision import Revision
from pipeline.regions.revision_arrays import by_reference
from pipeline.regions.unlearned import Replacement
from pipeline.streams.interface import Log, Producer, Record
from pipeline.streams.topics import CONTROL, REGIONS


@dataclass(frozen=True)
class Rollback:
    """Plan to restore an older adapter of a region, or older injected items.

    Attributes:
        region: the next version of the region, with the older adapter and its weight; None for injected items.
        injection: the injected items from then on; None for a region.
        left: version that is replaced, None for the backbone.
        revision: revision that published the older version, -1 for none.
    """

    region: Region | None
    injection: Injection | None
    left: str | None
    revision: int

    @property
    def restored(self) -> Sequence[str]:
        """Versions in force from then on; all must be undamaged."""
        if self.region is not None:
            return [str(self.region.adapter)]
        return () if self.injection is None else self.injection.names

    def next(self, bank: RegionBank) -> Revision:
        """Revision that carries the plan out; boundaries are unchanged."""
        changed = () if self.region is None else (self.region,)
        cause = {"rollback_of": self.left, "restored": self.revision}
        return Revision.of(bank, changed, moved=False, injection=self.injection, **cause)


def roll_back(
    log: Log,
    producer: Producer,
    store: AdaptersStore,
    region_id: int,
    to: str | None,
    by: str,
    now: float,
    why: Mapping[str, object] | None = None,
    setup: RegionBank | None = None,
    token: str | None = None,
) -> tuple[int, Rollback]:
    """Republish an older version of a region: a new revision and a record of `control`, in one transaction.

    Args:
        log: has all records of `regions`.
        producer: writes to the same log.
        store: must have the older version undamaged, and the arrays of revisions.
        region_id: see `plan_rollback`.
        to: see `plan_rollback`.
        by: name of the person or program, for the record.
        now: seconds since 1970.
        why: more fields of the record of `control`.
        setup: see `read_history`.
        token: name of the token that asked for it.

    Returns:
        The new revision, and the plan that it carries out.

    Raises:
        DataError: there is nothing to roll back to.
        StoreError: the older version is damaged, or a file of a revision; nothing is written to the log.
    """
    history, records = read_history(log, setup, store.arrays)
    bank = history.bank
    plan = plan_rollback(bank, records, region_id, to)
    for version in plan.restored:
        store.check_available(version)
    restored = plan.restored[-1] if plan.restored else None
    details = {"from": plan.left, "to": restored, **(why or {})}
    act = ControlAct(ROLLBACK, by, region_id, token=token, details=details).to_record()
    revision = by_reference(plan.next(bank), store.arrays).to_record()
    with producer.transaction() as transaction:
        transaction.send(REGIONS, revision, key=str(region_id), timestamp=now)
        transaction.send(CONTROL, act, key=str(region_id), timestamp=now)
    return transaction.offsets[0][2], plan


def plan_rollback(bank: RegionBank, revisions: Iterable[Record], region_id: int, to: str | None) -> Rollback:
    """Find the version that a region is to be rolled back to.

    Args:
        bank: the newest regions.
        revisions: all records of `regions`.
        region_id: of a live stream region, or 0 for the injected items.
        to: version to restore, or None for the previous one.

    Raises:
        DataError: there is no such region, or no such version in its history.
    """
    if region_id == EVERY_REGION:
        return _plan_injection(bank, revisions, to)
    now = next((r for r in bank.stream if r.region_id == region_id and r.status is Status.LIVE), None)
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
    return Rollback(region, None, now.adapter, offset)


def _plan_injection(bank: RegionBank, revisions: Iterable[Record], to: str | None) -> Rollback:
    """Plan to restore the injected items of before a version, or of when another one was the newest."""
    now = bank.injection.names
    if not now:
        raise DataError("no items are injected: there is nothing to roll back")
    states: list[tuple[int, Sequence[str]]] = [(-1, ())]
    for record in revisions:
        revision = Revision.from_record(value_of(record))
        if revision.unlearned is not None:
            # Of injected items only those in force are brought about again as a whole.
            states = [state for state in states if revision.unlearned.replaced.keys().isdisjoint(state[1])]
        if revision.injection is not None:
            states.append((record.offset, revision.injection.names))
    earlier = [state for state in states if state[1] != now and (to is None or (state[1] and state[1][-1] == to))]
    if not earlier:
        raise DataError(f"region {EVERY_REGION} never had {to} live: see its history in `regions`")
    offset, names = earlier[-1]
    return Rollback(None, Injection(bank.injection.version, tuple(names)), now[-1], offset)


def _states(revisions: Iterable[Record], region_id: int) -> Iterable[tuple[int, Region]]:
    """States of a region with their revisions; what an Unlearn replaced by what stands for it, if anything does."""
    states: list[tuple[int, Region]] = []
    for record in revisions:
        revision = Revision.from_record(value_of(record))
        if revision.unlearned is not None:
            states = list(_standing(states, revision.unlearned.replaced))
        states += [(record.offset, region) for region in revision.regions if region.region_id == region_id]
    return states


def _standing(
    states: Iterable[tuple[int, Region]], replaced: Mapping[str, Replacement | None]
) -> Iterator[tuple[int, Region]]:
    for offset, region in states:
        if region.adapter is None or region.adapter not in replaced:
            yield offset, region
        elif (by := replaced[region.adapter]) is not None:
            yield offset, replace(region, adapter=by.adapter, adapter_weight=by.weight)
