"""The benchmark of reading runs, and counts what it reads."""

import json

import pytest

from benchmarks.ingest import main


@pytest.mark.parametrize("broken", [0.0, 0.1])
def test_it_states_ratios_and_memory(capsys, broken):
    main(["--rows", "2000", "--repeats", "1", "--broken", str(broken)])
    result = json.loads(capsys.readouterr().out)
    assert set(result["ratios"]) == {"checked", "cut"}
    assert result["peak_gib"] > 0
    refused = sum(result["refused"].values())
    assert result["accepted"] + refused == 2000
    assert (refused > 100) == (broken > 0)
