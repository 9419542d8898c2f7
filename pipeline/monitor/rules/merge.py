"""TODO docstring."""

from pipeline.events.edit import Edit, Operation
from pipeline.monitor.edit_factory import boundary_samples, new_edit
from pipeline.monitor.region_state import RegionState
from pipeline.monitor.state import State
from pipeline.regions.region import Origin
from pipeline.regions.vmf import angles


def merge(state: State) -> Edit | None:
    """Two regions of one origin whose centroids came to coincide since one of them moved."""
    for origin in Origin:
        group = [w for w in state.of_origin(origin) if _may_merge(state, w)]
        for i, one in enumerate(group):
            for two in group[i + 1 :]:
                edit = _merged(state, one, two) if one.region.version + two.region.version > 0 else None
                if edit:
                    return edit
    return None


def _may_merge(state: State, region_state: RegionState) -> bool:
    """Not soon after an edit, and less and less often after attempts in vain."""
    pause = state.config.edits.cool_down * 2**region_state.apart if region_state.apart else 0
    return state.at_event >= max(region_state.quiet_until, region_state.unmerged + pause)


def _merged(state: State, one: RegionState, two: RegionState) -> Edit | None:
    """Merge the one of two regions with fewer windows into the other, if they coincide."""
    apart = float(angles(one.region.centroid[None], two.region.centroid[None])[0, 0])
    least = state.config.edits.merge_angle * min(one.region.radius, two.region.radius)
    kept, gone = sorted((one, two), key=lambda w: -len(w.seen))
    if apart > least or not gone.seen:
        return None
    enough = state.config.edits.boundary_windows
    newest = list(gone.seen)[-state.config.edits.min_windows :]
    if len(newest) < enough:
        # One or two windows cannot judge; those of the region that stays do as well.
        newest += list(kept.seen)[len(newest) - enough :]
    if len(newest) < enough:
        return None
    text = (
        f"the centroids of regions {kept.region_id} and {gone.region_id} are {apart:.3f} rad apart, "
        f"less than {least:.3f}"
    )
    reason = {"signal": "coincidence", "statistic": apart, "threshold": least, "text": text}
    evidence = [s.evidence for s in sorted(newest, key=lambda s: s.at_event)]
    return new_edit(state, Operation.MERGE, kept.region, gone.region_id, reason, evidence, boundary_samples(state))
