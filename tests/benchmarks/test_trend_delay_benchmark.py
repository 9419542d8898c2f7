"""The benchmark of trends over gates runs: what users of one gate take is counted at the other, and listed."""

import json

import pytest

from benchmarks.trend_delay import main


def test_it_states_how_long_a_trend_takes_to_the_other_gate_and_to_a_server(
    capsys: pytest.CaptureFixture[str],
) -> None:
    main(["--repeats", "2"])
    result = json.loads(capsys.readouterr().out)
    assert result["log"] == "embedded"
    assert all(0.0 < result[name]["p50"] <= result[name]["most"] <= result["longest"] for name in ("gate", "server"))
