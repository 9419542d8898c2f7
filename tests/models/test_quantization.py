"""A language model whose frozen linear layers have 8 bits a weight: what it scores, trains, saves and refuses."""

import copy
import logging
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import GPT2Config, GPT2LMHeadModel

from pipeline.config import AdapterSettings, BackboneSettings, ComputeSettings, load_config
from pipeline.errors import BackboneError, ConfigError
from pipeline.models.backbones.base import Backbone, fingerprint
from pipeline.models.backbones.checkpoint import load_backbone, save_backbone
from pipeline.models.backbones.factory import build_backbone
from pipeline.models.backbones.warm_start import begin_from
from pipeline.models.lora.batched_forward import BatchedForward
from pipeline.models.lora.host import AdapterHost
from pipeline.models.placement import ON_CPU, Placement
from pipeline.models.quantization import QuantizedLinear
from pipeline.models.training.loop import fit
from pipeline.models.training.loss import softmax_rows
from tests.models.backbones.small import (
    CONTEXTS,
    ITEMS,
    KINDS,
    LENGTH,
    TITLES,
    scores,
    small_backbone,
    small_catalogue,
    successor_windows,
)
from tests.models.lora.test_batched_forward import AMPLE, NAMES, contexts, one_by_one, randomise

IN_INT8 = replace(ON_CPU, quantization="int8")
LANGUAGE_MODELS = tuple(kind for kind in KINDS if kind.startswith("causal_lm"))
MADE = {"device": "cpu", "precision": "float32"}


def quantized(kind: str = "causal_lm", precision: torch.dtype = torch.float32) -> Backbone:
    return small_backbone(kind).place(replace(IN_INT8, precision=precision))


def in_full(backbone: Backbone) -> Backbone:
    """A copy with the same rounded numbers, not quantised."""
    return copy.deepcopy(backbone).place(replace(backbone.placement, quantization="none"))


@pytest.mark.parametrize("kind", LANGUAGE_MODELS)
def test_only_linear_layers_of_the_decoder_are_quantised(kind: str) -> None:
    plain, backbone = small_backbone(kind), quantized(kind)
    layers = {name: part for name, part in backbone.named_modules() if isinstance(part, torch.nn.Linear)}
    assert {name.startswith("decoder.") for name, part in layers.items() if isinstance(part, QuantizedLinear)} == {True}
    assert [name for name, part in layers.items() if not isinstance(part, QuantizedLinear)] == ["items.projection"]
    numbers = sum(part.weight.numel() for name, part in plain.named_modules() if name in layers and "items" not in name)
    scales = sum(part.out_features for name, part in layers.items() if "items" not in name)
    assert backbone.weight_bytes == plain.weight_bytes - 3 * numbers + 4 * scales


@pytest.mark.parametrize("kind", LANGUAGE_MODELS)
@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
def test_scores_are_those_of_full_precision_up_to_eight_bits(kind: str, precision: torch.dtype) -> None:
    expected, backbone = scores(small_backbone(kind), CONTEXTS), quantized(kind, precision)
    found = scores(backbone, CONTEXTS)
    assert found.dtype == torch.float32
    assert not torch.equal(found, expected)
    assert (found - expected).norm() < 0.03 * expected.norm()
    assert torch.equal(scores(quantized(kind, precision), CONTEXTS), found)


@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
def test_it_is_saved_and_loaded_bit_for_bit(precision: torch.dtype, tmp_path: Path) -> None:
    backbone = quantized(precision=precision)
    sha256 = save_backbone(backbone, tmp_path / "backbone", "test")
    loaded = load_backbone(tmp_path / "backbone", backbone.placement)
    assert loaded.placement == backbone.placement
    assert fingerprint(loaded, "test") == sha256 != fingerprint(in_full(backbone), "test")
    assert torch.equal(scores(loaded, CONTEXTS), scores(backbone, CONTEXTS))
    held = load_file(tmp_path / "backbone" / "model.safetensors")
    assert held["decoder.layers.0.mlp.up_proj.weight.int8"].dtype == torch.int8
    assert "decoder.layers.0.mlp.up_proj.weight" not in held


def test_a_file_of_other_weights_is_refused_by_name(tmp_path: Path) -> None:
    save_backbone(quantized(), tmp_path / "backbone", "test")
    with pytest.raises(BackboneError, match=r"does not fit the backbone described beside it \(decoder\.layers\.0\."):
        load_backbone(tmp_path / "backbone", ON_CPU)
    weights = load_file(tmp_path / "backbone" / "model.safetensors")
    weights["decoder.layers.0.mlp.up_proj.weight.int8"][0, 0] += 1
    save_file(weights, tmp_path / "backbone" / "model.safetensors")
    with pytest.raises(BackboneError, match="is not what was saved"):
        load_backbone(tmp_path / "backbone", IN_INT8)


def trained(backbone: Backbone) -> dict[str, torch.Tensor]:
    """An adapter after a few steps over a backbone."""
    host, windows = AdapterHost(backbone, AdapterSettings()), successor_windows(32, seed=0)
    host.create("r0001_v0001", range(1, ITEMS + 1), parent=None, seed=0)
    with host.active("r0001_v0001") as model:
        groups, rows = host.parameter_groups("r0001_v0001", 1e-2, 1e-2), torch.arange(1, ITEMS + 1).numpy()
        fit(model, windows, groups, softmax_rows(rows, load_config().softmax), epochs=3, batch_size=8, seed=0)
    return {key: torch.from_numpy(value) for key, value in host.tensors("r0001_v0001").items()}


