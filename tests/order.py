"""Pytest hook that puts the files which take longest first.

`make test` gives each worker a file at a time in order of collection: a long file that begins last keeps one worker
busy while the others have nothing left.
"""

from pathlib import Path

import pytest

LONGEST = (
    "replay/test_scenarios.py",
    "replay/test_known_regions.py",
    "replay/test_ablations.py",
    "test_wheel.py",
    "consumers/test_processes.py",
    "replay/test_commands.py",
    "replay/test_trainings.py",
    "replay/test_run_files.py",
    "benchmarks/test_consume_benchmark.py",
    "consumers/test_broker_faults.py",
    "replay/test_continual_run.py",
    "models/backbones/test_packaged.py",
    "consumers/test_stock_client_lockstep.py",
    "upgrade/test_upgrade.py",
    "benchmarks/test_setup_memory_benchmark.py",
    "replay/test_language_model.py",
    "replay/test_device.py",
    "benchmarks/test_freshness_benchmark.py",
    "consumers/test_live.py",
    "setup/test_training.py",
    "streams/test_kafka_cluster.py",
    "server/test_serve_command.py",
    "replay/test_evictions.py",
)
"""Files that take longest, the longest first, by the durations of a run on two cores."""

PLACES = {Path(__file__).parent / name: place for place, name in enumerate(LONGEST)}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the tests of the longest files first; all others stay in their order."""
    items.sort(key=lambda item: PLACES.get(item.path, len(PLACES)))
