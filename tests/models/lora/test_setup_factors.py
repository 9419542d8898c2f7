"""LoRA over the frozen base in set-up: without effect at first, and merged into the same function at the end."""

import pytest
import torch
from peft.tuners.lora import LoraLayer
from transformers import GPT2Config, GPT2LMHeadModel

from pipeline.config import AdapterSettings, BackboneSettings
from pipeline.models.backbones.factory import build_backbone
from pipeline.models.lora.host import AdapterHost
from pipeline.models.lora.peft_slot import add_factors, merge_factors
from pipeline.models.placement import Placement
from tests.models.backbones.small import CONTEXTS, LENGTH, scores, small_backbone, small_catalogue


@pytest.fixture(params=["llama", "gpt2"])
def backbone(request, tmp_path):
    if request.param == "llama":
        return small_backbone("causal_lm")
    torch.manual_seed(0)
    shape = GPT2Config(vocab_size=20, n_embd=16, n_layer=2, n_head=2, n_positions=32)
    GPT2LMHeadModel(shape).save_pretrained(tmp_path / "gpt2")
    settings = BackboneSettings(kind="causal_lm", model=str(tmp_path / "gpt2"))
    return build_backbone(settings, LENGTH, small_catalogue(), 0)


def layers(backbone):
    return [module for module in backbone.modules() if isinstance(module, LoraLayer)]


def factors(backbone, kind):
    return [module.weight for layer in layers(backbone) for module in getattr(layer, kind).values()]


def trained(backbone) -> None:
    """Give the factors values as after a training."""
    generator = torch.Generator().manual_seed(1)
    for weight in factors(backbone, "lora_B"):
        weight.data = torch.randn(weight.shape, generator=generator) * 0.1


def test_new_factors_have_no_effect_and_are_all_that_learns_beside_the_items(backbone):
    expected = scores(backbone, CONTEXTS)
    add_factors(backbone, 4, 8.0, seed=0)
    assert torch.equal(scores(backbone, CONTEXTS), expected)
    learning = {name for name, parameter in backbone.named_parameters() if parameter.requires_grad}
    added = {name for name, _ in backbone.named_parameters() if ".lora_" in name}
    assert learning == added | {"items.rows.weight", "items.projection.weight"}
    assert len(added) == 2 * len(layers(backbone)) > 0


def test_merged_weights_give_the_same_scores_without_factors(backbone):
    names, before = set(backbone.state_dict()), scores(backbone, CONTEXTS)
    model = add_factors(backbone, 4, 8.0, seed=0)
    trained(backbone)
    expected = scores(backbone, CONTEXTS)
    assert not torch.allclose(expected, before, atol=1e-3)
    merge_factors(model)
    assert set(backbone.state_dict()) == names
    torch.testing.assert_close(scores(backbone, CONTEXTS), expected, rtol=1e-5, atol=1e-5)
    AdapterHost(backbone, AdapterSettings()).create("r0001_v0001", [1], parent=None, seed=0)


def test_factors_over_bfloat16_are_float32_and_are_rounded_once(backbone):
    backbone.place(Placement(torch.device("cpu"), torch.bfloat16))
    model = add_factors(backbone, 4, 8.0, seed=0)
    trained(backbone)
    layer = layers(backbone)[0]
    a, b = (factors(backbone, kind)[0] for kind in ("lora_A", "lora_B"))
    assert a.dtype == b.dtype == torch.float32
    base, change = layer.get_base_layer(), 2.0 * b @ a
    is_linear = isinstance(base, torch.nn.Linear)
    wanted = base.weight.detach().float() + (change if is_linear else change.T)
    merge_factors(model)
    assert base.weight.dtype == torch.bfloat16
    assert torch.equal(base.weight, wanted.to(torch.bfloat16))


def test_factors_start_the_same_for_the_same_seed():
    found = []
    for seed in (0, 0, 1):
        backbone = small_backbone("causal_lm")
        add_factors(backbone, 4, 8.0, seed)
        found.append(torch.cat([weight.flatten() for weight in factors(backbone, "lora_A")]))
    assert torch.equal(found[0], found[1])
    assert not torch.equal(found[0], found[2])
