"""What is new: an opened region is stretched over it (Expand), or one is opened for it (Add)."""

from collections.abc import Sequence

from pipeline.events.edit import Edit, Evidence, Operation
from pipeline.monitor.edit_factory import boundary_samples, new_edit, reason_of
from pipeline.monitor.region_state import NEW, RegionState
from pipeline.monitor.state import State
from pipeline.regions.region import Origin


def drifted(state: State) -> Edit | None:
    """Set-up regions in which something new goes on: stretch an opened region over it, or open one."""
    settings = state.config.edits
    concerned = [w for w in state.of_origin(Origin.BASE) if any(s in NEW for s in w.alarms(state.at_event))]
    evidence = _new_windows(concerned)
    if not concerned or len(evidence) < settings.min_windows * max(w.backoff for w in concerned):
        return None
    evidence = evidence[-settings.pool_windows :]
    loudest = max(concerned, key=lambda w: max(statistic for _, statistic in w.raised.values()))
    ids = [w.region_id for w in concerned]
    text = f"{len(evidence)} windows of set-up regions {', '.join(map(str, ids))} no longer look as in set-up"
    target = state.largest_opened()
    if target is None or all(w.refused for w in concerned):
        return _open(state, evidence, text, loudest, ids)
    taught = [w for w in concerned if w.taught >= settings.min_windows and not w.refused]
    return _stretch(state, target, taught, text, loudest) if taught else None


def child(state: State) -> Edit | None:
    """An opened region in which something new goes on: open a child of it."""
    for region_state in state.of_origin(Origin.STREAM):
        if "novelty" in region_state.alarms(state.at_event):
            found = region_state.excursion(["novelty"])
            if len(found) >= state.config.edits.min_windows * region_state.backoff:
                text = f"{len(found)} windows of opened region {region_state.region_id} no longer look as they did"
                return _open(state, [s.evidence for s in found], text, region_state, [region_state.region_id])
    return None


def _new_windows(regions: Sequence[RegionState]) -> list[Evidence]:
    """Windows of set-up regions since something new began in them, in event order."""
    found = [s for w in regions for s in w.excursion([signal for signal in NEW if signal in w.raised])]
    return [s.evidence for s in sorted(found, key=lambda s: s.at_event)]


def _stretch(
    state: State, target: RegionState, taught: Sequence[RegionState], text: str, loudest: RegionState
) -> Edit | None:
    """Expand an opened region over set-up regions whose windows it has learned, once there are enough to judge it."""
    newest = _new_windows(taught)[-state.config.edits.pool_windows :]
    if len(newest) < state.config.edits.boundary_windows:
        return None
    text += f"; region {target.region_id} has learned them, and its boundary is moved over them"
    reason = reason_of(loudest, "drift", text) | {"regions": [w.region_id for w in taught]}
    mine = [e.for_region(target.region_id) for e in newest]
    return new_edit(state, Operation.EXPAND, target.region, None, reason, mine, boundary_samples(state, mine))


def _open(
    state: State, evidence: Sequence[Evidence], text: str, loudest: RegionState, regions: list[int]
) -> Edit | None:
    """Add a region on these windows, if there is room and budget."""
    settings, affordable = state.config.edits, state.affordable()
    # Of a long excursion, the newest windows that the budget pays for will do.
    windows = evidence[-affordable:] if affordable else ()
    if len(state.regions) >= settings.max_regions or len(windows) < settings.min_windows:
        return None
    thorough, payable = state.thorough(len(windows)), state.payable(len(windows))
    if state.largest_opened() and payable < thorough:
        # A region trained by halves brings nothing, and costs the others their Updates; these learn what is new.
        return None
    region_id = state.next_region_id
    state.next_region_id += 1
    mine = [e.for_region(region_id) for e in windows]
    reason = reason_of(loudest, "drift", text) | {"regions": regions}
    return new_edit(
        state, Operation.ADD, region_id, None, reason, mine, boundary_samples(state), min(thorough, payable)
    )
