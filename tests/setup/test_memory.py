"""Need and have: what the training in set-up is expected to take, and a refusal that says what would fit."""

from dataclasses import replace

import pytest
import torch
from transformers import LlamaConfig

from pipeline.config import Config, load_config
from pipeline.errors import ConfigError
from pipeline.models.backbones.base import Backbone
from pipeline.models.backbones.causal_lm import CausalLM, CausalLMConfig
from pipeline.models.placement import ON_CPU, Placement
from pipeline.setup.memory import check_memory, frozen_bytes, need_of
from tests.models.backbones.small import small_backbone

GPU = Placement(torch.device("cuda"), torch.bfloat16)
SHORT = ("setup.batch_size=32", "setup.gradient_checkpointing=true")


def settings(*overrides: str) -> Config:
    return load_config(overrides=["backbone.kind=causal_lm", "backbone.model=any", *overrides])


@pytest.fixture(scope="module")
def llama_8b() -> Backbone:
    """The shape of Llama-3-8B over 10,000 items, without any content."""
    shape = LlamaConfig(
        vocab_size=128_256,
        hidden_size=4096,
        intermediate_size=14_336,
        num_hidden_layers=32,
        num_attention_heads=32,
        num_key_value_heads=8,
    )
    with torch.device("meta"):
        return CausalLM(CausalLMConfig(shape.to_dict(), 10_000, 384))


def test_training_all_weights_takes_five_copies_of_four_bytes(llama_8b):
    need = need_of(llama_8b, settings(*SHORT), torch.bfloat16)
    assert need.weights + need.training == pytest.approx(20 * 7.55e9, rel=0.02)


def test_lora_takes_two_bytes_a_frozen_weight_in_bfloat16(llama_8b):
    need = need_of(llama_8b, settings(*SHORT, "setup.train=lora"), torch.bfloat16)
    assert need.weights == pytest.approx(2 * 7.5e9, rel=0.05)
    assert need.training < 0.1 * need_of(llama_8b, settings(*SHORT), torch.bfloat16).training


def test_what_does_not_fit_is_refused_with_what_would(llama_8b):
    with pytest.raises(ConfigError) as refused:
        check_memory(llama_8b, settings(*SHORT), GPU, lambda _: int(24e9))
    message = str(refused.value)
    assert "set-up needs about 15" in message
    assert "for gradients and optimiser" in message
    assert "and 24 are there on cuda; `setup.train: lora` needs 1" in message


def test_what_fits_is_said_once_with_what_is_there(llama_8b):
    line = check_memory(llama_8b, settings(*SHORT, "setup.train=lora"), GPU, lambda _: int(24e9))
    assert line.startswith("set-up needs about 1")
    assert line.endswith("; 24 are there on cuda")
    assert "there" not in check_memory(llama_8b, settings(*SHORT, "setup.train=lora"), GPU, lambda _: None)


def test_a_quantised_backbone_is_said_to_take_less_once_it_is_frozen():
    backbone = small_backbone("causal_lm")
    frozen = replace(ON_CPU, quantization="int8")
    line = check_memory(backbone, settings(), frozen, lambda _: None)
    assert line.endswith("GB for weights and texts once they are quantised)")
    assert check_memory(backbone, settings(), ON_CPU, lambda _: None) in line
    expected = frozen_bytes(backbone, frozen)
    assert frozen_bytes(backbone, ON_CPU) == backbone.weight_bytes + backbone.items.text.nbytes
    assert backbone.place(frozen).weight_bytes + backbone.items.text.nbytes == expected


def test_weights_that_are_on_the_device_already_do_not_count_twice():
    backbone = small_backbone("sasrec")
    config = load_config(overrides=["windows.length=5", "backbone.hidden_size=16"])
    need = need_of(backbone, config, torch.float32)
    resident = sum(p.nbytes for p in backbone.parameters()) + backbone.items.text.nbytes
    assert need.weights == resident
    check_memory(backbone, config, ON_CPU, lambda _: need.total - resident)
    with pytest.raises(ConfigError, match=r"`setup\.accumulation: 8` needs"):
        check_memory(backbone, config, ON_CPU, lambda _: need.total - resident - 1)


@pytest.mark.parametrize("smaller", ["setup.gradient_checkpointing=true", "setup.accumulation=4"])
def test_activations_shrink_by_either_setting(smaller):
    backbone = small_backbone("causal_lm")
    needs = [need_of(backbone, settings(*more), torch.float32) for more in ((), (smaller,))]
    assert needs[1].activations < 0.8 * needs[0].activations
    assert needs[1].training == needs[0].training


def test_the_answers_of_a_teacher_count_and_are_named():
    backbone = small_backbone("sasrec")
    config = load_config(overrides=["windows.length=5", "backbone.hidden_size=16"])
    alone, taught = (need_of(backbone, config, torch.float32, answers) for answers in (0, 10**9))
    assert alone.teacher == 0 and taught.total - alone.total == taught.teacher > 10**9
    assert check_memory(backbone, config, ON_CPU, lambda _: None, 10**9).endswith(", 1 for what is distilled")
    assert "distilled" not in check_memory(backbone, config, ON_CPU, lambda _: None)
    with pytest.raises(ConfigError, match=r"for what is distilled, and 0\.5 are there"):
        check_memory(backbone, config, ON_CPU, lambda _: 5 * 10**8, 10**9)


def test_activations_grow_with_the_positions_of_an_item():
    backbone = small_backbone("causal_lm")
    forms = ("items", "text", "examples")
    needs = [need_of(backbone, settings(f"backbone.format={form}"), torch.float32).activations for form in forms]
    assert needs[0] < needs[1] < needs[2]
