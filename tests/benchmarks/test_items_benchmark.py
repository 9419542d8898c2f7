"""The benchmark of arrivals without end runs, and its bound holds."""

import json

from benchmarks.items import main


def test_it_states_memory_and_cost_and_the_bound_holds(capsys):
    main(["--arrivals", "1024", "--most", "512", "--unbounded", "256", "--injected", "64"])
    result = json.loads(capsys.readouterr().out)
    assert result["injected"] == 64
    # Rows of set-up never go; a batch is there before the longest untaken are evicted.
    assert 512 <= result["rows"] <= 512 + 360 + 128
    assert result["microseconds"] > 0.0
    assert set(result["bytes_per_arrival"]) == {"bounded", "unbounded"}
