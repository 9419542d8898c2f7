"""The table of signals: seeds that no new row changes, and a row that is all that a new signal takes."""

import itertools
import json
from typing import Any

import pytest

from pipeline.config import Config
from pipeline.events.edit import Operation
from pipeline.monitor import signals
from pipeline.monitor.pending_alarms import Wait, pending_alarms
from pipeline.monitor.signals import SIGNALS, Kind, Overlap, Signal, detector_seed, in_use
from pipeline.monitor.snapshot import restore, snapshot
from pipeline.regions.region import Origin
from tests.monitor.test_monitor import STRANGE, Driven, config

NAMES = ("novelty", "doubt", "loss", "rarity", "shift")
SETUP_ONLY = ("rarity", "shift")
POPULAR = Signal("popular", Kind.NEW, score=lambda event, _: event.model_rank, origins=(Origin.BASE,))


def with_popular(monkeypatch: pytest.MonkeyPatch, signal: Signal = POPULAR, first: bool = False) -> Config:
    """Settings of a monitor with a sixth signal, switched on."""
    monkeypatch.setattr(signals, "SIGNALS", (signal, *SIGNALS) if first else (*SIGNALS, signal))
    settings = config()
    return settings.model_copy(update={"monitor": settings.monitor.model_copy(update={signal.name: True})})


def states(driven: Driven) -> dict[int, dict[str, Any]]:
    """Detectors of the five signals as they stand."""
    return {
        region_id: {name: [d.state() for d in region.detectors[name]] for name in NAMES if name in region.detectors}
        for region_id, region in driven.monitor.state.regions.items()
    }


def test_the_table_holds_the_signals_that_settings_switch() -> None:
    assert tuple(signal.name for signal in SIGNALS) == NAMES
    settings = config().monitor
    assert all(getattr(settings, name) is True for name in NAMES)


@pytest.mark.parametrize("off", [*itertools.combinations(NAMES, 1), ("novelty", "loss"), ("doubt", "rarity"), ()])
@pytest.mark.parametrize("origin", Origin)
def test_the_five_signals_keep_their_seeds(origin: Origin, off: tuple[str, ...]) -> None:
    used = in_use(config().monitor.model_copy(update=dict.fromkeys(off, False)), origin)
    voting = [name for name in NAMES if name not in off and (name not in SETUP_ONLY or origin == Origin.BASE)]
    assert [signal.name for signal in used] == voting
    for seed, region_id, phase in itertools.product((0, 1, 42), (1, 2, 17), (0, 1)):
        for signal in used:
            expected = seed * 1000 + region_id * 5 * 2 + voting.index(signal.name) * 2 + phase
            assert detector_seed(seed, region_id, signal, phase, used) == expected


@pytest.mark.parametrize("first", [True, False])
def test_a_new_signal_gets_a_seed_of_its_name_and_leaves_the_others(
    monkeypatch: pytest.MonkeyPatch, first: bool
) -> None:
    before = {s.name: detector_seed(3, 4, s, 0, in_use(config().monitor, Origin.BASE)) for s in SIGNALS}
    used = in_use(with_popular(monkeypatch, first=first).monitor, Origin.BASE)
    assert len(used) == 6
    after = {s.name: detector_seed(3, 4, s, 0, used) for s in used}
    own = after.pop("popular")
    assert after == before
    others = {detector_seed(seed, region_id, POPULAR, 0, used) for seed in range(3) for region_id in range(1, 50)}
    assert len(others) == 3 * 49
    assert own == detector_seed(3, 4, POPULAR, 0, [POPULAR]), "it does not depend on what else is in use"


def test_a_new_signal_changes_no_statistic_of_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    def drive(settings: Config) -> Driven:
        driven = Driven(settings)
        driven.feed(100)
        driven.feed(200, verdict=lambda e: e.operation is Operation.ADD, loss_in_1=STRANGE)
        return driven

    five, six = drive(config()), drive(with_popular(monkeypatch))
    assert "popular" in six.monitor.state.regions[1].detectors
    assert states(six) == states(five)
    assert six.monitor.separabilities() == five.monitor.separabilities()
    assert six.edits == five.edits != []


def test_one_row_is_all_that_a_signal_of_new_behaviour_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    driven = Driven(with_popular(monkeypatch))
    driven.feed(100)
    (edit,) = driven.feed(100, model_rank_in_2=500)
    assert (edit.operation, edit.reason["signal"], edit.reason["regions"]) == (Operation.ADD, "popular", [2])
    (alarm,) = pending_alarms(driven.monitor)
    assert (alarm.signal, alarm.waits_for) == ("popular", Wait.EDIT)
    restored = Driven(driven.settings)
    restore(restored.monitor, json.loads(json.dumps(snapshot(driven.monitor))), driven.bank)
    assert snapshot(restored.monitor) == snapshot(driven.monitor)
    driven.settle(edit, published=True)
    assert driven.monitor.state.regions[2].detectors["popular"][0].seen == 0


def test_one_row_is_all_that_a_signal_between_regions_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    unsure = Signal("unsure", Kind.BETWEEN, score=lambda event, _: -event.confidence, overlap=Overlap.EVERY_EVENT)
    driven = Driven(with_popular(monkeypatch, unsure))
    driven.feed(100)
    (edit,) = driven.feed(100, confidence_in_1=0.1)
    assert (edit.operation, edit.reason["signal"]) == (Operation.EXPAND, "unsure")
    assert (edit.region_id, edit.other_region_id) == (1, 2)


def test_a_state_from_before_a_signal_was_added_restores(monkeypatch: pytest.MonkeyPatch) -> None:
    old = Driven()
    old.feed(100)
    state = json.loads(json.dumps(snapshot(old.monitor)))
    driven = Driven(with_popular(monkeypatch))
    restore(driven.monitor, state, old.bank)
    driven.rng, driven.shown = old.rng, list(old.shown)
    (edit,) = driven.feed(100, loss_in_1=STRANGE)
    driven.settle(edit, published=True)
    assert driven.monitor.state.regions[1].detectors["popular"][0].seen == 0
