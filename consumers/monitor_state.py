"""The monitor's state as a JSON object and back, bit for bit.

Python writes the shortest digits that give the same double again, and the state of each random generator goes
along, so a restored monitor decides what the one that was written down would have decided.
"""

from collections import deque
from collections.abc import Mapping
from typing import Any

from pipeline.edits import Edit, Evidence
from pipeline.monitor import LastShown, Monitor, Move, Seen, Watched
from pipeline.regions import Region
from pipeline.routing import RegionBank

_COUNTS = ("at_event", "trained_windows", "timestamp", "_learnable", "_next_region_id")
_OF_WATCHED = (
    *("rising", "audited", "audits", "unmerged", "apart", "fitted"),
    *("quiet_until", "backoff", "taught", "refused", "peak"),
)
_EVIDENCE = ("sample", "fresh", "learned")


def snapshot(monitor: Monitor) -> dict[str, Any]:
    """Everything that a monitor has learned from the stream; the regions themselves are in `regions`."""
    return {
        "counts": {name: getattr(monitor, name) for name in _COUNTS},
        "watched": [_watched_record(w) for w in monitor._watched.values()],
        "ended": [_watched_record(w) for w in monitor._ended.values()],
        "asked": [edit.to_record() for edit in monitor.asked.values()],
        "users": [[user, s.events, s.shown, s.taste] for user, s in monitor._users.items()],
        "moves": [[m.at_event, m.origin, m.target, m.user] for m in monitor._moves],
        "visits": [list(visit) for visit in monitor._visits],
        "tally": [[region_id, [list(t) for t in tallied]] for region_id, tallied in monitor._tally.items()],
    }


def restore(monitor: Monitor, state: Mapping[str, Any], bank: RegionBank) -> None:
    """Put a new monitor of the same configuration, set-up and seed into a state written by `snapshot`.

    Args:
        monitor: has seen nothing yet.
        state: as `snapshot` gave it, through JSON or not.
        bank: the regions that the monitor knew then.
    """
    for name in _COUNTS:
        setattr(monitor, name, state["counts"][name])
    monitor._bank = bank
    # Making one watches it: those that ended come first, and what is watched is then set as it was.
    ended, watched = ([_watched(monitor, record) for record in state[name]] for name in ("ended", "watched"))
    monitor._ended = {w.region.region_id: w for w in ended}
    monitor._watched = {w.region.region_id: w for w in watched}
    edits = [Edit.from_record(record) for record in state["asked"]]
    monitor._asked = {edit.edit_id: edit for edit in edits}
    monitor._users = {user: LastShown(*shown) for user, *shown in state["users"]}
    monitor._moves = deque((Move(*m) for m in state["moves"]), maxlen=monitor._moves.maxlen)
    visits = ((region_id, taste) for region_id, taste in state["visits"])
    monitor._visits = deque(visits, maxlen=monitor._visits.maxlen)
    monitor._tally = {region_id: [(a, b, c) for a, b, c in tallied] for region_id, tallied in state["tally"]}


def _watched_record(watched: Watched) -> dict[str, Any]:
    return {
        **{name: getattr(watched, name) for name in _OF_WATCHED},
        **{name: [list(_cells(e)) for e in getattr(watched, name)] for name in _EVIDENCE},
        "tried": sorted(watched.tried),
        "region": watched.region.to_record(),
        "detectors": {signal: d.state() for signal, d in watched.detectors.items()},
        "seen": [[s.at_event, *_cells(s.evidence), list(s.scores), s.rival, s.user] for s in watched.seen],
        "moves": list(watched.moves),
        "raised": {signal: list(raised) for signal, raised in watched.raised.items()},
    }


def _watched(monitor: Monitor, record: Mapping[str, Any]) -> Watched:
    watched = monitor._watch(Region.from_record(record["region"]), {})
    for signal, kept in record["detectors"].items():
        watched.detectors[signal].restore(kept)
    watched.seen.extend(
        Seen(at_event, Evidence(event_id, offset, region_id), tuple(scores), rival, user)
        for at_event, event_id, offset, region_id, scores, rival, user in record["seen"]
    )
    watched.moves.extend(record["moves"])
    for name in _EVIDENCE:
        getattr(watched, name).extend(Evidence(*cells) for cells in record[name])
    for name in _OF_WATCHED:
        setattr(watched, name, record[name])
    watched.tried = set(record["tried"])
    watched.rising = dict(record["rising"])
    watched.raised = {signal: (since, statistic) for signal, (since, statistic) in record["raised"].items()}
    return watched


def _cells(evidence: Evidence) -> tuple[str, int, int]:
    return evidence.event_id, evidence.offset, evidence.region_id
