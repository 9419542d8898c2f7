"""The benchmarks of announced items and of targets: what they read off a run folder, and how they compare."""

import json
from pathlib import Path

import numpy as np

from benchmarks import announced, targets


def test_a_stream_is_replayed_and_announced_items_are_taken_after_they_exist(capsys):
    small = ("setup.max_epochs=1", "backbone.hidden_size=16", "setup.regions=2")
    options = [word for setting in small for word in ("--set", setting)]
    announced.main(["--streams", "1", "--events", "1500", "--strategies", "static,static_inject", *options])
    result = json.loads(capsys.readouterr().out)
    assert result["sizes"]["announced"] == 144
    assert 72 <= result["sizes"]["never_taken"] < 80
    of_target = result["interactions"]
    assert of_target["first"] > 0
    assert sum(of_target[name] for name in ("known", "first", "2nd to 5th", "later")) == of_target["all"]
    # A first interaction is scored: the item exists.
    assert result["median_rank"]["static"]["first"] > 1.0
    assert set(result["differences"]) == {"static_inject - static"}


def test_ranks_are_compared_by_what_a_target_was(monkeypatch, capsys):
    users = np.array(["ann", "bob"] * 50)
    of = targets.by_target(np.tile([0, 1, 2, 6], 25).astype(np.int64))
    worse, better = np.full((2, 100), 11.0), np.full((2, 100), 11.0)
    better[0, of["later"]] = 10.0
    better[:, of["first"]] = np.inf
    scored = targets.Scored(users, of, {"with": better, "without": worse})
    monkeypatch.setattr(targets, "read_scored", lambda _: scored)
    targets.main([str(Path("run")), "--pairs", "with-without"])
    result = json.loads(capsys.readouterr().out)
    assert result["interactions"] == {"all": 100, "known": 25, "first": 25, "2nd to 5th": 25, "later": 25}
    assert result["recall"]["with"]["later"] == 0.5
    assert result["median_rank"]["with"] == {
        "all": 11.0,
        "known": 11.0,
        "first": None,
        "2nd to 5th": 11.0,
        "later": 10.5,
    }
    assert result["differences"]["with - without"]["later"] == {"difference": 0.5, "low": 0.5, "high": 0.5}
    assert result["differences"]["with - without"]["2nd to 5th"]["difference"] == 0.0
