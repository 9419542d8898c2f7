"""Pytest hook that puts the files which take longest first.

`make test` gives each worker a file at a time in order of collection: a long file that begins last keeps one worker
busy while the others have nothing left.
"""

from pathlib import Path

import pytest

LONGEST = (
    "replay/test_scenarios.py",
    "replay/test_known_regions.py",
    "long_soak/test_short.py",
    "replay/test_honesty.py",
    "consumers/test_processes.py",
    "replay/test_commands.py",
    "consumers/test_stock_client_lockstep.py",
    "test_wheel.py",
    "replay/test_ablations.py",
    "models/backbones/test_packaged.py",
    "replay/test_run_files.py",
    "consumers/test_broker_faults.py",
    "models/lora/test_batched_forward.py",
    "benchmarks/test_freshness_benchmark.py",
    "upgrade/test_upgrade.py",
    "consumers/test_live.py",
    "consumers/test_small_disk.py",
    "replay/test_trainings.py",
    "setup/test_training.py",
    "benchmarks/test_consume_benchmark.py",
    "streams/test_kafka_cluster.py",
    "streams/test_kafka_log.py",
    "consumers/test_mixed_producers.py",
    "replay/test_device.py",
    "replay/test_language_model.py",
    "evaluation/test_report.py",
    "server/test_serve_command.py",
    "server/test_page.py",
    "streams/test_laws.py",
    "replay/test_baselines.py",
    "consumers/test_erasure.py",
    "consumers/test_gate_faults.py",
    "consumers/test_pseudonyms.py",
    "server/test_canary.py",
    "benchmarks/test_setup_memory_benchmark.py",
    "replay/test_continual_run.py",
    "consumers/test_gate_and_trainer.py",
    "consumers/test_text_format.py",
    "consumers/test_stock_client.py",
    "replay/test_evictions.py",
)
"""Files that take longest, the longest first, by the durations of a run on two cores."""

PLACES = {Path(__file__).parent / name: place for place, name in enumerate(LONGEST)}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the tests of the longest files first; all others stay in their order."""
    items.sort(key=lambda item: PLACES.get(item.path, len(PLACES)))
