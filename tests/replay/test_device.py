"""A whole replay on another device: on a fake one everywhere, on a GPU where `make test-gpu` is asked for it."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from pipeline.config import Config
from pipeline.datasets.dataset import read_dataset
from pipeline.errors import ConfigError
from pipeline.evaluation.predictions import read_predictions
from pipeline.evaluation.replay import prepare, replay
from pipeline.models.seeding import make_deterministic
from pipeline.setup.artifacts import SetUp
from pipeline.setup.bootstrap import set_up
from pipeline.setup.storage import load_setup, save_setup
from tests.fake_device import KIND, fake_device, on_fake_device
from tests.models.backbones.small import save_llama
from tests.replay.conftest import silent
from tests.replay.small import config, dataset, emerging, plan

STRATEGIES = ["static", "raie_no_trend", "retrain", "mole", "ebpr", "nearest"]


def replayed(settings: Config, out: Path) -> dict[str, np.ndarray]:
    """Ranks of each strategy, of events with a rank."""
    log = read_dataset(emerging(1_000))
    replay(log, settings, STRATEGIES, 1, out, silent, lambda: 0.0)
    found = read_predictions(out / "predictions.parquet")
    slices = plan(log=log).by_slice
    return {name: np.concatenate([found.get(name, 0, part).rank for part in slices]) for name in STRATEGIES}


def set_up_on(settings: Config) -> SetUp:
    return set_up(settings, prepare(dataset(), settings, silent)[1], plan().setup, seed=0)


def alike(found: dict[str, np.ndarray], expected: dict[str, np.ndarray]) -> None:
    """Last digits may change the order of near ties, and with it what is learned from then on."""
    for name in STRATEGIES:
        gains = [
            np.where(ranks > 0, 1.0 / np.log2(1.0 + np.maximum(ranks, 1)), 0.0)
            for ranks in (found[name], expected[name])
        ]
        assert abs(gains[0].mean() - gains[1].mean()) < 0.01, name
    assert (found["static"] == expected["static"]).mean() > 0.98


def test_a_replay_leaves_nothing_on_the_cpu(monkeypatch, tmp_path):
    expected = replayed(config(), tmp_path / "cpu")
    with fake_device(monkeypatch):
        found = replayed(on_fake_device(config()), tmp_path / "device")
    alike(found, expected)


def test_a_set_up_is_made_and_loaded_on_its_device(monkeypatch, tmp_path):
    settings = on_fake_device(config())
    with fake_device(monkeypatch):
        made = set_up_on(settings)
        save_setup(made, tmp_path / "root")
        loaded = load_setup(tmp_path / "root", settings.compute)
        assert {tensor.device.type for tensor in loaded.backbone.parameters()} == {KIND}
        assert loaded.backbone.items.text.device.type == KIND
    manifest = json.loads((tmp_path / "root" / "manifest.json").read_text())
    assert manifest["compute"] == {"device": KIND, "precision": "float32"}
    with pytest.raises(ConfigError, match=r"compute\.device: cpu here, and the set-up in .* was made with meta"):
        load_setup(tmp_path / "root", config("compute.device=cpu").compute)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_set_up_keeps_its_precision_and_refuses_the_other(precision, tmp_path):
    save_llama(tmp_path / "llama")
    language_model = ("backbone.kind=causal_lm", f"backbone.model={tmp_path / 'llama'}")
    made = set_up_on(config(*language_model, f"compute.precision={precision}"))
    save_setup(made, tmp_path / "root")
    loaded = load_setup(tmp_path / "root", config().compute)
    assert loaded.backbone.precision == getattr(torch, precision)
    assert loaded.backbone_sha256 == made.backbone_sha256
    other = {"float32": "bfloat16", "bfloat16": "float32"}[precision]
    with pytest.raises(ConfigError, match=rf"compute\.precision: {other} here, .* set compute\.precision={precision}"):
        load_setup(tmp_path / "root", config(f"compute.precision={other}").compute)


def test_a_set_up_keeps_its_quantisation_and_refuses_the_other(tmp_path):
    save_llama(tmp_path / "llama")
    language_model = ("backbone.kind=causal_lm", f"backbone.model={tmp_path / 'llama'}")
    made = set_up_on(config(*language_model, "compute.quantization=int8", "compute.precision=float32"))
    save_setup(made, tmp_path / "root")
    loaded = load_setup(tmp_path / "root", config().compute)
    assert loaded.backbone.quantization == "int8"
    assert loaded.backbone_sha256 == made.backbone_sha256
    assert loaded.backbone.weight_bytes == made.backbone.weight_bytes
    # A process that never runs the backbone reads it as well.
    assert load_setup(tmp_path / "root").backbone.quantization == "int8"
    with pytest.raises(ConfigError, match=r"compute\.quantization: none here, .* set compute\.quantization=int8"):
        load_setup(tmp_path / "root", config("compute.quantization=none").compute)
    plain = set_up_on(config(*language_model, "compute.precision=float32"))
    save_setup(plain, tmp_path / "plain")
    with pytest.raises(ConfigError, match=r"compute\.quantization: int8 here, .* made with none"):
        load_setup(tmp_path / "plain", config(*language_model, "compute.quantization=int8").compute)


def test_a_set_up_of_an_earlier_version_is_one_of_float32_on_a_cpu(setup, tmp_path):
    save_setup(setup, tmp_path / "root")
    path = tmp_path / "root" / "manifest.json"
    manifest = json.loads(path.read_text())
    del manifest["compute"]
    path.write_text(json.dumps(manifest))
    assert load_setup(tmp_path / "root", config().compute).backbone.placement.to_record() == {
        "device": "cpu",
        "precision": "float32",
    }
    with pytest.raises(ConfigError, match=r"set compute\.precision=float32"):
        load_setup(tmp_path / "root", config("compute.precision=bfloat16").compute)


@pytest.mark.gpu
def test_a_replay_on_a_gpu_is_the_one_on_the_cpu_up_to_last_digits(tmp_path):
    expected = replayed(config("compute.device=cpu"), tmp_path / "cpu")
    alike(replayed(config("compute.device=cuda"), tmp_path / "gpu"), expected)


@pytest.mark.gpu
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_set_up_on_a_gpu_gives_the_same_bits_twice(precision, tmp_path):
    save_llama(tmp_path / "llama")
    make_deterministic()
    language_model = ("backbone.kind=causal_lm", f"backbone.model={tmp_path / 'llama'}")
    settings = config(*language_model, "compute.device=cuda", f"compute.precision={precision}")
    first, second = set_up_on(settings), set_up_on(settings)
    assert first.backbone_sha256 == second.backbone_sha256
    assert {tensor.device.type for tensor in first.backbone.parameters()} == {"cuda"}
