"""Add and Expand for new behaviour: a stream region is moved over it, or a region is added."""

from collections.abc import Iterator, Sequence

from pipeline.events.edit import Evidence, Operation
from pipeline.monitor.edit_factory import Proposal, reason_of
from pipeline.monitor.region_state import RegionState
from pipeline.monitor.signals import Kind
from pipeline.monitor.state import State
from pipeline.regions.region import Origin

CHILD_SIGNAL = "novelty"
"""Signal of a stream region whose alarm leads to a child of it."""


def drifted(state: State) -> Iterator[Proposal]:
    """Propose an edit for new behaviour in set-up regions.

    The largest stream region learns their windows in its Updates first; then an Expand moves its boundary over them.
    Without a stream region, or after that Expand was rejected for all of them, a region is added.
    """
    settings = state.config.edits
    concerned = [w for w in state.of_origin(Origin.BASE) if w.alarms(state.at_event, Kind.NEW)]
    evidence = _new_windows(concerned)
    if not concerned or len(evidence) < settings.min_windows * max(w.backoff for w in concerned):
        return
    evidence = evidence[-settings.pool_windows :]
    loudest = max(concerned, key=lambda w: max(statistic for _, statistic in w.raised.values()))
    ids = [w.region_id for w in concerned]
    text = f"{len(evidence)} windows of set-up regions {', '.join(map(str, ids))} no longer look as in set-up"
    target = state.largest_stream_region()
    if target is None or all(w.expand_rejected for w in concerned):
        yield from _add(state, evidence, text, loudest, ids)
        return
    learned = [w for w in concerned if w.learned_by_target >= settings.min_windows and not w.expand_rejected]
    if learned:
        yield from _expand_over(state, target, learned, text, loudest)


def child(state: State) -> Iterator[Proposal]:
    """Propose a child of a stream region that shows new behaviour."""
    for region_state in state.of_origin(Origin.STREAM):
        if CHILD_SIGNAL in region_state.alarms(state.at_event, Kind.NEW):
            found = region_state.since_rise([CHILD_SIGNAL])
            if len(found) >= state.config.edits.min_windows * region_state.backoff:
                text = f"{len(found)} windows of opened region {region_state.region_id} no longer look as they did"
                yield from _add(state, [o.evidence for o in found], text, region_state, [region_state.region_id])


def _new_windows(regions: Sequence[RegionState]) -> list[Evidence]:
    """Windows of set-up regions since their signals of new behaviour began to rise, in event order."""
    found = [o for w in regions for o in w.since_rise(w.raised_of(Kind.NEW))]
    return [o.evidence for o in sorted(found, key=lambda o: o.at_event)]


def _expand_over(
    state: State, target: RegionState, learned: Sequence[RegionState], text: str, loudest: RegionState
) -> Iterator[Proposal]:
    """Propose to move a stream region's boundary over windows that it has learned, if they suffice to judge it."""
    newest = _new_windows(learned)[-state.config.edits.pool_windows :]
    if len(newest) < state.config.edits.boundary_windows:
        return
    text += f"; region {target.region_id} has learned them, and its boundary is moved over them"
    reason = reason_of(loudest, "drift", text) | {"regions": [w.region_id for w in learned]}
    windows = [e.for_region(target.region_id) for e in newest]
    yield Proposal(Operation.EXPAND, target.region, reason, windows, fresh=windows)


def _add(
    state: State, evidence: Sequence[Evidence], text: str, loudest: RegionState, regions: list[int]
) -> Iterator[Proposal]:
    """Propose a new region on these windows, if `edits.max_regions` and the budget allow it."""
    settings, affordable = state.config.edits, state.affordable_windows()
    # The newest windows that the budget pays for stand for all of a long rise.
    windows = evidence[-affordable:] if affordable else ()
    if len(state.regions) >= settings.max_regions or len(windows) < settings.min_windows:
        return
    full, affordable_passes = state.full_passes(len(windows)), state.affordable_passes(len(windows))
    if state.largest_stream_region() and affordable_passes < full:
        # A half-trained region gains nothing and takes the budget of Updates, which learn the new windows as well.
        return
    reason = reason_of(loudest, "drift", text) | {"regions": regions}
    passes = min(full, affordable_passes)
    yield Proposal(Operation.ADD, None, reason, windows, passes=passes)
