"""The monitor's state as a JSON object and back, bit for bit.

Python writes the shortest digits that give the same double again, and the state of each random generator goes
along, so a restored monitor decides what the one that was written down would have decided.
"""

from collections.abc import Mapping
from typing import Any

from pipeline.errors import LogError
from pipeline.events.edit import Edit, Evidence
from pipeline.monitor import Monitor
from pipeline.monitor.region_state import Observation, RegionState
from pipeline.monitor.state import LastShown, Move, State, Tallied, Visit
from pipeline.regions.bank import RegionBank
from pipeline.regions.region import Region
from pipeline.streams.topics import MONITOR

FORMAT = 3
"""Of a state: where its fields are others, it is another one."""

_COUNTS = {
    "at_event": "at_event",
    "trained_windows": "trained_windows",
    "timestamp": "timestamp",
    "_learnable": "learnable",
    "_next_region_id": "next_region_id",
}
"""What each count is called in the record, and by the monitor."""

_OF_WATCHED = (
    *("learned", "audited", "audits", "unmerged", "apart", "fitted"),
    *("quiet_until", "backoff", "taught", "refused", "peak", "untold", "told"),
)
_EVIDENCE = ("sample", "fresh")


def snapshot(monitor: Monitor) -> dict[str, Any]:
    """Everything that a monitor has learned from the stream; the regions themselves are in `regions`."""
    known = monitor.state
    return {
        "format": FORMAT,
        "counts": {name: getattr(known, count) for name, count in _COUNTS.items()},
        "watched": [_watched_record(w) for w in known.regions.values()],
        "ended": [_watched_record(w) for w in known.ended.values()],
        "asked": [edit.to_record() for edit in known.pending.values()],
        "users": [[user, s.windows, list(s.setup_regions)] for user, s in known.users.items()],
        "moves": [[m.at_event, m.origin, m.target, m.user] for m in known.moves],
        "visits": [list(visit) for visit in known.visits],
        "tally": [[region_id, [list(t) for t in tallied]] for region_id, tallied in known.tally.items()],
    }


def restore(monitor: Monitor, state: Mapping[str, Any], bank: RegionBank) -> None:
    """Put a new monitor of the same configuration, set-up and seed into a state written by `snapshot`.

    Args:
        monitor: has seen nothing yet.
        state: as `snapshot` gave it, through JSON or not.
        bank: the regions that the monitor knew then.

    Raises:
        LogError: another version of the program wrote the state.
    """
    if state.get("format") != FORMAT:
        raise LogError(
            f"the state of the monitor in topic {MONITOR} is of format {state.get('format', 1)}, this version of the "
            f"program reads {FORMAT}: go on with the version that wrote it, or begin a new log (log.url, log.prefix)"
        )
    known = monitor.state
    for name, count in _COUNTS.items():
        setattr(known, count, state["counts"][name])
    known.bank = bank
    region_state, ended = ([_watched(known, record) for record in state[name]] for name in ("watched", "ended"))
    known.regions = {w.region_id: w for w in region_state}
    known.ended = {w.region_id: w for w in ended}
    edits = [Edit.from_record(record) for record in state["asked"]]
    known.pending = {edit.edit_id: edit for edit in edits}
    known.users = {user: LastShown(*shown) for user, *shown in state["users"]}
    known.moves.extend(Move(*move) for move in state["moves"])
    known.visits.extend(Visit(*visit) for visit in state["visits"])
    known.tally = {region_id: [Tallied(*said) for said in tallied] for region_id, tallied in state["tally"]}


def _watched_record(region_state: RegionState) -> dict[str, Any]:
    return {
        **{name: getattr(region_state, name) for name in _OF_WATCHED},
        **{name: [list(_cells(e)) for e in getattr(region_state, name)] for name in _EVIDENCE},
        "tried": sorted(region_state.tried),
        "region": region_state.region.to_record(),
        "detectors": {signal: [d.state() for d in lanes] for signal, lanes in region_state.detectors.items()},
        "seen": [[s.at_event, *_cells(s.evidence), list(s.scores), s.rival, s.user] for s in region_state.seen],
        "moves": [list(lane) for lane in region_state.moves],
        "rising": [[signal, lane, since] for (signal, lane), since in region_state.rising.items()],
        "raised": {signal: list(raised) for signal, raised in region_state.raised.items()},
    }


def _watched(known: State, record: Mapping[str, Any]) -> RegionState:
    region_state = known.unseen(Region.from_record(record["region"]), {})
    for signal, lanes in record["detectors"].items():
        for detector, kept in zip(region_state.detectors[signal], lanes, strict=True):
            detector.restore(kept)
    region_state.seen.extend(
        Observation(at_event, Evidence(event_id, offset, region_id), tuple(scores), rival, user)
        for at_event, event_id, offset, region_id, scores, rival, user in record["seen"]
    )
    for moves, newest in zip(region_state.moves, record["moves"], strict=True):
        moves.extend(newest)
    for name in _EVIDENCE:
        getattr(region_state, name).extend(Evidence(*cells) for cells in record[name])
    for name in _OF_WATCHED:
        setattr(region_state, name, record[name])
    region_state.tried = set(record["tried"])
    region_state.rising = {(signal, lane): since for signal, lane, since in record["rising"]}
    region_state.raised = {signal: (since, statistic) for signal, (since, statistic) in record["raised"].items()}
    return region_state


def _cells(evidence: Evidence) -> tuple[str, int, int]:
    return evidence.event_id, evidence.offset, evidence.region_id
