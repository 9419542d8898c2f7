"""A catalogue whose best items an index finds, through all stages: what they do is what the replay did."""

import time
from pathlib import Path
from random import Random

from pipeline.config import LogSettings
from pipeline.datasets.dataset import read_dataset
from pipeline.evaluation.replay import replay
from tests.consumers.gating import changed
from tests.consumers.soak import Driver, left, one_thread, prepare, quiet, verify, write_stream
from tests.replay.small import emerging

WORKERS = (("gate", "g"), ("monitor", "m"), ("trainer", "t0"))


def test_in_lockstep_every_byte_is_that_of_the_replay_killed_or_not(tmp_path: Path) -> None:
    events = 1_000
    config = changed(consumers={"lockstep": True, "snapshot_events": 100}, ranking={"exact_items": 0})
    config = config.model_copy(update={"log": LogSettings(url=f"sqlite:///{tmp_path}/log.sqlite", partitions=4)})
    with one_thread():
        replay(read_dataset(emerging(events)), config, ["raie"], 1, tmp_path / "replay", quiet, time.monotonic)
        feed = prepare(tmp_path, events, config)
    write_stream(feed, config)
    driver = Driver(tmp_path, len(feed.stream), Random(0), kills=4, kill_every=1.0, workers=WORKERS)
    driver.run(limit=300)
    found = left(tmp_path)
    assert found.outcomes
    assert "gate" in driver.deaths
    verify(found, tmp_path / "replay")
