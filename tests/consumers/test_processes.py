"""Monitor and two trainers as processes beside a gate, in lockstep, killed and not."""

from pathlib import Path
from random import Random

from pipeline.config import Config
from tests.consumers.run_of_raie import SETTINGS, the_run, the_setup
from tests.consumers.soak import Driver, left, prepare, verify
from tests.replay.small import plan


def lockstep() -> Config:
    quick = SETTINGS.consumers.model_copy(update={"lockstep": True, "poll_timeout": 0.02, "snapshot_events": 300})
    return SETTINGS.model_copy(update={"consumers": quick})


def test_killed_at_random_the_ledger_in_lockstep_is_that_of_the_replay(tmp_path: Path) -> None:
    stream = plan().stream[slice(0, 512)]
    prepare(tmp_path, the_setup(), lockstep(), stream)
    driver = Driver(tmp_path, Random(1), most_kills=6)
    driver.run(limit=300)
    assert len(driver.deaths) >= 6
    assert {"monitor", "trainer"} <= {name for name, _ in driver.deaths}
    verify(left(tmp_path), the_run(), stream)
