"""Adapters over one frozen backbone: each changes its own answers and nothing else."""

import json
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from peft import LoraConfig, PeftConfig
from torch import Tensor, nn

from adapters_store.errors import AdapterRefused
from pipeline.config import AdapterSettings
from pipeline.models.backbones.base import last_states
from pipeline.models.backbones.factory import KINDS as ARCHITECTURES
from pipeline.models.lora.host import AdapterHost, _Frozen
from pipeline.models.lora.peft_slot import ROWS
from pipeline.models.training.loop import fit
from pipeline.models.training.loss import Candidates
from tests.models.backbones.small import (
    CONTEXTS,
    ITEMS,
    KINDS,
    scores,
    small_backbone,
    small_catalogue,
    successor_windows,
)

ITEM_IDS = ["", *small_catalogue().item_ids]
A, B = "r0001_v0001", "r0011_v0001"
"""Names whose regions begin alike."""

DELTA = "trainable_tokens_delta"


@pytest.fixture(params=KINDS)
def host(request: pytest.FixtureRequest) -> AdapterHost:
    return AdapterHost(small_backbone(request.param), AdapterSettings())


@torch.inference_mode()
def answer(host: AdapterHost, name: str | None) -> Tensor:
    with host.active(name) as model:
        return scores(model, CONTEXTS)


def train(host: AdapterHost, name: str, seed: int = 0) -> None:
    with host.active(name) as model:
        groups = host.parameter_groups(name, 1e-2, 1e-2)
        rows = torch.arange(1, ITEMS + 1)
        fit(model, successor_windows(32, seed), groups, Candidates(rows), epochs=2, batch_size=16, seed=seed)


def same(one: Mapping[str, NDArray[Any]], other: Mapping[str, NDArray[Any]]) -> bool:
    return one.keys() == other.keys() and all(np.array_equal(one[key], other[key]) for key in one)


def frozen(host: AdapterHost) -> dict[str, Tensor]:
    """The backbone's own weights under peft's names for them."""
    state = host.backbone.state_dict()
    return {key: value.clone() for key, value in state.items() if "lora_" not in key and DELTA not in key}


def test_a_new_adapter_has_no_effect_until_it_is_trained(host: AdapterHost) -> None:
    host.create(A, [2, 3], parent=None, seed=0)
    torch.testing.assert_close(answer(host, A), answer(host, None), rtol=0, atol=0)
    train(host, A)
    assert not torch.allclose(answer(host, A), answer(host, None), atol=1e-3)


def test_hosting_changes_no_answer_of_the_backbone() -> None:
    plain = scores(small_backbone("sasrec"), CONTEXTS)
    assert torch.equal(answer(AdapterHost(small_backbone("sasrec"), AdapterSettings()), None), plain)


def test_training_leaves_the_backbone_and_its_answers_bit_for_bit(host: AdapterHost) -> None:
    host.create(A, [2, 3], parent=None, seed=0)
    weights, answers = frozen(host), answer(host, None)
    train(host, A)
    after = frozen(host)
    assert all(torch.equal(after[key], value) for key, value in weights.items())
    assert torch.equal(answer(host, None), answers)


def test_training_one_adapter_leaves_the_other_bit_for_bit(host: AdapterHost) -> None:
    for seed, name in enumerate((A, B)):
        host.create(name, [2, 3], parent=None, seed=seed)
        train(host, name, seed)
    tensors, answers = host.tensors(B), answer(host, B)
    before = host.tensors(A)
    train(host, A, seed=7)
    assert not same(host.tensors(A), before)
    assert same(host.tensors(B), tensors)
    assert torch.equal(answer(host, B), answers)


def test_names_that_contain_each_other_do_not_interfere() -> None:
    host = AdapterHost(small_backbone("sasrec"), AdapterSettings())
    longer = A + "0"
    for seed, name in enumerate((A, longer)):
        host.create(name, [2], parent=None, seed=seed)
    before = host.tensors(A)
    train(host, longer)
    assert same(host.tensors(A), before)
    host.drop(A)
    assert host.names == [longer]
    assert len(host.tensors(longer)) == len(before)


def test_the_backbone_does_not_grow_with_the_adapters() -> None:
    host = AdapterHost(small_backbone("sasrec"), AdapterSettings())
    before = {key: value.shape for key, value in host.backbone.state_dict().items()}
    host.create(A, [2, 3], parent=None, seed=0)
    train(host, A)
    for number in range(20):
        host.register(f"r{number:04d}_v0002", host.tensors(A), [number, number + 1])
    assert {key: value.shape for key, value in host.backbone.state_dict().items()} == before
    with host.active("r0007_v0002"):
        shown = host.backbone.state_dict()
        assert torch.equal(shown[next(key for key in shown if DELTA in key)], torch.tensor(host.tensors(A)[ROWS]))


def test_item_rows_outside_the_adapter_do_not_move() -> None:
    host = AdapterHost(small_backbone("sasrec"), AdapterSettings(text_projection=False))
    host.create(A, [2, 3], parent=None, seed=0)
    train(host, A)
    moved = (host.vectors(A) != host.vectors(None)).any(dim=1).nonzero().flatten().tolist()
    assert moved == [2, 3]


