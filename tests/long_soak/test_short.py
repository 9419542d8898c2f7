"""The short form of the long soak."""

from pathlib import Path

from tests.long_soak.course import Plan
from tests.long_soak.run import run


def test_a_refresh_an_erasure_and_a_kill_beside_a_stream_lose_nothing_and_fail_no_request(tmp_path: Path) -> None:
    plan = Plan(seconds=25.0, longest=180.0, rate=20.0, requests=4.0, refreshes=1, erasures=1, kills=1)
    found = run(tmp_path, f"sqlite:///{tmp_path}/log.sqlite", plan)
    events, requests = found["events"], found["requests"]
    assert found["problems"] == []
    assert requests["answered"] > 0 and sum(found["kills"].values()) == 1
    assert sorted((act["what"], act["code"]) for act in found["acts"]) == [("erase", 0), ("refresh", 0)]
    assert events["gated"]["2"] >= 100
