"""All stages as processes, in lockstep, killed at random."""

from pathlib import Path

from pipeline.config import LogSettings
from tests.consumers.soak import soak


def test_killed_at_random_the_ledger_in_lockstep_is_that_of_the_replay(
    tmp_path: Path, log_settings: LogSettings
) -> None:
    found = soak(tmp_path, events=1_300, kills=8, log=log_settings, kill_every=1.0)
    assert found["edits"] >= 8
    assert found["kills"] >= 8
    assert found["killed"].keys() == {"gate", "monitor", "trainer"}
