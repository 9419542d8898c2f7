from pathlib import Path

import pytest

from pipeline.errors import LogError
from pipeline.evaluation.replay import replay
from pipeline.events.windows import Windows
from pipeline.setup.artifacts import SetUp
from pipeline.strategies.baselines.static import Static
from pipeline.strategies.raie.replayed import Raie
from pipeline.strategies.registry import STRATEGIES
from tests.replay.conftest import silent
from tests.replay.small import config, context_of, dataset, plan


def test_a_replay_closes_every_strategy_even_one_that_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    closed: list[str] = []

    class Closing(Static):
        def close(self) -> None:
            closed.append(self.name)

    class Failing(Closing):
        def observe(self, windows: Windows) -> None:  # type: ignore[override]
            raise RuntimeError(f"{len(windows)} windows are too many")

    monkeypatch.setitem(STRATEGIES, "static", Closing)
    replay(dataset(), config(), ["static"], 2, tmp_path / "one", silent, lambda: 0.0)
    assert closed == ["static"] * 2
    monkeypatch.setitem(STRATEGIES, "static", Failing)
    with pytest.raises(RuntimeError, match="too many"):
        replay(dataset(), config(), ["static"], 1, tmp_path / "two", silent, lambda: 0.0)
    assert closed == ["static"] * 3


def test_raie_closes_its_log(setup: SetUp, tmp_path: Path) -> None:
    raie = Raie(context_of(setup, tmp_path))
    raie.observe(plan().stream[slice(0, 10)])
    raie.close()
    with pytest.raises(LogError):
        raie.observe(plan().stream[slice(10, 20)])
