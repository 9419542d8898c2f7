"""The benchmarks of reading and of the ingest service run, and count what they read."""

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


def test_events_over_http_are_compared_with_a_bare_producer(kafka_url, capsys):
    main(["--log", kafka_url, "--records", "1000", "--repeats", "1"])
    result = json.loads(capsys.readouterr().out)
    assert result["ratios"]["http"] > 0
    assert set(result["records_per_second"]) == {"bare", "http"}
