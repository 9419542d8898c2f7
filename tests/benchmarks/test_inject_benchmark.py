"""The benchmark of injections runs, and counts what it injects."""

import json

from benchmarks.inject import main


def test_it_states_ratios_and_sizes(capsys):
    settings = ("setup.max_epochs=2", "backbone.hidden_size=16", "setup.regions=2", "edits.inject_items=8")
    main(["--events", "1500", *(word for setting in settings for word in ("--set", setting))])
    result = json.loads(capsys.readouterr().out)
    assert set(result["ratios"]) == {"all", "longest"}
    assert result["injections"] >= 1
    assert result["items"] >= 8
    assert 0.0 < result["seconds"]["longest"] <= result["seconds"]["all"]
