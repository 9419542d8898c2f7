"""The benchmark of gates that come and go runs, and no event is lost or scored twice."""

import json

from benchmarks.rebalance import main


def test_it_states_how_long_events_wait_in_each_phase(capsys):
    main(["--seconds", "1", "--rate", "20"])
    result = json.loads(capsys.readouterr().out)
    assert (result["events"], result["lost"], result["twice"]) == (140, 0, 0)
    assert [*result["phases"]] == [
        "no change",
        "a third joins",
        "it leaves",
        "it joins again",
        "it is killed",
        "it is back",
    ]
    assert all(of["events"] == 20 and 0.0 <= of["p50"] <= of["most"] for of in result["phases"].values())
    assert result["longest"] == max(of["most"] for of in result["phases"].values())
