"""Set-up keeps which interactions count, and every gate that starts from it counts the same."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from consumers.gate.stage import GateStage
from pipeline.config import DataSettings
from pipeline.events.counting import CountingRule
from pipeline.setup.artifacts import TrainingLog
from pipeline.setup.storage import MANIFEST, load_setup, save_setup
from pipeline.streams import SqliteLog
from pipeline.streams.topics import pipeline_topics
from tests.consumers.gating import PARTITIONS, UntilQuiet, changed, events, gate_loop, gated, letters, said, write
from tests.consumers.run_of_raie import the_setup
from tests.replay.small import SET, raie


def kept(rule: CountingRule) -> type[GateStage]:
    """A gate whose set-up counts by a rule."""

    class Kept(UntilQuiet):
        def __init__(self, setup, *arguments):
            super().__init__(replace(setup, log=TrainingLog("", 0.0, rule)), *arguments)

    return Kept


def gate(folder: Path, rule: CountingRule, *values: dict[str, object], **data: object) -> SqliteLog:
    log = SqliteLog(folder / "log.sqlite", lease=1.0)
    log.create_topics(pipeline_topics(PARTITIONS))
    write(log, values)
    gate_loop(lambda: SqliteLog(folder / "log.sqlite", lease=1.0), folder, changed(data=data), kind=kept(rule)).run()
    return log


def rated(*more: dict[str, object]) -> list[dict[str, object]]:
    return [{**said(e), **some} for e, some in zip(events()[1], more, strict=False)]


def test_live_ratings_count_from_the_threshold_of_set_up(tmp_path):
    values = rated({"value": 3.5}, {"value": 4}, {"value": None, "rating": 3}, {"value": None})
    log = gate(tmp_path, CountingRule(4.0), *values)
    assert [g["event_id"] for g in gated(log)] == [values[1]["event_id"], values[3]["event_id"]]


def test_a_setting_wins_over_set_up(tmp_path):
    values = rated({"value": 3}, {"value": 1})
    assert len(gated(gate(tmp_path, CountingRule(4.0), *values, positive_from=2.0))) == 1


def test_live_kinds_count_by_the_table_of_set_up(tmp_path):
    values = rated({"event_type": "View"}, {"action": "dislike"}, {"event_type": "refund"}, {})
    log = gate(tmp_path, CountingRule(None, {"view": True, "dislike": False}), *values)
    assert [g["event_id"] for g in gated(log)] == [values[0]["event_id"], values[3]["event_id"]]
    assert [letter["reason"] for letter in letters(log)] == ["unknown_event_type"]


def test_set_up_keeps_what_counted_and_a_root_of_before_goes_on_as_before(tmp_path, capsys):
    rows = [f"{1 + n % 40},{1 + n % 7 + n % 3},{3 + n % 3},{1_500_000_000 + 60 * n}" for n in range(1500)]
    (tmp_path / "ratings.csv").write_text("\n".join(["userId,movieId,rating,timestamp", *rows]))
    ended = raie(capsys, "setup", "--data", tmp_path / "ratings.csv", "--out", tmp_path / "root", *SET)
    assert ended.code == 0, ended.err
    setup = load_setup(tmp_path / "root")
    assert setup.log is not None
    assert setup.log.rule == CountingRule(4.0)
    assert 1_500_000_000 < setup.log.until < 1_500_000_000 + 60 * 1500
    assert setup.counting_rule(DataSettings()) == CountingRule(4.0)
    before = json.loads((tmp_path / "root" / MANIFEST).read_text())
    del before["log"]
    (tmp_path / "root" / MANIFEST).write_text(json.dumps(before))
    old = load_setup(tmp_path / "root")
    assert old.log is None
    assert old.counting_rule(DataSettings()) == CountingRule()
    assert old.counting_rule(DataSettings(positive_from=3.0)) == CountingRule(3.0)


@pytest.mark.parametrize("rule", [CountingRule(), CountingRule(7.5, {"view": True, "0": False})])
def test_a_rule_comes_back_from_disk(tmp_path, rule):
    save_setup(replace(the_setup(), log=TrainingLog("abc", 5.5, rule)), tmp_path / "root")
    assert load_setup(tmp_path / "root").log == TrainingLog("abc", 5.5, rule)
