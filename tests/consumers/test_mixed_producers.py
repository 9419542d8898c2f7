"""The short form of `tests.consumers.mixed_producers`."""

from pathlib import Path

from tests.broker import settings
from tests.consumers.mixed_producers import PARTITIONS, run


def test_three_clients_two_gates_kills_and_a_rebalance_leave_one_state_a_user(kafka_url: str, tmp_path: Path) -> None:
    found = run(tmp_path, settings(url=kafka_url, partitions=PARTITIONS), events=2_000, kills=2, limit=180.0)
    # A third of the events is on its partition, by murmur2, and a quarter of the others by chance.
    assert 800 < found["sent_on"] < 1_200
