"""The benchmark of announcements over HTTP runs, and every item that it announces can be recommended."""

import json

from benchmarks.freshness import main


def test_it_states_when_items_can_be_recommended(capsys):
    main(["--seconds", "2", "--warm", "0", "--arrivals", "20", "--events", "20", "--requests", "8"])
    result = json.loads(capsys.readouterr().out)
    assert result["items"] == 40
    assert result["measured"] == {"recommendable": 20, "announce": 20, "events": 20, "recommend": 16}
    assert (result["failed"], result["failures"]) == (0, [])
    assert 0.0 < result["recommendable_s"]["p50"] <= result["recommendable_s"]["p99"]
    assert result["announce_s"]["p50"] < result["recommendable_s"]["p50"]
    assert result["load"]["processors"] >= 1
