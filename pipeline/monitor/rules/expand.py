"""Expand without new behaviour: between set-up regions, after doubled evidence, and as an audit."""

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence

from pipeline.events.edit import AUDIT, Operation
from pipeline.monitor import signals
from pipeline.monitor.edit_factory import Proposal, reason_of
from pipeline.monitor.region_state import Observation, RegionState
from pipeline.monitor.signals import Kind
from pipeline.monitor.state import State
from pipeline.regions.region import Origin

MAX_FAILED_AUDITS = 2
"""Rejected audits of a set-up region after which none is proposed: of many, one would pass by chance."""


def between(state: State) -> Iterator[Proposal]:
    """Propose to move the boundary between two set-up regions after an alarm of windows or moves between them."""
    for region_state in state.of_origin(Origin.BASE):
        moves = {signal.name for signal in signals.of_moves()}
        for name in region_state.alarms(state.at_event, Kind.BETWEEN):
            yield from (_left if name in moves else _doubted)(state, region_state, name)


def refit(state: State) -> Iterator[Proposal]:
    """Propose to refit the boundary of a stream region whose sample has doubled since the last fit."""
    for region_state in state.of_origin(Origin.STREAM):
        known = len(region_state.sample)
        if known >= 2 * region_state.fitted_windows * region_state.backoff:
            text = (
                f"{known} windows of region {region_state.region_id} are known, "
                f"{region_state.fitted_windows} when its boundary was fitted"
            )
            evidence = list(region_state.sample)[-state.config.edits.min_windows :]
            reason = reason_of(None, "evidence doubled", text)
            yield Proposal(Operation.EXPAND, region_state.region, reason, evidence)


def audit(state: State) -> Iterator[Proposal]:
    """Propose to test the largest stream region on windows of a set-up region without an alarm.

    New behaviour of one set-up region is often that of the others as well.
    """
    target = state.largest_stream_region()
    if target is None:
        return
    for region_state in state.of_origin(Origin.BASE):
        if region_state.failed_audits >= MAX_FAILED_AUDITS:
            continue
        start = max(region_state.last_audit, target.region.opened_at)
        found = [o.evidence for o in region_state.observations if o.at_event > start]
        if len(found) >= state.config.edits.min_windows * 2**region_state.failed_audits:
            text = (
                f"would region {target.region_id} answer {len(found)} windows of region "
                f"{region_state.region_id} better?"
            )
            reason = reason_of(None, AUDIT, text) | {"regions": [region_state.region_id]}
            windows = [e.for_region(target.region_id) for e in found]
            yield Proposal(Operation.EXPAND, target.region, reason, windows, fresh=windows)


def _doubted(state: State, region_state: RegionState, signal: str) -> Iterator[Proposal]:
    """Propose to move the boundary with the most frequent rival of the windows of a narrow margin."""
    found = region_state.since_rise([signal])
    rival = _most_frequent((o.rival for o in found), _others(state, region_state))
    if rival is None:
        return
    text = f"{len(found)} windows of region {region_state.region_id} came to lie between it and region {rival}"
    yield from _expand(state, region_state, rival, signal, text, found)


def _left(state: State, region_state: RegionState, signal: str) -> Iterator[Proposal]:
    """Propose to move the boundary with the most frequent target of moves, on the movers' windows in both."""
    start = region_state.raised[signal][0]
    moves = [m for m in state.moves if m.at_event >= start and m.origin == region_state.region_id]
    rival = _most_frequent((m.target for m in moves), _others(state, region_state))
    if rival is None:
        return
    movers = {m.user for m in moves if m.target == rival}
    both = [*region_state.observations, *state.regions[rival].observations]
    found = sorted((o for o in both if o.at_event >= start and o.user in movers), key=lambda o: o.at_event)
    text = f"{len(movers)} users moved from region {region_state.region_id} to region {rival}"
    yield from _expand(state, region_state, rival, signal, text, found)


def _expand(
    state: State, region_state: RegionState, rival: int, signal: str, text: str, found: Sequence[Observation]
) -> Iterator[Proposal]:
    """Propose to move the boundary of a region with its rival, if the windows of the alarm are enough."""
    if len(found) < state.config.edits.boundary_windows * region_state.backoff:
        return
    shared = {"regions": sorted([region_state.region_id, rival]), "shares": _shares(state)}
    reason = reason_of(region_state, signal, text) | shared
    evidence = [o.evidence for o in found]
    yield Proposal(Operation.EXPAND, region_state.region, reason, evidence, rival)


def _others(state: State, region_state: RegionState) -> set[int]:
    """Ids of the other set-up regions."""
    return {w.region_id for w in state.of_origin(Origin.BASE)} - {region_state.region_id}


def _most_frequent(named: Iterable[int], allowed: Collection[int]) -> int | None:
    """The most frequent of the allowed ids; of several, the first."""
    return next((region_id for region_id, _ in Counter(named).most_common() if region_id in allowed), None)


def _shares(state: State) -> dict[str, float]:
    """Share of each set-up region in the newest visits, by id."""
    setup = [w.region_id for w in state.of_origin(Origin.BASE)]
    setup_regions = Counter(visit.setup_region for visit in state.visits)
    total = sum(setup_regions[r] for r in setup)
    return {str(r): setup_regions[r] / total for r in setup}
