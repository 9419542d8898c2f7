"""Device and precision of a backbone: what is chosen, what is refused, and nothing left on the CPU."""

import copy

import numpy as np
import pytest
import torch

from pipeline.config import AdapterSettings, ComputeSettings, load_config
from pipeline.errors import ConfigError
from pipeline.models.backbones.base import fingerprint
from pipeline.models.backbones.checkpoint import load_backbone, save_backbone
from pipeline.models.lora.batched_forward import BatchedForward
from pipeline.models.lora.host import AdapterHost
from pipeline.models.placement import ON_CPU, Placement, computes_bfloat16
from tests.fake_device import KIND, fake_device
from tests.models.backbones.small import CONTEXTS, KINDS, scores, small_backbone
from tests.models.lora.test_batched_forward import AMPLE, NAMES, contexts, one_by_one, pair, randomise

CPU = torch.device("cpu")
IN_BFLOAT16 = Placement(CPU, torch.bfloat16)
MADE = {"device": "cpu", "precision": "float32"}


@pytest.fixture
def no_accelerator(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.models.placement._number", lambda kind: int(kind == "cpu"))


def placed(backbone, device: torch.device, precision: torch.dtype = torch.float32):
    return copy.deepcopy(backbone).place(Placement(device, precision))


@pytest.mark.parametrize(
    ("there", "chosen"), [({"cpu"}, "cpu"), ({"cpu", "mps"}, "mps"), ({"cpu", "mps", "cuda"}, "cuda")]
)
def test_auto_takes_an_accelerator_where_there_is_one(monkeypatch, there, chosen):
    monkeypatch.setattr("pipeline.models.placement._number", lambda kind: int(kind in there))
    assert Placement.of_new(ComputeSettings(), "sasrec") == Placement(torch.device(chosen), torch.float32)


@pytest.mark.parametrize("native", [True, False])
@pytest.mark.usefixtures("no_accelerator")
def test_auto_takes_bfloat16_for_a_language_model_where_it_is_native(monkeypatch, native):
    monkeypatch.setattr("pipeline.models.placement.computes_bfloat16", lambda _: native)
    chosen = {kind: Placement.of_new(ComputeSettings(), kind).precision for kind in ("sasrec", "bert4rec", "causal_lm")}
    of_language_model = torch.bfloat16 if native else torch.float32
    assert chosen == {"sasrec": torch.float32, "bert4rec": torch.float32, "causal_lm": of_language_model}


@pytest.mark.parametrize(("capability", "native"), [((7, 5), False), ((8, 0), True), ((9, 0), True)])
def test_bfloat16_is_native_from_ampere_on(monkeypatch, capability, native):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: capability)
    assert computes_bfloat16(torch.device("cuda:1")) is native


@pytest.mark.usefixtures("no_accelerator")
def test_a_device_that_is_not_there_is_refused_by_name():
    with pytest.raises(ConfigError, match=r"compute\.device: cuda:1, and torch sees 0 such devices"):
        Placement.of_new(ComputeSettings(device="cuda:1"), "sasrec")


@pytest.mark.parametrize("device", ["gpu", "cuda:", "cpu:0", ""])
def test_an_unknown_device_is_refused_by_the_configuration(device):
    with pytest.raises(ConfigError, match=r"compute\.device"):
        load_config(overrides=[f"compute.device={device}"])


@pytest.mark.usefixtures("no_accelerator")
def test_auto_takes_what_the_set_up_was_made_with():
    for precision in ("float32", "bfloat16"):
        stored = Placement.of_stored(ComputeSettings(), {**MADE, "precision": precision}, "ROOT")
        assert stored.to_record() == {**MADE, "precision": precision}


@pytest.mark.parametrize(
    ("asked", "made", "problem"),
    [
        (
            {"precision": "bfloat16"},
            {},
            "compute.precision: bfloat16 here, and ROOT was made with float32; set compute",
        ),
        ({"precision": "float32"}, {"precision": "bfloat16"}, "set compute.precision=bfloat16, or run `raie setup`"),
        ({"device": "cpu"}, {"device": "cuda"}, "compute.device: cpu here, and ROOT was made with cuda; set compute"),
        ({}, {"device": "cuda"}, "compute.device: ROOT was made with cuda, and torch sees none here"),
    ],
)
@pytest.mark.usefixtures("no_accelerator")
def test_another_device_or_precision_than_of_the_set_up_is_refused_by_name(asked, made, problem):
    with pytest.raises(ConfigError) as refused:
        Placement.of_stored(ComputeSettings.model_validate(asked), {**MADE, **made}, "ROOT")
    assert problem in str(refused.value)


def test_another_number_of_the_same_kind_is_no_other_device(monkeypatch):
    monkeypatch.setattr("pipeline.models.placement._number", lambda _: 2)
    stored = Placement.of_stored(ComputeSettings(device="cuda:1"), {**MADE, "device": "cuda"}, "ROOT")
    assert stored.device == torch.device("cuda:1")


