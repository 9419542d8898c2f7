"""A language model that reads texts, through all stages: what they do is what the replay did."""

import time
from pathlib import Path
from random import Random

import pytest

from pipeline.config import LogSettings
from pipeline.datasets.dataset import read_dataset
from pipeline.evaluation.replay import prepare as prepare_replay
from pipeline.evaluation.replay import replay
from pipeline.setup.bootstrap import set_up
from pipeline.setup.storage import save_setup
from tests.consumers.gating import changed
from tests.consumers.run_of_raie import the_setup
from tests.consumers.soak import Driver, left, one_thread, prepare, quiet, verify, write_stream
from tests.consumers.test_gate_commands import OnALog
from tests.replay.small import dataset, emerging, plan, reading

WORKERS = (("gate", "g"), ("monitor", "m"), ("trainer", "t0"))


def test_in_lockstep_every_byte_is_that_of_the_replay(tmp_path: Path) -> None:
    events, fast = 1_000, {"learning_rate": 0.01, "row_learning_rate": 0.02}
    config = changed(consumers={"lockstep": True}, backbone=reading(), training=fast)
    config = config.model_copy(update={"log": LogSettings(url=f"sqlite:///{tmp_path}/log.sqlite", partitions=4)})
    with one_thread():
        replay(read_dataset(emerging(events)), config, ["raie"], 1, tmp_path / "replay", quiet, time.monotonic)
        feed = prepare(tmp_path, events, config)
    write_stream(feed, config)
    Driver(tmp_path, len(feed.stream), Random(0), kills=1, kill_every=1.0, workers=WORKERS).run(limit=300)
    found = left(tmp_path)
    assert found.outcomes
    verify(found, tmp_path / "replay")


@pytest.fixture
def on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> OnALog:
    return OnALog(tmp_path / "log.sqlite", capsys)


def test_a_set_up_of_one_format_is_refused_by_the_other_and_named(on: OnALog, tmp_path: Path) -> None:
    settings = changed(backbone=reading())
    known = prepare_replay(dataset(), settings, quiet)[1]
    save_setup(set_up(settings, known, plan().setup[slice(-100, None)], seed=0), tmp_path / "text")
    save_setup(the_setup(), tmp_path / "items")
    chosen = [word for name, value in reading().items() for word in ("--set", f"backbone.{name}={value}")]
    for made, other in (("text", "items"), ("items", "text")):
        ended = on("gate", "--root", tmp_path / made, *(chosen if other == "text" else ()))
        assert (ended.code, ended.out) == (2, "")
        assert f"backbone.format: {other} here, and the set-up in {tmp_path / made} was made with {made}" in ended.err
        assert f"set backbone.format={made}" in ended.err