def test_an_edit_trains_as_over_the_same_numbers_in_full_precision() -> None:
    backbone = quantized()
    expected = trained(in_full(backbone))
    for key, tensor in trained(backbone).items():
        torch.testing.assert_close(tensor, expected[key], rtol=1e-3, atol=1e-4)
    assert any(tensor.abs().max() > 0.01 for key, tensor in expected.items() if "lora_B" in key)


def test_a_step_keeps_no_weight_in_full_precision() -> None:
    layer = torch.nn.Linear(64, 64)
    kept = []
    for each in (layer.requires_grad_(False), QuantizedLinear.of(layer)):
        sizes: list[int] = []
        states = torch.ones(1, 64, requires_grad=True)
        with torch.autograd.graph.saved_tensors_hooks(lambda t: sizes.append(t.numel()) or t, lambda t: t):  # noqa: B023
            each(states).sum().backward()
        kept.append(max(sizes, default=0))
        assert states.grad is not None
    assert kept[0] >= 64 * 64
    assert kept[1] < 64 * 64


def test_a_bias_stays_as_it_is() -> None:
    layer, states = torch.nn.Linear(64, 8), torch.randn(3, 64, generator=torch.Generator().manual_seed(0))
    torch.nn.init.normal_(layer.bias, mean=5.0)
    found = QuantizedLinear.of(layer)(states)
    torch.testing.assert_close(found, layer(states), rtol=0.0, atol=0.05)


def test_the_mixed_pass_is_one_adapter_after_the_other() -> None:
    backbone = quantized()
    host, forward = (
        AdapterHost(copy.deepcopy(backbone), AdapterSettings()),
        BatchedForward(backbone, AdapterSettings(), AMPLE),
    )
    for seed, name in enumerate(NAMES):
        randomise(host, name, seed)
        forward.register(name, host.tensors(name), host.rows(name))
    windows, names = contexts(21, 0), [NAMES[i % 7] for i in range(21)]
    torch.testing.assert_close(
        forward.probabilities(windows, names), one_by_one(host, windows, names), rtol=1e-4, atol=1e-6
    )


def test_it_goes_back_to_full_precision_and_begins_another_set_up() -> None:
    backbone = quantized()
    full, begun = in_full(backbone), small_backbone("causal_lm", seed=1)
    assert not any(isinstance(part, QuantizedLinear) for part in full.modules())
    torch.testing.assert_close(scores(full, CONTEXTS), scores(backbone, CONTEXTS), rtol=1e-4, atol=1e-5)
    begin_from(begun, small_catalogue(TITLES), backbone, small_catalogue(TITLES))
    # The vector of padding is no weight of an item.
    assert torch.equal(scores(begun, CONTEXTS)[:, 1:], scores(full, CONTEXTS)[:, 1:])


@pytest.mark.parametrize(
    ("asked", "made", "problem"),
    [
        ("int8", {}, "compute.quantization: int8 here, and ROOT was made with none; set compute.quantization=none"),
        ("none", {"quantization": "int8"}, "compute.quantization: none here, and ROOT was made with int8; set compute"),
    ],
)
def test_another_quantisation_than_of_the_set_up_is_refused_by_name(
    asked: str, made: dict[str, str], problem: str
) -> None:
    with pytest.raises(ConfigError) as refused:
        Placement.of_stored(ComputeSettings.model_validate({"quantization": asked}), {**MADE, **made}, "ROOT")
    assert problem in str(refused.value)


def test_auto_takes_what_the_set_up_was_made_with_and_none_for_a_new_one() -> None:
    made = {**MADE, "quantization": "int8"}
    assert Placement.of_stored(ComputeSettings(), made, "ROOT").to_record() == made
    assert Placement.of_new(ComputeSettings(device="cpu", precision="float32"), "causal_lm").to_record() == MADE


def test_a_missing_package_is_named_with_the_command_that_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.models.placement.find_spec", lambda _: None)
    problem = (
        r"compute\.quantization: int8, and the package torchao is not installed; .*pip install 'raie-stream\[int8\]'"
    )
    with pytest.raises(ConfigError, match=problem):
        Placement.of_new(ComputeSettings(quantization="int8"), "causal_lm")
    with pytest.raises(ConfigError, match=problem):
        Placement.of_stored(ComputeSettings(), {**MADE, "quantization": "int8"}, "ROOT")


def test_what_is_no_language_model_is_refused_by_name() -> None:
    with pytest.raises(ConfigError, match=r"compute\.quantization is int8, and backbone\.kind sasrec is no language"):
        load_config(overrides=["compute.quantization=int8"])


def test_layers_that_cannot_be_quantised_are_refused_by_name(tmp_path: Path) -> None:
    shape = GPT2Config(vocab_size=20, n_positions=32, n_embd=16, n_layer=1, n_head=2)
    GPT2LMHeadModel(shape).save_pretrained(tmp_path)
    gpt2 = build_backbone(BackboneSettings(kind="causal_lm", model=str(tmp_path)), LENGTH, small_catalogue(), 0)
    with pytest.raises(BackboneError, match=r"cannot be quantised: set compute\.quantization to none"):
        gpt2.place(IN_INT8)


def test_the_package_that_quantises_says_nothing_to_users() -> None:
    command = [sys.executable, "-c", "import pipeline.models.backbones.base, torchao"]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stderr == ""


def test_other_warnings_of_torch_are_logged() -> None:
    logger = logging.getLogger("torch.utils._pytree")
    assert logger.isEnabledFor(logging.WARNING)
    assert logger.filter(logging.makeLogRecord({"msg": "another warning"}))
