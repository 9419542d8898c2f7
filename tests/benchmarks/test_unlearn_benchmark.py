"""The benchmark of unlearning runs, and tells the user's windows from those of others."""

import json

from benchmarks.unlearn import main
from tests.replay.small import SMALL


def test_it_states_times_and_gains(capsys):
    settings = (*SMALL, "edits.confidence=0", "trend.half_lives=[]")
    main(["--events", "1600", "--users", "1", *(word for setting in settings for word in ("--set", setting))])
    result = json.loads(capsys.readouterr().out)
    assert result["versions"] >= 1 and result["users"]["unlearned"] == 1
    assert 0.0 < result["seconds"]["median"] <= result["seconds"]["longest"]
    assert set(result["gain"]) == {"own", "others"} and set(result["auc"]) == {"before", "after"}
