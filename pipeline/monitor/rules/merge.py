"""Merge: two regions of one origin whose centroids coincide become one."""

from collections.abc import Iterator

from pipeline.events.edit import Operation
from pipeline.monitor.edit_factory import Proposal
from pipeline.monitor.region_state import RegionState
from pipeline.monitor.state import State
from pipeline.regions.vmf import angles


def merge(state: State) -> Iterator[Proposal]:
    """Propose to merge two regions of one origin whose centroids coincide after a boundary moved."""
    for pair in state.near_pairs():
        one, two = (state.regions.get(region_id) for region_id in pair)
        if one and two and _may_merge(state, one) and _may_merge(state, two):
            yield from _merge_pair(state, one, two)


def _may_merge(state: State, region_state: RegionState) -> bool:
    """Say whether the cool-down is over; the pause doubles with each rejected merge."""
    pause = state.config.edits.cool_down * 2**region_state.failed_merges if region_state.failed_merges else 0
    return state.at_event >= max(region_state.quiet_until, region_state.last_merge_attempt + pause)


def _merge_pair(state: State, one: RegionState, two: RegionState) -> Iterator[Proposal]:
    """Propose to merge the region with fewer windows into the other, if their centroids coincide."""
    distance = float(angles(one.region.centroid[None], two.region.centroid[None])[0, 0])
    least = state.config.edits.merge_angle * min(one.region.radius, two.region.radius)
    kept, gone = sorted((one, two), key=lambda w: -len(w.observations))
    if distance > least or not gone.observations:
        return
    enough = state.config.edits.boundary_windows
    newest = list(gone.observations)[-state.config.edits.min_windows :]
    if len(newest) < enough:
        # One or two windows are too few to validate on; those of the kept region fill up.
        newest += list(kept.observations)[len(newest) - enough :]
    if len(newest) < enough:
        return
    text = (
        f"the centroids of regions {kept.region_id} and {gone.region_id} are {distance:.3f} rad apart, "
        f"less than {least:.3f}"
    )
    reason = {"signal": "coincidence", "statistic": distance, "threshold": least, "text": text}
    evidence = [o.evidence for o in sorted(newest, key=lambda o: o.at_event)]
    yield Proposal(Operation.MERGE, kept.region, reason, evidence, gone.region_id)
