"""Every kind of edit comes within twice the events with many opened regions that it takes with six."""

import json

import pytest

from benchmarks import edit_delays

KINDS = {"update", "add", "expand", "merge", "refit", "retire"}


def test_edits_come_as_soon_with_many_regions_as_with_six(capsys: pytest.CaptureFixture[str]) -> None:
    edit_delays.main(["--regions", "120", "--seeds", "1"])
    found = json.loads(capsys.readouterr().out)
    assert found["ratios"].keys() == found["few"].keys() == KINDS | {"observe", "decide"}
    assert all(found["ratios"][kind] <= 2 for kind in KINDS), found["ratios"]
