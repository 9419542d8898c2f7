"""RecICL: examples with labels are read, dislikes among them, and nothing is trained after set-up."""

import json
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

from pipeline.config import BackboneSettings
from pipeline.datasets.dataset import read_dataset
from pipeline.evaluation.protocols import Plan, labelled_contexts_of, plan_replay
from pipeline.evaluation.replay import prepare
from pipeline.evaluation.replay_inputs import encoder_of
from pipeline.models.backbones.examples_lm import ExamplesLM
from pipeline.models.backbones.factory import build
from pipeline.models.catalogue import make_catalogue
from pipeline.setup.bootstrap import set_up
from pipeline.strategies.base import StrategyContext
from pipeline.strategies.baselines.recicl import RecICL
from pipeline.strategies.baselines.static import Static
from tests.models.backbones.small import CONTEXTS, EMPTY, LENGTH, TITLES, settings_of, small_catalogue
from tests.replay.small import SET, config, emerging, raie, rated, reading

SETTINGS = config(*(f"backbone.{name}={value}" for name, value in reading().items()), "data.positive_from=3")
CHOSEN = tuple(f"backbone.{name}={value}" for name, value in reading().items())


def examples_model() -> ExamplesLM:
    settings: BackboneSettings = settings_of("causal_lm_text")
    return build(ExamplesLM, settings, LENGTH, small_catalogue(TITLES), seed=0)


@torch.inference_mode()
def test_each_item_has_a_label_between_its_text_and_its_vector() -> None:
    model = examples_model()
    yes, no = model.labels[1].item(), model.labels[0].item()
    assert yes != no
    embeddings, vectors = model.decoder.get_input_embeddings().weight, model.items.all()
    opening = [model.start, *embeddings[model.instruction]]
    liked, disliked = model.tokens[1].tolist()[:1], model.tokens[2].tolist()[:2]
    read = [*opening, *embeddings[[*liked, yes]], vectors[1], *embeddings[[*disliked, no]], vectors[2]]
    expected = model.decoder(inputs_embeds=torch.stack(read)[None]).last_hidden_state[0, -1]
    found = model(torch.tensor([[0, 0, 0, 1, -2]]))[0][0, -1]
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)


@torch.inference_mode()
def test_a_dislike_is_read_differently_and_an_empty_window_has_an_answer() -> None:
    model = examples_model()
    windows = torch.cat([EMPTY, CONTEXTS])
    before, after = model(windows)[0], model(torch.cat([windows[:, :-1], -windows[:, -1:]], dim=1))[0]
    assert before.isfinite().all()
    torch.testing.assert_close(before[:, :-1], after[:, :-1], rtol=1e-5, atol=1e-5)
    assert ((before - after)[:, -1].abs().amax(dim=1) > 1e-4).tolist() == [False, *[True] * len(CONTEXTS)]


def start(folder: Path) -> tuple[StrategyContext, Plan]:
    dataset = read_dataset(rated(1_000))
    plan, known = plan_replay(dataset, SETTINGS), prepare(dataset, SETTINGS, lambda *_: None)[1]
    encoder = encoder_of(SETTINGS.items, lambda *_: None, 0)
    every = make_catalogue(plan.timeline.item_ids, dataset.items, encoder)
    setup = set_up(SETTINGS, known, plan.setup, 0)
    common = (setup, SETTINGS, plan.setup, 0, folder, plan.timeline, dataset.items, every, encoder)
    return StrategyContext(*common, labelled=partial(labelled_contexts_of, dataset, SETTINGS, plan)), plan


def test_it_reads_dislikes_learns_nothing_and_ranks_as_others_do(tmp_path: Path) -> None:
    context, plan = start(tmp_path)
    strategy = RecICL(context)
    assert context.labelled is not None
    labelled = context.labelled().rows
    assert (labelled < 0).mean() > 0.05
    before = {name: value.clone() for name, value in strategy._model.state_dict().items()}
    first = strategy.observe(plan.stream)
    strategy.learn()
    assert strategy.trained_windows == 0
    assert all(torch.equal(value, before[name]) for name, value in strategy._model.state_dict().items())
    assert np.array_equal(strategy.score(plan.stream).ranks, first.ranks)
    likes = replace(context, labelled=lambda: replace(context.labelled(), rows=labelled.clip(min=0)))  # type: ignore[misc]
    assert not np.array_equal(RecICL(likes).observe(plan.stream).ranks, first.ranks)
    assert ((first.ranks == 0) == (plan.stream.targets > context.timeline.setup_items)).mean() > 0.5


def test_over_labelled_examples_the_frozen_backbone_is_the_same(tmp_path: Path) -> None:
    """The windows of a plan in that format are those that the strategy makes beside any other."""
    dataset = read_dataset(rated(1_000))
    settings = config(
        *(f"backbone.{name}={value}" for name, value in reading("examples").items()), "data.positive_from=3"
    )
    plan, known = plan_replay(dataset, settings), prepare(dataset, settings, lambda *_: None)[1]
    every = make_catalogue(plan.timeline.item_ids, dataset.items, encoder_of(settings.items, lambda *_: None, 0))
    setup = set_up(settings, known, plan.setup, 0)
    common = (setup, settings, plan.setup, 0, tmp_path, plan.timeline, dataset.items, every, None)
    context = StrategyContext(*common, labelled=partial(labelled_contexts_of, dataset, settings, plan))
    found, expected = RecICL(context).observe(plan.stream), Static(context).observe(plan.stream)
    assert (plan.stream.contexts < 0).mean() > 0.05
    assert np.array_equal(found.ranks, expected.ranks)


def test_another_backbone_is_refused_before_the_log_is_read(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    ended = raie(capsys, "replay", "--data", emerging(), "--out", tmp_path / "run", "--strategies", "static,recicl")
    assert ended.code != 0
    assert "recicl reads texts, and backbone.kind is sasrec" in ended.err


def test_it_has_a_row_beside_the_others(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    settings = tuple(word for setting in CHOSEN for word in ("--set", setting))
    command = ("replay", "--data", emerging(1_000), "--out", tmp_path / "run", "--strategies", "static,recicl")
    ended = raie(capsys, *command, *SET, *settings)
    assert ended.code == 0
    found = json.loads((tmp_path / "run" / "metrics.json").read_text())["strategies"]
    assert found["recicl"]["coverage"] == found["static"]["coverage"] > 0.9
