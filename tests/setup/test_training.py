"""Training in set-up: by LoRA or of all weights, in less memory, and over a kill to the same bytes."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from pipeline.config import Config, load_config
from pipeline.errors import DataError
from pipeline.events.windows import Windows
from pipeline.models.backbones.base import fingerprint
from pipeline.models.backbones.factory import build_backbone
from pipeline.models.placement import PRECISIONS
from pipeline.setup.checkpoint import FILE
from pipeline.setup.training import train_backbone
from tests.models.backbones.small import LENGTH, scores, small_catalogue, successor_windows, tiny_llama
from tests.replay.small import SET, emerging, raie

LEARNED, HELD_OUT = successor_windows(160, 0), successor_windows(40, 1)


def settings(*overrides: str, kind: str = "causal_lm") -> Config:
    model = (f"backbone.model={tiny_llama()}",) if kind == "causal_lm" else ()
    shape = (f"backbone.kind={kind}", *model, "backbone.hidden_size=16", f"windows.length={LENGTH}")
    training = ("setup.batch_size=32", "setup.max_epochs=4", "setup.learning_rate=0.02", "compute.precision=float32")
    return load_config(overrides=[*shape, *training, *overrides])


def trained(config: Config, checkpoint: Path | None = None, **kwargs):
    return trained_on(LEARNED, config, checkpoint, **kwargs)


def trained_on(learned: Windows, config: Config, checkpoint: Path | None = None, **kwargs):
    backbone = build_backbone(config.backbone, LENGTH, small_catalogue(), 0)
    return backbone, train_backbone(backbone, config, learned, HELD_OUT, 0, checkpoint=checkpoint, **kwargs)


class Killed(Exception):
    pass


def killed_after(epochs: int):
    """Progress that ends the training within the epoch after so many."""

    def on_batch(done: int, _: int) -> None:
        if done == epochs * 5 + 2:
            raise Killed

    return on_batch


def test_lora_learns_and_leaves_a_plain_frozen_backbone():
    config = settings("setup.train=lora", "setup.max_epochs=1")
    backbone, _ = trained_on(successor_windows(2_000, 2), config)
    best = scores(backbone, torch.from_numpy(HELD_OUT.contexts))[:, 1:].argmax(dim=1) + 1
    assert (best.numpy() == HELD_OUT.targets).mean() > 0.9
    assert not any(parameter.requires_grad for parameter in backbone.parameters())
    whole, _ = trained(settings("setup.max_epochs=1"))
    assert set(backbone.state_dict()) == set(whole.state_dict())
    assert not any(module._forward_hooks for module in backbone.modules())


def test_lora_leaves_everything_but_its_layers_and_the_items_as_it_was():
    start = {}

    def keep(backbone, *_) -> None:
        start.update({name: tensor.clone() for name, tensor in backbone.state_dict().items()})

    backbone, _ = trained(settings("setup.train=lora"), on_built=keep)
    moved = {name for name, tensor in backbone.state_dict().items() if not torch.equal(tensor, start[name])}
    assert moved == {name for name in start if name.startswith("items.") or "_proj." in name}


@pytest.mark.parametrize("precision", list(PRECISIONS))
@pytest.mark.parametrize("train", ["all", "lora"])
def test_the_frozen_weights_take_the_precision(precision, train):
    backbone, _ = trained(settings(f"setup.train={train}", f"compute.precision={precision}"))
    assert backbone.precision == backbone.start.dtype == PRECISIONS[precision]
    assert backbone.items.rows.weight.dtype == torch.float32


@pytest.mark.parametrize("train", ["all", "lora"])
def test_activations_that_are_computed_again_change_no_bit(train):
    expected, _ = trained(settings(f"setup.train={train}"))
    found, _ = trained(settings(f"setup.train={train}", "setup.gradient_checkpointing=true"))
    assert fingerprint(found, "") == fingerprint(expected, "")


@pytest.mark.parametrize("kind", ["causal_lm", "sasrec"])
def test_a_step_in_parts_is_the_step_up_to_rounding(kind):
    once = ("setup.max_epochs=1", "backbone.dropout=0")
    expected, _ = trained(settings(*once, kind=kind))
    found, _ = trained(settings("setup.accumulation=5", *once, kind=kind))
    for name, tensor in expected.state_dict().items():
        difference = (found.state_dict()[name] - tensor).abs()
        assert difference.max() < 2e-2, name
        assert difference.mean() < 5e-4, name


@pytest.mark.parametrize("kind", ["causal_lm", "sasrec"])
@pytest.mark.parametrize("epochs", [0, 1, 3])
def test_an_interrupted_training_goes_on_to_the_same_bytes(kind, epochs, tmp_path):
    config = settings(kind=kind)
    expected, recalls = trained(config)
    with pytest.raises(Killed):
        trained(config, tmp_path, on_batch=killed_after(epochs))
    assert (tmp_path / FILE).exists() == (epochs > 0)
    steps = []
    found, again = trained(config, tmp_path, on_batch=lambda done, _: steps.append(done))
    assert steps == list(range(epochs * 5 + 1, 21))
    assert fingerprint(found, "") == fingerprint(expected, "")
    assert again == recalls


BY_LORA = ("setup.train=lora", "compute.precision=bfloat16", "setup.accumulation=2")
IMPATIENT = ("setup.patience=1", "setup.max_epochs=30", "setup.learning_rate=0.05")


@pytest.mark.parametrize(("given", "left"), [(BY_LORA, 2), (IMPATIENT, 1)], ids=["by lora", "before it stops early"])
def test_factors_patience_and_the_best_epoch_go_on_too(given, left, tmp_path):
    config = settings(*given)
    expected, recalls = trained(config)
    with pytest.raises(Killed):
        trained(config, tmp_path, on_batch=killed_after(len(recalls) - left))
    found, again = trained(config, tmp_path)
    assert fingerprint(found, "") == fingerprint(expected, "")
    assert again == recalls


@pytest.mark.parametrize("changed", ["setup.learning_rate=0.01", "backbone.layers=1", "setup.train=lora"])
def test_a_checkpoint_of_other_settings_is_refused(changed, tmp_path):
    with pytest.raises(Killed):
        trained(settings(), tmp_path, on_batch=killed_after(1))
    with pytest.raises(
        DataError, match=r"checkpoint of a set-up with other settings, data, teacher or package versions"
    ):
        trained(settings(changed), tmp_path)


def test_a_checkpoint_of_other_data_is_refused(tmp_path):
    with pytest.raises(Killed):
        trained(settings(), tmp_path, on_batch=killed_after(1))
    with pytest.raises(DataError, match="to begin anew"):
        trained_on(LEARNED[:-1], settings(), tmp_path)


def test_a_damaged_checkpoint_is_refused_by_name(tmp_path):
    (tmp_path / FILE).write_bytes(b"\x80\x04pickle")
    with pytest.raises(DataError, match=rf"{FILE} cannot be read"):
        trained(settings(), tmp_path)


def _setup(log: Path, root: Path) -> list[str]:
    more = ("setup.max_epochs=8", "setup.patience=8", "setup.batch_size=32")
    options = [*SET, *(word for setting in more for word in ("--set", setting))]
    return ["setup", "--data", str(log), "--out", str(root), *options]


def test_a_set_up_that_was_killed_ends_with_the_same_files(capsys, tmp_path):
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    assert raie(capsys, *_setup(emerging(), tmp_path / "whole")).code == 0
    command = [sys.executable, "-m", "consumers.cli.main", *_setup(emerging(), tmp_path / "root")]
    with subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        path = tmp_path / "root" / ".training" / FILE
        while not path.exists() and process.poll() is None:
            time.sleep(0.005)
        process.send_signal(signal.SIGKILL)
    assert path.exists(), "the set-up ended before it could be killed"
    ended = subprocess.run(command, check=True, env=environment, capture_output=True, text=True)
    assert "going on from the checkpoint of an interrupted set-up" in ended.stderr.replace("\n", " ")
    files = {
        name: {p.relative_to(tmp_path / name): p.read_bytes() for p in (tmp_path / name).rglob("*") if p.is_file()}
        for name in ("whole", "root")
    }
    assert files["root"] == files["whole"]
    assert not (tmp_path / "root" / ".training").exists()
    recalls = json.loads((tmp_path / "root" / "regions.json").read_text())["recalls"]
    assert len(recalls) == 8
    assert np.isfinite(recalls).all()
