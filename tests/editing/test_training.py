"""Training of candidates: their windows, their start, their cost and their weight."""

from dataclasses import replace
from typing import NamedTuple, cast

import numpy as np
import pytest
import torch

from pipeline.config import AdapterSettings, Config, load_config
from pipeline.editing.training import ADAPTER_WEIGHTS, AdapterTrainer, Candidate
from pipeline.editing.workspace import Workspace
from pipeline.events.edit import Edit, Operation
from pipeline.events.existence import Existence
from pipeline.events.windows import Windows
from pipeline.models.lora.host import AdapterHost
from pipeline.models.open_catalogue import OpenCatalogue
from pipeline.regions.region import Origin
from tests.models.backbones.small import ITEMS, small_backbone, small_catalogue, successor_windows
from tests.regions.test_bank import region

REASON = {"signal": "loss", "statistic": 14.2, "threshold": 13.8, "text": "because"}
EDIT = Edit("0" * 24, Operation.ADD, 3, None, 0, 0, REASON, (), (), 1_000, 1.6e9, 7, passes=2)
PARENT = region(3, 2, Origin.STREAM, "r0003_v0001", adapter_weight=0.6)


def learned() -> Windows:
    return successor_windows(40, seed=1)


def judged() -> Windows:
    return successor_windows(10, seed=2)


class Known(NamedTuple):
    """The part of a workspace that training asks for: every item of the small catalogue, and a host."""

    host: AdapterHost
    catalogue: OpenCatalogue
    existence: Existence


@pytest.fixture
def known() -> Workspace:
    host = AdapterHost(small_backbone("sasrec"), AdapterSettings(rank=2))
    return cast(Workspace, Known(host, OpenCatalogue(small_catalogue(), None), Existence.of_all(ITEMS)))


def test_the_cost_counts_each_pass_and_the_incumbent_stays_as_it_was(known: Workspace) -> None:
    trainer = AdapterTrainer(Config(), known)
    first = trainer.train(EDIT, 1, learned(), judged(), None)
    before = known.host.tensors(first.name)
    second = trainer.train(replace(EDIT, passes=3), 2, learned(), judged(), PARENT)
    assert (first.name, second.name) == ("r0003_v0001", "r0003_v0002")
    assert (first.trained_windows, second.trained_windows) == (2 * 40, 3 * 40)
    assert all(np.array_equal(value, before[name]) for name, value in known.host.tensors(first.name).items())


def test_a_training_that_promises_nothing_ends_after_its_trial(known: Workspace) -> None:
    trials: list[Candidate] = []

    def promises(candidate: Candidate) -> bool:
        trials.append(candidate)
        return False

    # An eighth of 8 steps of 64 windows: two passes over 40.
    trainer = AdapterTrainer(load_config(overrides=["edits.add_steps=8", "training.batch_size=64"]), known)
    found = trainer.train(replace(EDIT, passes=20), 1, learned(), judged(), None, promises)
    assert (found.trained_windows, found.stopped) == (2 * 40, True)
    assert [trial.trained_windows for trial in trials] == [2 * 40]
    assert trials[0].weight == found.weight
    short = trainer.train(EDIT, 2, learned(), judged(), None, promises)
    assert (short.trained_windows, short.stopped, len(trials)) == (2 * 40, False, 1)


def test_a_training_that_promises_something_is_as_without_a_trial(known: Workspace) -> None:
    trainer = AdapterTrainer(load_config(overrides=["edits.add_steps=8"]), known)
    edit, trials = replace(EDIT, passes=8), list[Candidate]()
    tried = trainer.train(edit, 1, learned(), judged(), None, lambda trial: trials.append(trial) or True)
    assert trials
    tensors, vectors = known.host.tensors(tried.name), known.host.vectors(tried.name).clone()
    known.host.drop(tried.name)
    untried = trainer.train(edit, 1, learned(), judged(), None)
    assert tried == untried
    assert not tried.stopped
    assert all(np.array_equal(value, tensors[name]) for name, value in known.host.tensors(untried.name).items())
    assert torch.equal(known.host.vectors(untried.name), vectors)


def test_the_weight_is_averaged_with_that_of_the_incumbent(known: Workspace) -> None:
    trainer = AdapterTrainer(Config(), known)
    alone = trainer.train(EDIT, 1, learned(), judged(), None)
    assert alone.weight in ADAPTER_WEIGHTS
    after = trainer.train(EDIT, 2, learned(), judged(), PARENT)
    assert any(after.weight == pytest.approx((0.6 + best) / 2) for best in ADAPTER_WEIGHTS)


def test_training_windows_are_chosen_with_the_seed_of_edit_and_version(known: Workspace) -> None:
    seeds = []

    def half(windows: Windows, seed: tuple[int, int]) -> Windows:
        seeds.append(seed)
        return windows[slice(0, len(windows) // 2)]

    trainer = AdapterTrainer(Config(), known, half)
    assert trainer.train(EDIT, 5, learned(), judged(), None).trained_windows == 2 * 20
    assert seeds == [(7, 5)]
