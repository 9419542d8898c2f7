"""Where no region is new: Expand between set-up regions, and of opened ones whose evidence grew or that are tried."""

from collections import Counter
from collections.abc import Collection, Iterable, Sequence

from pipeline.events.edit import AUDIT, Edit, Operation
from pipeline.monitor.edit_factory import boundary_samples, new_edit, reason_of
from pipeline.monitor.region_state import BETWEEN, Observation, RegionState
from pipeline.monitor.state import State
from pipeline.regions.region import Origin

MOST_AUDITS = 2
"""A set-up region that was tried with an opened one so often in vain is left to its alarms: who asks on, is granted it
by chance one day."""


def between(state: State) -> Edit | None:
    """A set-up region whose windows have come to lie between it and another: move their boundary."""
    for region_state in state.of_origin(Origin.BASE):
        for signal in BETWEEN:
            if signal in region_state.alarms(state.at_event):
                edit = _doubted(state, region_state) if signal == "doubt" else _left(state, region_state)
                if edit:
                    return edit
    return None


def refit(state: State) -> Edit | None:
    """An opened region that is known twice as well as when its boundary was fitted."""
    for region_state in state.of_origin(Origin.STREAM):
        known = len(region_state.sample)
        if known >= 2 * region_state.fitted * region_state.backoff:
            text = (
                f"{known} windows of region {region_state.region_id} are known, "
                f"{region_state.fitted} when its boundary was fitted"
            )
            evidence = list(region_state.sample)[-state.config.edits.min_windows :]
            reason = reason_of(None, "evidence doubled", text)
            return new_edit(
                state, Operation.EXPAND, region_state.region, None, reason, evidence, boundary_samples(state)
            )
    return None


def audit(state: State) -> Edit | None:
    """Try an opened region on the windows of a set-up region: what is new for one taste may be new for all."""
    target = state.largest_opened()
    if target is None:
        return None
    for region_state in state.of_origin(Origin.BASE):
        if region_state.audits >= MOST_AUDITS:
            continue
        start = max(region_state.audited, target.region.opened_at)
        found = [s.evidence for s in region_state.seen if s.at_event > start]
        if len(found) >= state.config.edits.min_windows * 2**region_state.audits:
            text = (
                f"would region {target.region_id} answer {len(found)} windows of region "
                f"{region_state.region_id} better?"
            )
            reason = reason_of(None, AUDIT, text) | {"regions": [region_state.region_id]}
            mine = [e.for_region(target.region_id) for e in found]
            return new_edit(state, Operation.EXPAND, target.region, None, reason, mine, boundary_samples(state, mine))
    return None


def _doubted(state: State, region_state: RegionState) -> Edit | None:
    """Windows that fit a region hardly better than another: the likeliest rival is the one most of them name."""
    found = region_state.excursion(["doubt"])
    rival = _commonest((s.rival for s in found), _others(state, region_state))
    if rival is None:
        return None
    text = f"{len(found)} windows of region {region_state.region_id} came to lie between it and region {rival}"
    return _expand(state, region_state, rival, "doubt", text, found)


def _left(state: State, region_state: RegionState) -> Edit | None:
    """Users who left a region for another: all of their windows in the two, since the moves began to rise."""
    start = region_state.raised["shift"][0]
    moves = [m for m in state.moves if m.at_event >= start and m.origin == region_state.region_id]
    rival = _commonest((m.target for m in moves), _others(state, region_state))
    if rival is None:
        return None
    movers = {m.user for m in moves if m.target == rival}
    both = [*region_state.seen, *state.regions[rival].seen]
    found = sorted((s for s in both if s.at_event >= start and s.user in movers), key=lambda s: s.at_event)
    text = f"{len(movers)} users moved from region {region_state.region_id} to region {rival}"
    return _expand(state, region_state, rival, "shift", text, found)


def _expand(
    state: State, region_state: RegionState, rival: int, signal: str, text: str, found: Sequence[Observation]
) -> Edit | None:
    """Expand between a region and its likeliest rival, on the windows that raised the alarm, if they are enough."""
    if len(found) < state.config.edits.boundary_windows * region_state.backoff:
        return None
    shared = {"regions": sorted([region_state.region_id, rival]), "shares": _shares(state)}
    reason = reason_of(region_state, signal, text) | shared
    evidence = [s.evidence for s in found]
    return new_edit(state, Operation.EXPAND, region_state.region, rival, reason, evidence, boundary_samples(state))


def _others(state: State, region_state: RegionState) -> set[int]:
    """Ids of the other set-up regions."""
    return {w.region_id for w in state.of_origin(Origin.BASE)} - {region_state.region_id}


def _commonest(named: Iterable[int], allowed: Collection[int]) -> int | None:
    """The id that is named most often of those allowed; of several, the one named first."""
    return next((region_id for region_id, _ in Counter(named).most_common() if region_id in allowed), None)


def _shares(state: State) -> dict[str, float]:
    """Share of the newest windows in each set-up region, by id."""
    setup = [w.region_id for w in state.of_origin(Origin.BASE)]
    setup_regions = Counter(visit.setup_region for visit in state.visits)
    total = sum(setup_regions[r] for r in setup)
    return {str(r): setup_regions[r] / total for r in setup}
