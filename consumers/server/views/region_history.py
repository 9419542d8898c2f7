"""View of `regions`: the regions as of a revision, and the canary trials of their adapters.

A record that gives a region another adapter starts a trial if it has a `canary`, the share of users. The trial ends
with a record that passes the version (`passed`), or with any that gives the region an adapter without a trial: a
rollback. A version published during a trial replaces the one on trial; the incumbent stays, as no version has been
proven better.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Self

from adapters_store import ArrayFiles
from consumers.runtime.malformed import unreported
from consumers.runtime.revisions import RevisionFollower
from consumers.runtime.topic_reader import new_records
from pipeline.errors import LogError
from pipeline.recommend.canary import Canary
from pipeline.regions.bank import RegionBank
from pipeline.regions.origin_model import OriginModel
from pipeline.regions.region import Region, Status
from pipeline.regions.revision import Revision
from pipeline.regions.revision_arrays import resolved
from pipeline.streams.interface import Log, Record
from pipeline.streams.topics import REGIONS


@dataclass(frozen=True)
class RegionHistory:
    """The regions and trials as of a revision.

    Attributes:
        bank: every region with its newest adapter.
        canaries: region_id -> the trial of that adapter.
        destroyed: versions that Unlearns have destroyed.
    """

    bank: RegionBank
    canaries: Mapping[int, Canary] = field(default_factory=dict)
    destroyed: frozenset[str] = frozenset()

    @classmethod
    def of(cls, records: Iterable[Record], files: ArrayFiles) -> Self:
        """The regions that all records of `regions` add to those of set-up; see `after`."""
        return cls(RegionBank((), OriginModel.certain(0, 0))).after(records, files)

    def after(self, records: Iterable[Record], files: ArrayFiles) -> Self:
        """The regions after more records of `regions`.

        Args:
            records: the records, in order.
            files: array files of the adapters store, which some of them name.

        Raises:
            LogError: one of them is no revision of these regions; names its offset.
            StoreError: the file of one is missing or damaged.
        """
        history = self
        for record in records:
            if record.value is not None:
                with _naming(record.offset):
                    revision = resolved(Revision.from_record(record.value), files)
                history = history.after_one(record.offset, revision)
        return history

    def after_one(self, offset: int, revision: Revision) -> Self:
        """The regions after a revision with all of its arrays; raises LogError as `after` does."""
        with _naming(offset):
            after = self._next(offset, revision)
            _check(after.bank.regions)
            return after

    def _next(self, offset: int, revision: Revision) -> Self:
        bank, before = revision.after(self.bank), {r.region_id: r for r in self.bank.regions}
        changed = {r.region_id: revision.canary for r in revision.regions}
        canaries = {i: c for i, c in self.canaries.items() if i not in changed and c.adapter != revision.passed}
        for region_id, share in changed.items():
            canary = _trial(self.canaries.get(region_id), before.get(region_id), bank[region_id], share, offset)
            if canary is not None:
                canaries[region_id] = canary
        return replace(self, bank=bank, canaries=canaries, destroyed=self.destroyed.union(revision.destroyed))


def read_history(log: Log, setup: RegionBank | None, files: ArrayFiles) -> tuple[RegionHistory, list[Record]]:
    """Read the regions of a log, and the records that they come from.

    Args:
        log: has all records of `regions`.
        setup: regions before any revision; None where they are not known.
        files: see `RegionHistory.after`.

    Raises:
        StoreError, UnavailableError: the file of a revision is missing or damaged.
        LogError: a revision is damaged; without `setup`, also where a record is no revision. With it, records of other
            programs are passed over, as all stages do.
    """
    records = new_records(log, REGIONS, 0)
    if setup is None:
        return RegionHistory.of(records, files), records
    history, fitting = RegionHistory(setup), set()
    end = records[-1].offset + 1 if records else 0
    for offset, revision in RevisionFollower(setup, files, unreported).poll(log, end):
        history = history.after_one(offset, revision)
        fitting.add(offset)
    return history, [record for record in records if record.offset in fitting]


@contextmanager
def _naming(offset: int) -> Iterator[None]:
    """Turn errors about a record into a LogError that names its offset."""
    try:
        yield
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        raise LogError(
            f"{REGIONS}/0 has a record at offset {offset} that is no revision of its regions "
            f"({type(error).__name__}: {error}): find the program that wrote it"
        ) from error


def _check(regions: Sequence[Region]) -> None:
    """Raise ValueError for regions that no request could be answered with."""
    if len({region.centroid.shape for region in regions}) > 1:
        raise ValueError("the centroids have different numbers of dimensions")
    if not all(isinstance(region.adapter, str | None) for region in regions):
        raise ValueError("an adapter is no name")


def _trial(canary: Canary | None, before: Region | None, now: Region, share: float, offset: int) -> Canary | None:
    """The trial of a region that changed: the present one, a new one, or none."""
    if before is None or before.adapter is None or now.adapter is None or now.status is not Status.LIVE:
        return None
    if now.adapter == before.adapter:
        return canary
    if not share:
        return None
    incumbent, adapter_weight = (
        (canary.incumbent, canary.adapter_weight) if canary else (before.adapter, before.adapter_weight)
    )
    return Canary(now.region_id, now.adapter, incumbent, adapter_weight, share, offset)
