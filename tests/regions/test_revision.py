"""Revisions of edits that were pending together: which may follow which, and the regions after all of them."""

from dataclasses import replace

import pytest

from pipeline.regions.bank import RegionBank
from pipeline.regions.revision import Revision
from tests.regions.wide import add, bank, boundaries, update

WIDTH = 4
A, B, C = 4, 5, 6


def opened() -> RegionBank:
    """Three set-up regions, and A and B of the stream."""
    regions = bank(WIDTH)
    for _ in (A, B):
        regions = add(regions, WIDTH).after(regions)
    return regions


def refit(regions: RegionBank) -> Revision:
    """The revision of an Expand, which changes no region."""
    return Revision((), boundaries(regions.origins.origins, WIDTH), regions.gate_version + 1, "refit", {})


def moved(regions: RegionBank, *ids: int) -> Revision:
    """The revision that moves the boundary between set-up regions."""
    changed = tuple(replace(regions[i], version=regions[i].version + 1, prior=0.3) for i in ids)
    return Revision(changed, regions.origins, regions.gate_version + 1, "moved", {})


@pytest.mark.parametrize(
    ("own", "other", "rests_on", "conflicts"),
    [
        (update(opened(), A), update(opened(), B), {A}, False),
        (update(opened(), A), update(opened(), A), {A}, True),
        (update(opened(), A), add(opened(), WIDTH), {A}, False),
        (add(opened(), WIDTH), update(opened(), A), {1}, False),
        (add(opened(), WIDTH), update(opened(), A), {1, A}, True),
        (refit(opened()), update(opened(), A), {A, 1}, True),
        (refit(opened()), update(opened(), B), {A, 1}, False),
        (refit(opened()), add(opened(), WIDTH), {A}, True),
        (add(opened(), WIDTH), refit(opened()), {1}, True),
        (moved(opened(), 1, 2), refit(opened()), {1, 2}, True),
        (update(opened(), A), refit(opened()), {A}, False),
        (moved(opened(), 1, 2), update(opened(), A), {1, 2}, False),
    ],
)
def test_revisions_conflict_where_both_move_boundaries_or_one_changes_what_the_other_rests_on(
    own: Revision, other: Revision, rests_on: set[int], conflicts: bool
) -> None:
    assert own.conflicts_with(other, rests_on) is conflicts


def test_an_update_that_was_made_before_a_boundary_moved_leaves_the_boundary_as_it_is() -> None:
    before = opened()
    late, opens = update(before, A), add(before, WIDTH)
    after = late.after(opens.after(before))
    assert (after.gate_version, after.origins) == (opens.gate_version, opens.origins)
    assert after[A].version == before[A].version + 1
    assert after.origins.origins == (A, B, C)
    assert opens.after(late.after(before)) == after
