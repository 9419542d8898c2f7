"""The benchmark of scale puts its parts together: turns, sums over gates, and ratios."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from benchmarks import scale, users


def test_parts_are_measured_in_turns_and_have_ratios(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    starts: Iterator[float] = iter([8.0, 4.0, 2.0, 1.0])
    events: Iterator[float] = iter([100.0, 110.0, 100.0, 110.0])

    def child(_: Path, part: str, *__: str) -> Any:
        return next(events) if part == "events" else {"seconds": next(starts), "memory_mb": 1}

    def started(part: str, *arguments: object) -> Callable[[], Any]:
        if part == "regions":
            return lambda: 10.0 * int(str(arguments[0]))
        # Each of two gates does a little more than half of the work.
        gates = int(str(arguments[3]))
        return lambda: {"handled": 1_000.0 / gates + 25.0 * (gates - 1), "log": 200.0}

    monkeypatch.setattr(users, "_child", child)
    monkeypatch.setattr(scale, "_started", started)
    monkeypatch.setattr(scale, "_wait_for", lambda _: None)
    monkeypatch.setattr(scale, "prepared", lambda _: ["a", "b", "c"])
    few = ["--few", "10", "--many", "20", "--users", "30", "--changed", "5", "--events", "10", "--repeats", "2"]
    scale.main([*few, "--few-regions", "2", "--regions", "3"])
    found = json.loads(capsys.readouterr().out)
    assert found["users"] == {"few": 100, "many": 110}
    assert found["regions"] == {"2": 20.0, "3": 30.0}
    assert found["gates"] == {"1": {"handled": 100, "log": 20}, "2": {"handled": 105, "log": 40}}
    assert found["ratios"] == {
        "users": 1.1,
        "regions": 1.5,
        "gates": 1.05,
        "restart_gate": 0.25,
        "restart_server": 0.25,
    }
