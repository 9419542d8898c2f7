"""Snapshots of the monitor's state as a JSON object, exact to the last bit.

Python writes the shortest digits that give the same double again, and the states of the random generators are part of
the record, so a restored monitor decides as the one that was written down would have decided.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from pipeline.errors import LogError
from pipeline.events.edit import Edit, Evidence
from pipeline.monitor import Monitor
from pipeline.monitor.region_state import Observation, RegionState
from pipeline.monitor.state import EventTally, LastShown, Move, State, Visit
from pipeline.regions.bank import RegionBank
from pipeline.regions.region import Region
from pipeline.streams.topics import MONITOR

FORMAT = 3
"""Version of the record: it changes with the fields."""

_COUNTS = {
    "at_event": "at_event",
    "trained_windows": "trained_windows",
    "timestamp": "timestamp",
    "warm_events": "_learnable",
    "next_region_id": "_next_region_id",
}
"""Attributes of `State` and their keys in the record."""

_OF_REGION = {
    "learned_windows": "learned",
    "last_audit": "audited",
    "failed_audits": "audits",
    "last_merge_attempt": "unmerged",
    "failed_merges": "apart",
    "fitted_windows": "fitted",
    "quiet_until": "quiet_until",
    "backoff": "backoff",
    "learned_by_target": "taught",
    "expand_rejected": "refused",
    "peak_share": "peak",
    "windows_since_separability": "untold",
    "separability": "told",
}
"""Attributes of `RegionState` and their keys in the record; the others are written one by one."""

_EVIDENCE = ("sample", "fresh")


def snapshot(monitor: Monitor) -> dict[str, Any]:
    """Write down all that a monitor has learned from the stream; the regions themselves are in `regions`."""
    state = monitor.state
    return {
        "format": FORMAT,
        "counts": {key: getattr(state, attribute) for attribute, key in _COUNTS.items()},
        "watched": [_region_record(w) for w in state.regions.values()],
        "ended": [_region_record(w) for w in state.ended.values()],
        "asked": [edit.to_record() for edit in state.pending.values()],
        "users": [[user, s.windows, list(s.setup_regions)] for user, s in state.users.items()],
        "moves": [[m.at_event, m.origin, m.target, m.user] for m in state.moves],
        "visits": [list(visit) for visit in state.visits],
        "tally": [[region_id, [list(t) for t in tallies]] for region_id, tallies in state.tally.items()],
        "new_items": state.new_items.state(),
        "requests": state.requests,
        "unlearnings": state.unlearnings,
        "boundary_waits": state.boundary_waits,
    }


def restore(monitor: Monitor, record: Mapping[str, Any], bank: RegionBank) -> None:
    """Put a new monitor of the same configuration, set-up and seed into a recorded state.

    Args:
        monitor: without any event yet.
        record: from `snapshot`, through JSON or not.
        bank: the regions at that time.

    Raises:
        LogError: another version of the program wrote the record.
    """
    if record.get("format") != FORMAT:
        raise LogError(
            f"the state of the monitor in topic {MONITOR} is of format {record.get('format', 1)}, this version of the "
            f"program reads {FORMAT}: go on with the version that wrote it, or begin a new log (log.url, log.prefix)"
        )
    state = monitor.state
    for attribute, key in _COUNTS.items():
        setattr(state, attribute, record["counts"][key])
    state.bank = bank
    live, ended = ([_region_state(state, region) for region in record[key]] for key in ("watched", "ended"))
    state.regions = {w.region_id: w for w in live}
    state.ended = {w.region_id: w for w in ended}
    edits = [Edit.from_record(edit) for edit in record["asked"]]
    state.pending = {edit.edit_id: edit for edit in edits}
    state.users = {user: LastShown(*shown) for user, *shown in record["users"]}
    state.moves.extend(Move(*move) for move in record["moves"])
    state.visits.extend(Visit(*visit) for visit in record["visits"])
    state.tally = {region_id: [EventTally(*t) for t in tallies] for region_id, tallies in record["tally"]}
    # Monitors before injections wrote none.
    if "new_items" in record:
        state.new_items.restore(record["new_items"])
    # Monitors before unlearning wrote neither.
    state.requests, state.unlearnings = list(record.get("requests", ())), record.get("unlearnings", 0)
    # Nor, while boundaries waited for all Updates, this one.
    state.boundary_waits = record.get("boundary_waits", False)


def window_offsets(record: Mapping[str, Any]) -> Iterator[int]:
    """Yield the offset in `gated` of every window, and request of an unlearning, that a recorded state refers to."""
    yield from record.get("requests", ())
    for region in (*record["watched"], *record["ended"]):
        yield from (offset for _, _, offset, *_ in region["seen"])
        yield from (offset for name in _EVIDENCE for _, offset, _ in region[name])
    if "new_items" in record:
        windows = (record["new_items"]["recent"], *(windows for _, windows in record["new_items"]["news"]))
        yield from (offset for cells in windows for _, offset in cells)


def _region_record(region_state: RegionState) -> dict[str, Any]:
    return {
        **{key: getattr(region_state, attribute) for attribute, key in _OF_REGION.items()},
        **{name: [list(_cells(e)) for e in getattr(region_state, name)] for name in _EVIDENCE},
        "tried": sorted(region_state.rejected_windows),
        "region": region_state.region.to_record(),
        "detectors": {signal: [d.state() for d in phases] for signal, phases in region_state.detectors.items()},
        "seen": [[o.at_event, *_cells(o.evidence), list(o.scores), o.rival, o.user] for o in region_state.observations],
        "moves": [list(phase) for phase in region_state.moves],
        "rising": [[signal, phase, since] for (signal, phase), since in region_state.rising_since.items()],
        "raised": {signal: list(raised) for signal, raised in region_state.raised.items()},
    }


def _region_state(state: State, record: Mapping[str, Any]) -> RegionState:
    region_state = state.new_region_state(Region.from_record(record["region"]), {})
    for signal, phases in record["detectors"].items():
        for detector, kept in zip(region_state.detectors[signal], phases, strict=True):
            detector.restore(kept)
    region_state.observations.extend(
        Observation(at_event, Evidence(event_id, offset, region_id), tuple(scores), rival, user)
        for at_event, event_id, offset, region_id, scores, rival, user in record["seen"]
    )
    for moves, newest in zip(region_state.moves, record["moves"], strict=True):
        moves.extend(newest)
    for name in _EVIDENCE:
        getattr(region_state, name).extend(Evidence(*cells) for cells in record[name])
    for attribute, key in _OF_REGION.items():
        setattr(region_state, attribute, record[key])
    region_state.rejected_windows = set(record["tried"])
    region_state.rising_since = {(signal, phase): since for signal, phase, since in record["rising"]}
    region_state.raised = {signal: (since, statistic) for signal, (since, statistic) in record["raised"].items()}
    return region_state


def _cells(evidence: Evidence) -> tuple[str, int, int]:
    return evidence.event_id, evidence.offset, evidence.region_id
