"""A state that an earlier version of the program wrote restores, and decides as that version decided.

`snapshot_format3.json` holds a state, the events after it, and the edits and statistics that its writer made of them.
"""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pipeline.events.edit import Edit, Operation
from pipeline.monitor.snapshot import restore, snapshot
from pipeline.regions.bank import RegionBank
from pipeline.regions.region import Region
from pipeline.setup.calibration import Calibration
from tests.monitor.test_monitor import Driven, calibration, config, origins

OVERRIDES = (
    "edits.pool_windows=64",
    "edits.min_windows=32",
    "edits.update_windows=32",
    "edits.cool_down=16",
    "monitor.expected_run=1000",
    "monitor.telling_windows=32",
    "monitor.thinning=2",
)
EVENTS_A_DECISION = 24


@pytest.fixture
def written() -> dict[str, Any]:
    found: dict[str, Any] = json.loads((Path(__file__).parent / "snapshot_format3.json").read_text())
    return found


def rounded(full: Calibration) -> Calibration:
    """Two decimals of each score keep the recorded state small."""
    return replace(
        full,
        angles=full.angles.round(2),
        margins=full.margins.round(2),
        losses=full.losses.round(2),
        rarities=full.rarities.round(2),
    )


def restored(written: dict[str, Any]) -> Driven:
    bank = RegionBank(tuple(Region.from_record(r) for r in written["regions"]), origins(*written["origins"]))
    driven = Driven(config(*OVERRIDES), bank, calibration=rounded(calibration(n=20)))
    restore(driven.monitor, written["state"], bank)
    return driven


def accepted(edit: Edit) -> bool:
    return edit.operation is Operation.UPDATE


def test_a_state_of_an_earlier_version_is_written_down_as_it_was(written: dict[str, Any]) -> None:
    # Tallies of that version have no recall.
    tally = [[region_id, [[*of, 0.0, 0.0] for of in tallies]] for region_id, tallies in written["state"]["tally"]]
    # Nor did its monitor know new items, or requests to unlearn a user.
    new = {"new_items": {"recent": [], "wait": 32, "contexts": {}, "news": []}, "requests": [], "unlearnings": 0}
    # Or that a boundary waited.
    new["boundary_waits"] = False
    assert json.loads(json.dumps(snapshot(restored(written).monitor))) == written["state"] | {"tally": tally} | new


def test_a_state_from_when_boundaries_waited_for_all_updates_is_read(written: dict[str, Any]) -> None:
    state = snapshot(restored(written).monitor)
    written["state"]["boundaries"] = [485, True]
    assert snapshot(restored(written).monitor) == state


def test_a_state_of_an_earlier_version_decides_as_its_writer_did(written: dict[str, Any]) -> None:
    driven = restored(written)
    for edit in list(driven.monitor.pending.values()):
        driven.settle(edit, published=False)
    made = []
    for n, (event_id, user, region_id, angle, margin, loss, rarity) in enumerate(written["events"]):
        at = int(event_id[1:])
        scores = {"angle": angle, "setup_margin": margin, "loss": loss, "rarity": rarity}
        driven.show(region_id, event_id=event_id, user_id=user, timestamp=float(at), offset=10 * at, **scores)
        if n % EVENTS_A_DECISION == 2:
            for edit in driven.monitor.decide():
                made.append(edit)
                driven.settle(edit, accepted(edit))
    assert [
        [str(e.operation), e.region_id, dict(e.reason), [w.event_id for w in e.windows], len(e.samples), e.at_event]
        for e in made
    ] == written["edits"]
    # Statistics of that version have no recall.
    rows = [{**row, "origin": str(row["origin"])} for row in driven.monitor.statistics()]
    found = [{name: row[name] for name in of} for row, of in zip(rows, written["statistics"], strict=True)]
    assert found == [
        {name: pytest.approx(value) if isinstance(value, float) else value for name, value in row.items()}
        for row in written["statistics"]
    ]