def test_two_adapters_move_rows_of_their_own() -> None:
    host = AdapterHost(small_backbone("sasrec"), AdapterSettings(text_projection=False))
    host.create(A, [2, 3], parent=None, seed=0)
    host.create(B, [3, 7, 9], parent=None, seed=0)
    for name in (A, B):
        train(host, name)
    moved = {n: (host.vectors(n) != host.vectors(None)).any(dim=1).nonzero().flatten().tolist() for n in (A, B)}
    assert moved == {A: [2, 3], B: [3, 7, 9]}
    assert not torch.equal(host.vectors(A)[3], host.vectors(B)[3])


@pytest.mark.parametrize("kind", KINDS)
def test_texts_that_are_projected_once_teach_what_they_teach_at_every_step(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Bit for bit; and a second training, after the adapter moved the projection, begins with nothing kept."""
    learned = []
    for forward in (_Frozen.forward, nn.Linear.forward):
        monkeypatch.setattr(_Frozen, "forward", forward)
        host = AdapterHost(small_backbone(kind), AdapterSettings())
        for name, parent in ((A, None), (B, A)):
            host.create(name, [2, 3], parent=parent, seed=0)
            train(host, name)
        learned.append(host.tensors(B))
    assert same(*learned)


def test_training_has_the_texts_of_the_rows_it_asks_for() -> None:
    items = small_backbone("sasrec").items
    asked = [torch.tensor(rows) for rows in ([1, 2, 5], [1, 2, 5], [5, 2, 1], [5, 2], [[5], [2]])]
    expected = [items.eval()(rows) for rows in asked]
    for rows, vectors in zip(asked, expected, strict=True):
        torch.testing.assert_close(items.train()(rows), vectors, rtol=0, atol=0)


def test_a_child_starts_exactly_as_its_parent_and_then_goes_its_own_way(host: AdapterHost) -> None:
    host.create(A, [2, 9], parent=None, seed=0)
    train(host, A)
    parent = answer(host, A)
    host.create(B, [1, 5], parent=A, seed=1)
    assert host.rows(B) == [1, 2, 5, 9]
    assert torch.equal(answer(host, B), parent)
    train(host, B)
    assert not torch.equal(answer(host, B), parent)
    assert torch.equal(answer(host, A), parent)


def test_tensors_register_bit_for_bit_in_another_process_as_it_were(host: AdapterHost) -> None:
    host.create(A, [2, 9], parent=None, seed=0)
    train(host, A)
    kind = next(kind for kind, architecture in ARCHITECTURES.items() if type(host.backbone) is architecture)
    other = AdapterHost(small_backbone(kind), AdapterSettings())
    other.register(A, host.tensors(A), host.rows(A))
    assert same(other.tensors(A), host.tensors(A))
    assert torch.equal(answer(other, A), answer(host, A))
    assert other.describe(A, ITEM_IDS) == host.describe(A, ITEM_IDS)
    assert host.describe(A, ITEM_IDS)["items"] == ["i02", "i09"]


def test_a_registered_adapter_answers_without_dropout() -> None:
    host = AdapterHost(small_backbone("sasrec"), AdapterSettings(dropout=0.5))
    host.create(A, [2], parent=None, seed=0)
    train(host, A)
    host.register(B, host.tensors(A), host.rows(A))
    assert not any(module.training for module in host.backbone.modules())
    assert torch.equal(answer(host, B), answer(host, B))


def test_the_seed_decides_every_byte_of_an_adapter() -> None:
    results = []
    for seed in (1, 1, 2):
        host = AdapterHost(small_backbone("sasrec"), AdapterSettings())
        torch.rand(seed)
        host.create(A, [2, 3], parent=None, seed=seed)
        train(host, A, seed)
        results.append(host.tensors(A))
    assert same(results[0], results[1])
    assert not same(results[0], results[2])


def test_what_else_is_registered_changes_no_byte_of_training() -> None:
    alone, crowded = (AdapterHost(small_backbone("sasrec"), AdapterSettings()) for _ in range(2))
    crowded.create(B, [5], parent=None, seed=9)
    for host in (alone, crowded):
        host.create(A, [2, 3], parent=None, seed=1)
        train(host, A)
    assert same(alone.tensors(A), crowded.tensors(A))


def test_registering_leaves_the_callers_random_state_alone() -> None:
    host = AdapterHost(small_backbone("sasrec"), AdapterSettings())
    host.create(A, [2], parent=None, seed=0)
    torch.manual_seed(8)
    expected = torch.rand(3)
    torch.manual_seed(8)
    host.register(B, host.tensors(A), host.rows(A))
    assert torch.equal(torch.rand(3), expected)


def test_parameter_groups_hold_the_factors_and_the_rows_of_one_adapter(host: AdapterHost) -> None:
    host.create(A, [2, 3], parent=None, seed=0)
    host.create(B, [4], parent=None, seed=0)
    with host.active(A):
        factors, rows = host.parameter_groups(A, 1e-3, 3e-3)
        named = {id(parameter): name for name, parameter in host.backbone.named_parameters()}
        trainable = {name for name, parameter in host.backbone.named_parameters() if parameter.requires_grad}
    with host.active(B):
        others = {id(parameter) for parameter in host.backbone.parameters()} - {*named}
    assert len(others) == len(host.tensors(B)), "the rest is of the backbone"
    assert (factors["lr"], rows["lr"]) == (1e-3, 3e-3)
    (row_name,) = [named[id(p)] for p in rows["params"]]
    assert row_name.startswith(f"items.rows.token_adapter.{DELTA}.")
    names = {named[id(p)] for p in factors["params"]}
    layers = {name.rsplit(".lora_", 1)[0] for name in names}
    assert all(".lora_" in name for name in names)
    assert {layer.split(".")[-1] for layer in layers} == {*host.backbone.adapter_targets, "projection"}
    assert trainable == names | {named[id(p)] for p in rows["params"]}
    assert len(names) + 1 == len(host.tensors(A))


def test_item_rows_stay_where_they_are_if_the_settings_say_so() -> None:
    host = AdapterHost(small_backbone("sasrec"), AdapterSettings(item_rows=False, text_projection=False))
    host.create(A, [2, 3], parent=None, seed=0)
    train(host, A)
    assert torch.equal(host.vectors(A), host.vectors(None))
    assert not torch.equal(answer(host, A), answer(host, None))


def test_outside_its_block_no_adapter_has_any_effect(host: AdapterHost) -> None:
    host.create(A, [2, 3], parent=None, seed=0)
    train(host, A)
    plain = answer(host, None)
    with host.active(A):
        with host.active(None):
            assert torch.equal(scores(host.backbone, CONTEXTS), plain)
        assert torch.equal(scores(host.backbone, CONTEXTS), answer(host, A))
    assert torch.equal(scores(host.backbone, CONTEXTS), plain)
    host.create(B, [2], parent=A, seed=0)
    assert torch.equal(scores(host.backbone, CONTEXTS), plain)


def test_vectors_and_states_are_those_of_the_adapter(host: AdapterHost) -> None:
    host.create(A, [2, 3], parent=None, seed=0)
    before = host.vectors(A)
    train(host, A)
    for name in (None, A):
        composed = last_states(host.states(CONTEXTS.numpy(), name)) @ host.vectors(name).T
        assert torch.equal(composed, answer(host, name))
    assert not torch.equal(host.vectors(A), before)


def test_a_dropped_adapter_is_gone_and_its_name_is_free(host: AdapterHost) -> None:
    host.create(A, [2, 3], parent=None, seed=0)
    host.create(B, [2], parent=None, seed=0)
    train(host, A)
    host.drop(A)
    assert host.names == [B]
    host.create(A, [4], parent=None, seed=0)
    assert host.rows(A) == [4]
    assert torch.equal(host.vectors(A), host.vectors(None))


def test_a_taken_name_is_refused() -> None:
    host = AdapterHost(small_backbone("sasrec"), AdapterSettings())
    host.create(A, [2], parent=None, seed=0)
    with pytest.raises(ValueError, match="already exists"):
        host.create(A, [2], parent=None, seed=0)


@pytest.mark.parametrize("change", ["missing", "unknown", "shape", "rank"])
def test_tensors_that_do_not_fit_are_refused_and_nothing_is_registered(change: str) -> None:
    host = AdapterHost(small_backbone("sasrec"), AdapterSettings())
    host.create(A, [2, 3], parent=None, seed=0)
    tensors = dict(host.tensors(A))
    key = min(tensors)
    if change == "missing":
        del tensors[key]
    elif change == "unknown":
        tensors["blocks.9.lora_A.weight"] = tensors[key]
    elif change == "shape":
        tensors[key] = tensors[key][:1]
    else:
        host = AdapterHost(small_backbone("sasrec"), AdapterSettings(rank=4))
    with pytest.raises(AdapterRefused, match=r"wrong_tensors.*do not fit this backbone"):
        host.register(B, tensors, [2, 3])
    assert B not in host.names


def test_an_adapter_for_no_item_yet_is_possible() -> None:
    host = AdapterHost(small_backbone("sasrec"), AdapterSettings())
    host.create(A, [], parent=None, seed=0)
    train(host, A)
    host.create(B, [3], parent=A, seed=0)
    assert torch.equal(answer(host, B), answer(host, A))


def test_peft_reads_the_configuration_of_an_adapter(host: AdapterHost, tmp_path: Path) -> None:
    host.create(A, [2, 3], parent=None, seed=0)
    (tmp_path / "adapter_config.json").write_text(json.dumps(host.describe(A, ITEM_IDS)))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # It names the keys that are ours.
        found = PeftConfig.from_pretrained(str(tmp_path))
    assert isinstance(found, LoraConfig)
    assert (found.r, found.lora_alpha, set(found.target_modules or ())) == (8, 16, set(host.targets))
