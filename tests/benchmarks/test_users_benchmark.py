"""The benchmarks of users run."""

import json

import pytest

from benchmarks import user_stores, users


def test_restarts_and_events_are_measured(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    parts = {"gate": {"seconds": 2.0, "memory_mb": 1}, "server": {"seconds": 4.0, "memory_mb": 1}, "events": 7.0}
    monkeypatch.setattr(users, "_child", lambda _, part, *__: parts[part])
    small = ["--few", "10", "--many", "20", "--events", "5", "--repeats", "1"]
    users.main(["--users", "30", "--changed", "5", *small])
    found = json.loads(capsys.readouterr().out)
    assert found["gate"]["restart"] == parts["gate"]
    assert found["ratios"] == {"gate": 1.0, "server": 1.0, "event": 1.0, "event_less_cached": 1.0}


def test_stores_that_are_installed_are_compared(capsys: pytest.CaptureFixture[str]) -> None:
    user_stores.main(["--users", "2000"])
    found = json.loads(capsys.readouterr().out)
    assert found["stores"]["sqlite"]["read_us"] > 0.0
    assert set(found["ratios"]) == ({"read_us", "write_us"} if len(found["stores"]) > 1 else set())
