"""Regions that end: Merge of two that came to coincide, Retire of one that nobody visits."""

from collections import Counter

from pipeline.events.edit import Edit, Operation
from pipeline.monitor.edit_factory import boundary_samples, new_edit
from pipeline.monitor.region_state import Watched
from pipeline.monitor.state import State
from pipeline.regions.region import SET_UP, SINCE, angles

LEAST_VISITS = 40
"""Fewer expected visits than this say nothing when they fail to come."""


def merge(state: State) -> Edit | None:
    """Two regions of one origin whose centroids came to coincide since one of them moved."""
    for origin in (SET_UP, SINCE):
        group = [w for w in state.of_origin(origin) if _may_merge(state, w)]
        for i, one in enumerate(group):
            for two in group[i + 1 :]:
                edit = _merged(state, one, two) if one.region.version + two.region.version > 0 else None
                if edit:
                    return edit
    return None


def retire(state: State) -> Edit | None:
    """A region that nobody visits any more."""
    window = state.config.monitor.visits_window
    if len(state.visits) < window:
        return None
    tops, tastes = Counter(v.region_id for v in state.visits), Counter(v.taste for v in state.visits)
    for region_id, watched in sorted(state.watched.items()):
        setup = watched.region.origin == SET_UP
        # A set-up region is visited while its taste is, even if an opened region answers.
        share = (tastes if setup else tops)[region_id] / window
        watched.peak = max(watched.peak, share)
        usual = watched.region.prior if setup else watched.peak
        least = state.config.edits.retire_share * usual
        alone = len(state.of_origin(watched.region.origin)) == 1 and setup
        old_enough = state.at_event - watched.region.opened_at >= window
        if share < least and usual * window >= LEAST_VISITS and old_enough and not alone:
            text = f"{share:.2%} of the last {window} windows visited region {region_id}, {usual:.2%} used to"
            reason = {"signal": "visits", "statistic": share, "threshold": least, "text": text}
            return new_edit(state, Operation.RETIRE, watched.region, None, reason, [], boundary_samples(state))
    return None


def _may_merge(state: State, watched: Watched) -> bool:
    """Not soon after an edit, and less and less often after attempts in vain."""
    pause = state.config.edits.cool_down * 2**watched.apart if watched.apart else 0
    return state.at_event >= max(watched.quiet_until, watched.unmerged + pause)


def _merged(state: State, one: Watched, two: Watched) -> Edit | None:
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
