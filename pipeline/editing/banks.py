"""Regions that are brought about again: their numbers, their ends, and how they differ from those in force."""

from collections.abc import Collection, Mapping
from dataclasses import fields, replace

import numpy as np

from pipeline.regions.bank import RegionBank
from pipeline.regions.injection import EVERY_REGION
from pipeline.regions.origin_model import OriginModel
from pipeline.regions.region import Origin, Region, Status
from pipeline.regions.revision import Revision


def numbered(bank: RegionBank, numbers: Mapping[int, int]) -> RegionBank:
    """Return regions whose next versions have numbers that were never used.

    Args:
        bank: the regions.
        numbers: region id -> highest number used; 0: injected items.
    """
    behind = [r for r in bank.regions if r.version < numbers.get(r.region_id, 0)]
    after = bank.changed(*(replace(r, version=numbers[r.region_id]) for r in behind))
    injected = max(bank.injection.version, numbers.get(EVERY_REGION, 0))
    return replace(after, injection=replace(bank.injection, version=injected))


def renamed(bank: RegionBank, name: str, version: str) -> RegionBank:
    """Return regions that name a version by the name under which it was published before."""
    same = [replace(r, adapter=version) for r in bank.regions if r.adapter == name]
    names = tuple(version if known == name else known for known in bank.injection.names)
    return replace(bank.changed(*same), injection=replace(bank.injection, names=names))


def version_of(revision: Revision, before: RegionBank) -> str | None:
    """Return the adapter version that an edit led to, or None.

    Args:
        revision: of the edit.
        before: regions before it.
    """
    if revision.injection is not None:
        return revision.injection.names[-1]
    for region in revision.regions:
        old = before.find(region.region_id)
        if region.adapter is not None and (old is None or old.adapter != region.adapter):
            return region.adapter
    return None


def stands(revision: Revision, before: RegionBank, bank: RegionBank) -> bool:
    """Return whether a revision changes only what is as it was in its time.

    Args:
        revision: a revision.
        before: regions before it in its time.
        bank: regions before it now.
    """
    if revision.injection is not None:
        return before.injection.names == bank.injection.names
    known = {r.region_id for r in (*bank.live, *revision.regions)}
    if revision.origins is not None and not known.issuperset(revision.origins.origins):
        return False
    return all(alike(before.find(r.region_id), bank.find(r.region_id)) for r in revision.regions)


def as_it_was(revision: Revision, bank: RegionBank) -> RegionBank:
    """Return the regions after a revision that stands."""
    if revision.injection is not None:
        return replace(bank, injection=replace(bank.injection, names=revision.injection.names))
    after = bank.changed(*revision.regions)
    return after if revision.origins is None else after.rebound(revision.origins)


def with_ends(bank: RegionBank, then: RegionBank) -> RegionBank:
    """Return regions of which those have ended that had ended then, and those that no boundary knows."""
    for region in bank.regions:
        old, origins = then.find(region.region_id), bank.origins
        had_ended = old is not None and old.status is not Status.LIVE
        is_unknown = region.origin is Origin.STREAM and region.region_id not in origins.origins
        if region.status is Status.LIVE and (had_ended or is_unknown):
            status = old.status if old is not None and had_ended else Status.RETIRED
            bank = bank.changed(replace(region, version=region.version + 1, status=status))
            if not is_unknown:
                bank = bank.rebound(origins.without(region.region_id))
    return bank


def change(before: RegionBank, after: RegionBank, edit_id: str | None) -> list[Revision]:
    """Return the revision that leads from regions to others; none where they are the same."""
    if after.injection != before.injection:
        return [Revision.of(after, (), moved=False, edit_id=edit_id, injection=after.injection)]
    changed = tuple(r for r in after.regions if r is not before.find(r.region_id))
    moved = after.gate_version != before.gate_version
    return [Revision.of(after, changed, moved, edit_id=edit_id)] if changed or moved else []


def in_place(now: RegionBank, bank: RegionBank, published: Collection[int]) -> RegionBank:
    """Return the regions in force, with those that came out differently in their place.

    Args:
        now: the regions in force.
        bank: the regions that were brought about again.
        published: ids of regions that have new versions: their numbers are taken.
    """
    changed = []
    for old in now.regions:
        new = bank.find(old.region_id)
        if new is None and old.status is Status.LIVE:
            changed.append(replace(old, version=old.version + 1, status=Status.RETIRED))
        elif new is not None and (old.region_id in published or not alike(old, new)):
            changed.append(replace(new, version=max(new.version, old.version + 1)))
    after = now.changed(*changed)
    if not _same(now.origins, bank.origins):
        after = after.rebound(bank.origins)
    is_injected = EVERY_REGION in published or bank.injection.names != now.injection.names
    return replace(after, injection=bank.injection) if is_injected else after


def alike(one: Region | None, other: Region | None) -> bool:
    """Return whether two states of a region are the same but for their number."""
    if one is None or other is None:
        return one is other
    return _same(one, replace(other, version=one.version))


def _same(one: Region | OriginModel, other: Region | OriginModel) -> bool:
    """Return whether all fields are equal, arrays number by number."""
    return all(np.array_equal(getattr(one, f.name), getattr(other, f.name)) for f in fields(one))
