"""Scoring of events while items arrive."""

import copy
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from adapters_store import AdaptersStore
from pipeline.events.existence import Existence
from pipeline.events.gated import GatedEvent
from pipeline.events.windows import History, Windows, no_earlier
from pipeline.models.lora.host import AdapterHost
from pipeline.models.open_catalogue import OpenCatalogue
from pipeline.models.text import open_text_encoder
from pipeline.recommend.event_scorer import EventScorer
from pipeline.regions.live import LiveRegions
from pipeline.setup.artifacts import SetUp
from tests.replay.small import config

Taken = tuple[str, History]
"""Target and history of an event."""


def scorer(setup: SetUp, folder: Path) -> EventScorer:
    catalogue = OpenCatalogue(setup.catalogue, open_text_encoder("hashing", None))
    host = AdapterHost(copy.deepcopy(setup.backbone), config().adapter)
    live = LiveRegions(setup.bank, host, AdaptersStore(folder), setup.backbone_sha256, catalogue)
    return EventScorer(setup, config(), live, catalogue)


def handled(of: EventScorer, events: Sequence[Taken], first: int = 0) -> list[GatedEvent]:
    """Events as a gate passes them on, one a second."""
    catalogue, n = of.catalogue, len(events)
    moments = np.arange(first, first + n, dtype=np.float64)
    changes = catalogue.pass_events(moments.tolist(), [target for target, _ in events])
    of.follow()
    histories = [history for _, history in events]
    contexts, since = catalogue.contexts(histories, config().windows.length)
    names = np.array([f"e{first + i}" for i in range(n)])
    targets = np.array(catalogue.known_rows(target for target, _ in events), dtype=np.int64)
    windows = Windows(contexts, targets, names, names, moments, since, np.arange(n), no_earlier(n))
    return of.handle(windows, Existence.after(catalogue.existing(), changes, n), histories)


def known(setup: SetUp, count: int, seed: int = 0) -> list[str]:
    return np.random.default_rng(seed).choice(setup.catalogue.item_ids, count).tolist()


def with_arrivals(setup: SetUp, n: int, seed: int) -> list[Taken]:
    """Events of which a third take one of a few items that set-up lacks, as do their histories."""
    rng, names = np.random.default_rng(seed), [f"new{seed}-{i}" for i in range(n // 8)]
    drawn = [
        rng.choice(names) if rng.random() < 1 / 3 else known(setup, 1, int(rng.integers(1e6)))[0] for _ in range(n)
    ]
    return [(target, History(tuple(drawn[max(0, i - 3) : i]), min(i, 2))) for i, target in enumerate(drawn)]


def test_a_first_interaction_is_a_miss_and_the_next_one_is_not(setup: SetUp, tmp_path: Path) -> None:
    gate, (one, two) = scorer(setup, tmp_path), known(setup, 2)
    first, other, second = handled(gate, [("new", History((one,), 1)), (two, History()), ("new", History((two,), 1))])
    assert (first.rank, first.model_rank, first.loss, first.backbone_probability) == (0, 0, None, None)
    assert first.online is not None and first.online.probability is None and first.online.candidates is None
    assert not first.is_scored
    assert second.rank >= 1 and second.model_rank >= 1 and other.rank >= 1
    assert second.loss is not None and second.loss > 0.0
    assert GatedEvent.from_record(first.to_record(), ()).to_record() == first.to_record()


def test_the_loss_of_a_known_target_does_not_depend_on_who_else_has_come(setup: SetUp, tmp_path: Path) -> None:
    alone, among = scorer(setup, tmp_path / "one"), scorer(setup, tmp_path / "two")
    for number in range(200):
        among.catalogue.take(f"unrelated{number}")
    target, *window = known(setup, 4)
    (before,), (after,) = (handled(gate, [(target, History(tuple(window), 2))]) for gate in (alone, among))
    assert after.loss == pytest.approx(before.loss, abs=1e-6)
    assert before.backbone_probability is not None and after.backbone_probability is not None
    assert after.backbone_probability < before.backbone_probability * (1.0 - 1e-3)


def test_a_gate_that_learns_its_events_again_goes_on_to_the_bit(setup: SetUp, tmp_path: Path) -> None:
    gate, again = scorer(setup, tmp_path / "one"), scorer(setup, tmp_path / "two")
    came = with_arrivals(setup, 48, 1)
    events = [
        event for first in (0, 20, 33) for event in handled(gate, came[first : {0: 20, 20: 33, 33: 48}[first]], first)
    ]
    assert {event.is_scored for event in events} == {True, False}
    for part in (events[:20], events[20:33], events[33:]):
        changes = again.catalogue.pass_events([e.timestamp for e in part], [e.target for e in part])
        again.follow()
        existence = Existence.after(again.catalogue.existing(), changes, len(part))
        again.learn_again([GatedEvent.from_record(e.to_record(), ()) for e in part], existence)
    assert gate.online is not None and again.online is not None
    learned, relearned = gate.online.to_arrays(), again.online.to_arrays()
    assert learned["eras"].any() or not any(e.opened for e in events)
    for name, value in learned.items():
        np.testing.assert_array_equal(relearned[name], value, err_msg=name)
    asked = with_arrivals(setup, 16, 2)
    assert handled(gate, asked, 48) == handled(again, asked, 48)