@pytest.mark.parametrize("kind", KINDS)
def test_only_the_weights_beside_the_item_table_take_the_precision(kind):
    backbone = placed(small_backbone(kind), CPU, torch.bfloat16)
    dtypes = {name.startswith("items."): set() for name, _ in backbone.named_parameters()}
    for name, parameter in backbone.named_parameters():
        dtypes[name.startswith("items.")].add(parameter.dtype)
    assert dtypes == {True: {torch.float32}, False: {torch.bfloat16}}
    states, vectors = backbone(CONTEXTS)
    assert states.dtype == vectors.dtype == torch.float32


@pytest.mark.parametrize("kind", KINDS)
def test_scores_in_bfloat16_are_those_in_float32_up_to_its_digits(kind):
    backbone = small_backbone(kind)
    expected, found = scores(backbone, CONTEXTS), scores(placed(backbone, CPU, torch.bfloat16), CONTEXTS)
    assert not torch.equal(found, expected)
    assert (found - expected).norm() < 0.03 * expected.norm()


def test_float32_on_the_cpu_is_the_same_tensors():
    backbone = small_backbone("causal_lm")
    before = {name: parameter.data_ptr() for name, parameter in backbone.named_parameters()}
    backbone.place(ON_CPU)
    assert {name: parameter.data_ptr() for name, parameter in backbone.named_parameters()} == before


@pytest.mark.parametrize("kind", KINDS)
def test_a_backbone_of_bfloat16_is_saved_and_loaded_bit_for_bit(kind, tmp_path):
    backbone = placed(small_backbone(kind), CPU, torch.bfloat16)
    sha256 = save_backbone(backbone, tmp_path / "backbone", "test")
    loaded = load_backbone(tmp_path / "backbone", IN_BFLOAT16)
    assert fingerprint(loaded, "test") == sha256
    assert torch.equal(scores(loaded, CONTEXTS), scores(backbone, CONTEXTS))


@pytest.mark.parametrize("kind", KINDS)
def test_adapters_over_bfloat16_are_float32_in_both_forward_passes(kind):
    backbone = placed(small_backbone(kind), CPU, torch.bfloat16)
    host = AdapterHost(copy.deepcopy(backbone), AdapterSettings())
    forward = BatchedForward(backbone, AdapterSettings(), AMPLE)
    for seed, name in enumerate(NAMES):
        randomise(host, name, seed)
        assert {tensor.dtype for tensor in host.tensors(name).values()} == {np.dtype(np.float32)}
        forward.register(name, host.tensors(name), host.rows(name))
    windows, names = contexts(21, 0), [NAMES[i % 7] for i in range(21)]
    expected = one_by_one(host, windows, names)
    assert (forward.probabilities(windows, names) - expected).abs().max() < 0.02


@pytest.mark.parametrize("kind", KINDS)
def test_a_mixed_pass_leaves_nothing_on_the_cpu(kind, monkeypatch):
    host, expected = pair(kind, AdapterSettings())
    windows, names = contexts(21, 1), [NAMES[i % 7] for i in range(21)]
    injected = torch.randn(2, 16, generator=torch.Generator().manual_seed(0))
    backbone = small_backbone(kind)
    with fake_device(monkeypatch):
        forward = BatchedForward(backbone.place(Placement(torch.device(KIND), torch.float32)), AdapterSettings(), AMPLE)
        for name in NAMES:
            forward.register(name, host.tensors(name), host.rows(name))
        for one in (expected, forward):
            one.hide(torch.arange(13) == 4)
            one.inject([5, 6], injected)
            one.set_items(12, [3])
        found = forward.probabilities(windows, names)
        assert found.device.type == KIND
        torch.testing.assert_close(found.cpu(), expected.probabilities(windows, names), rtol=1e-4, atol=1e-6)
        alone = forward.alone(forward.states(windows)).cpu()
    torch.testing.assert_close(alone, expected.alone(expected.states(windows)), rtol=1e-4, atol=1e-6)


def test_the_fake_device_tells_a_tensor_that_was_left_on_the_cpu(monkeypatch):
    with fake_device(monkeypatch):
        here, there = torch.ones(3), torch.ones(3, device=KIND)
        assert (there + there).cpu().tolist() == [2.0, 2.0, 2.0]
        with pytest.raises(AssertionError, match=r"add: a tensor of \(3,\) was left on the CPU"):
            there + here
        with pytest.raises((RuntimeError, TypeError)):
            there.numpy()


def test_texts_can_be_read_wherever_they_are(monkeypatch):
    backbone = small_backbone("sasrec")
    with fake_device(monkeypatch):
        table = placed(backbone, torch.device(KIND)).items
        table.resize(20)
        table.set(14, torch.ones(6))
        texts = table.readable_texts()
        assert np.array_equal(texts.first(13).all(), backbone.items.readable_texts().all())
        assert texts.of(np.array([14])).tolist() == [[1.0] * 6]
        table.set(14, torch.zeros(6))
        assert not table.readable_texts().of(np.array([14])).any()
