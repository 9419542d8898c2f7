"""Keeping a backbone on disk: what comes back is what was saved, or a refusal that says what to do."""

import json
import shutil
from contextlib import nullcontext
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast

from pipeline.config import AdapterSettings, BackboneSettings
from pipeline.errors import BackboneError
from pipeline.models.backbones import checkpoint
from pipeline.models.backbones.base import fingerprint, fingerprint_with_texts
from pipeline.models.backbones.checkpoint import CONFIG, RECORD, TEXTS, TOKENIZER, WEIGHTS, load_backbone, save_backbone
from pipeline.models.backbones.factory import build_backbone
from pipeline.models.lora.host import AdapterHost
from tests.models.backbones.small import (
    CONTEXTS,
    ITEMS,
    KINDS,
    LENGTH,
    save_llama,
    scores,
    small_backbone,
    small_catalogue,
    tiny_llama,
)

ENCODER = "hashing-6"


def language_model(folder: Path) -> BackboneSettings:
    return BackboneSettings(kind="causal_lm", model=str(folder))


@pytest.fixture
def kept(tmp_path: Path) -> Path:
    save_backbone(small_backbone("sasrec"), tmp_path / "backbone", ENCODER)
    return tmp_path / "backbone"


@pytest.mark.parametrize("kind", KINDS)
def test_a_backbone_comes_back_bit_for_bit(kind: str, tmp_path: Path) -> None:
    model = small_backbone(kind)
    sha256 = save_backbone(model, tmp_path / "new" / "backbone", ENCODER)
    loaded = load_backbone(tmp_path / "new" / "backbone")
    assert sha256 == fingerprint(model, ENCODER) == fingerprint(loaded, ENCODER)
    assert torch.equal(scores(loaded, CONTEXTS), scores(model, CONTEXTS))
    assert not loaded.training
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["backbone"]


@pytest.mark.parametrize("kind", KINDS)
def test_no_random_number_is_drawn_for_weights_that_are_read(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_backbone(small_backbone(kind), tmp_path / "backbone", ENCODER)
    monkeypatch.setattr(checkpoint, "seeded", lambda _: nullcontext())
    before = torch.get_rng_state()
    load_backbone(tmp_path / "backbone")
    assert torch.equal(torch.get_rng_state(), before)


def test_what_is_kept_can_run_nothing(kept: Path) -> None:
    assert {path.name for path in kept.iterdir()} == {CONFIG, WEIGHTS, TEXTS, RECORD}


@pytest.mark.parametrize(("file", "tensor"), [(WEIGHTS, "blocks.1.down.weight"), (TEXTS, "text")])
def test_tampered_tensors_are_refused(kept: Path, file: str, tensor: str) -> None:
    tensors = load_file(kept / file)
    tensors[tensor][0, 0] += 1e-3
    save_file(tensors, kept / file)
    with pytest.raises(BackboneError, match=rf"{file}.* is not what was saved.*raie setup"):
        load_backbone(kept)


def test_a_backbone_whose_fingerprint_covered_the_texts_keeps_it_and_its_checks(kept: Path) -> None:
    old = fingerprint_with_texts(load_backbone(kept))
    record = json.loads((kept / RECORD).read_text())
    assert old != record["sha256"]
    (kept / RECORD).write_text(json.dumps({"kind": "sasrec", "sha256": old, "config_sha256": record["config_sha256"]}))
    assert torch.equal(scores(load_backbone(kept), CONTEXTS), scores(small_backbone("sasrec"), CONTEXTS))
    texts = load_file(kept / TEXTS)
    texts["text"][3, 0] += 1e-3
    save_file(texts, kept / TEXTS)
    with pytest.raises(BackboneError, match=rf"{TEXTS} is not what was saved.*raie setup"):
        load_backbone(kept)


def test_a_changed_shape_is_refused_even_where_the_weights_still_fit(kept: Path) -> None:
    shape = json.loads((kept / CONFIG).read_text())
    (kept / CONFIG).write_text(json.dumps({**shape, "heads": 4}))
    with pytest.raises(BackboneError, match=r"config\.json is not what was saved"):
        load_backbone(kept)


@pytest.mark.parametrize("file", [CONFIG, WEIGHTS, TEXTS, RECORD])
@pytest.mark.parametrize("damage", ["missing", "torn", "other"])
def test_a_damaged_file_is_named(kept: Path, file: str, damage: str) -> None:
    content = (kept / file).read_bytes()
    (kept / file).unlink()
    if damage != "missing":
        (kept / file).write_bytes(content[: len(content) // 2] if damage == "torn" else b"[]")
    with pytest.raises(BackboneError, match=file):
        load_backbone(kept)


def test_an_unknown_kind_is_refused(kept: Path) -> None:
    (kept / RECORD).write_text('{"kind": "transformer-xxl"}')
    with pytest.raises(BackboneError, match=r"transformer-xxl.*none of sasrec, bert4rec, causal_lm"):
        load_backbone(kept)


def test_weights_of_another_shape_are_refused(kept: Path) -> None:
    weights = load_file(kept / WEIGHTS)
    weights.pop("norm.weight")
    save_file(weights, kept / WEIGHTS)
    with pytest.raises(BackboneError, match=r"(?s)model\.safetensors does not fit.*norm\.weight"):
        load_backbone(kept)


def test_a_backbone_is_never_overwritten(kept: Path) -> None:
    with pytest.raises(BackboneError, match="never overwritten"):
        save_backbone(small_backbone("sasrec", seed=1), kept, ENCODER)
    assert fingerprint(load_backbone(kept), ENCODER) == fingerprint(small_backbone("sasrec"), ENCODER)


def test_a_backbone_with_adapters_is_not_saved(tmp_path: Path) -> None:
    model = small_backbone("sasrec")
    AdapterHost(model, AdapterSettings())
    with pytest.raises(BackboneError, match="adapters"):
        save_backbone(model, tmp_path / "backbone", ENCODER)


def test_a_crash_while_saving_leaves_no_backbone_and_no_obstacle(tmp_path: Path) -> None:
    (tmp_path / ".backbone.draft").mkdir()
    (tmp_path / ".backbone.draft" / "junk").touch()
    save_backbone(small_backbone("sasrec"), tmp_path / "backbone", ENCODER)
    assert {path.name for path in (tmp_path / "backbone").iterdir()} == {CONFIG, WEIGHTS, TEXTS, RECORD}


def test_the_weights_of_the_language_model_are_taken_over() -> None:
    model = build_backbone(language_model(tiny_llama()), LENGTH, small_catalogue(), seed=0)
    original = load_file(tiny_llama() / "model.safetensors")
    wrapped = model.state_dict()
    taken = {name: value for name, value in original.items() if name.startswith("model.")}
    assert len(taken) > 10
    for name, value in taken.items():
        assert torch.equal(wrapped[name.replace("model.", "decoder.", 1)], value)


def test_half_precision_weights_are_read_as_float32(tmp_path: Path) -> None:
    save_llama(tmp_path, torch.bfloat16)
    model = build_backbone(language_model(tmp_path), LENGTH, small_catalogue(), seed=0)
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}


def llama_with_tokenizer(folder: Path) -> Path:
    """Folder of a model whose tokenizer knows `toy` (4) and `story` (7)."""
    shutil.copytree(tiny_llama(), folder / "llm")
    vocabulary = {"[UNK]": 0, "toy": 4, "story": 7}
    tokenizer = Tokenizer(WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = Whitespace()
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="[UNK]").save_pretrained(folder / "llm")
    return folder / "llm"


def test_items_that_arrive_later_get_the_mean_of_their_texts_tokens_too(tmp_path: Path) -> None:
    folder = llama_with_tokenizer(tmp_path)
    model = build_backbone(language_model(folder), LENGTH, small_catalogue(), seed=0)
    save_backbone(model, tmp_path / "backbone", ENCODER)
    shutil.rmtree(folder)
    loaded = load_backbone(tmp_path / "backbone")
    table = model.decoder.get_input_embeddings().weight
    torch.testing.assert_close(loaded.own_row("toy story"), (table[4] + table[7]) / 2)
    assert not loaded.own_row("").any()


def test_a_saved_tokenizer_that_was_changed_is_refused(tmp_path: Path) -> None:
    model = build_backbone(language_model(llama_with_tokenizer(tmp_path)), LENGTH, small_catalogue(), seed=0)
    save_backbone(model, tmp_path / "backbone", ENCODER)
    with (tmp_path / "backbone" / TOKENIZER / "tokenizer.json").open("a") as file:
        file.write(" ")
    with pytest.raises(BackboneError, match="tokenizer is not what was saved"):
        load_backbone(tmp_path / "backbone")


def test_a_saved_backbone_without_a_tokenizer_gives_later_items_a_zero_row(tmp_path: Path) -> None:
    model = build_backbone(language_model(tiny_llama()), LENGTH, small_catalogue(), seed=0)
    save_backbone(model, tmp_path / "backbone", ENCODER)
    assert not load_backbone(tmp_path / "backbone").own_row("toy story").any()


def test_items_start_as_the_mean_of_their_texts_tokens(tmp_path: Path) -> None:
    folder = llama_with_tokenizer(tmp_path)
    texts = ("toy story", "story", "", *["toy"] * (ITEMS - 3))
    model = build_backbone(language_model(folder), LENGTH, small_catalogue(texts), seed=0)
    table = load_file(folder / "model.safetensors")["model.embed_tokens.weight"]
    rows = model.items.rows.weight
    torch.testing.assert_close(rows[1], (table[4] + table[7]) / 2)
    torch.testing.assert_close(rows[2], table[7])
    assert not rows[3].any()


def test_without_a_tokenizer_items_are_known_by_their_text_embedding() -> None:
    model = build_backbone(language_model(tiny_llama()), LENGTH, small_catalogue(), seed=0)
    assert not model.items.rows.weight.any()
    assert len(model.items.all()[1:].unique(dim=0)) == ITEMS


def test_a_broken_tokenizer_is_named(tmp_path: Path) -> None:
    shutil.copytree(tiny_llama(), tmp_path / "llm")
    (tmp_path / "llm" / "tokenizer_config.json").write_text('{"tokenizer_class": "NoSuchTokenizer"}')
    with pytest.raises(BackboneError, match="tokenizer of the language model"):
        build_backbone(language_model(tmp_path / "llm"), LENGTH, small_catalogue(), seed=0)


def test_a_language_model_that_is_not_there_is_refused_with_the_way_out(tmp_path: Path) -> None:
    with pytest.raises(BackboneError, match="safetensors weights; without network, download it first"):
        build_backbone(language_model(tmp_path / "nowhere"), LENGTH, small_catalogue(), seed=0)


def test_pickled_weights_are_never_loaded(tmp_path: Path) -> None:
    shutil.copytree(tiny_llama(), tmp_path / "llm")
    weights = load_file(tmp_path / "llm" / "model.safetensors")
    (tmp_path / "llm" / "model.safetensors").unlink()
    torch.save(weights, tmp_path / "llm" / "pytorch_model.bin")
    with pytest.raises(BackboneError, match="cannot be loaded"):
        build_backbone(language_model(tmp_path / "llm"), LENGTH, small_catalogue(), seed=0)


def test_damaged_weights_of_a_language_model_are_refused(tmp_path: Path) -> None:
    shutil.copytree(tiny_llama(), tmp_path / "llm")
    (tmp_path / "llm" / "model.safetensors").write_bytes(b"nonsense")
    with pytest.raises(BackboneError, match="cannot be loaded"):
        build_backbone(language_model(tmp_path / "llm"), LENGTH, small_catalogue(), seed=0)


def test_a_language_model_without_some_of_its_weights_is_refused(tmp_path: Path) -> None:
    shutil.copytree(tiny_llama(), tmp_path / "llm")
    file = tmp_path / "llm" / "model.safetensors"
    kept = {name: value for name, value in load_file(file).items() if "layers.1.mlp" not in name}
    save_file(kept, file, {"format": "pt"})
    with pytest.raises(BackboneError, match=r"lacks weights .* such as model\.layers\.1\.mlp\.down_proj\.weight"):
        build_backbone(language_model(tmp_path / "llm"), LENGTH, small_catalogue(), seed=0)


def test_nothing_is_said_of_layers_that_are_left_out(capfd: pytest.CaptureFixture[str]) -> None:
    settings = language_model(tiny_llama()).model_copy(update={"layers": 1})
    build_backbone(settings, LENGTH, small_catalogue(), seed=0)
    assert "UNEXPECTED" not in "".join(capfd.readouterr())


def test_the_layers_of_gpt2_can_be_adapted_too(tmp_path: Path) -> None:
    GPT2LMHeadModel(GPT2Config(vocab_size=20, n_embd=16, n_layer=1, n_head=2, n_positions=16)).save_pretrained(tmp_path)
    model = build_backbone(language_model(tmp_path), LENGTH, small_catalogue(), seed=0)
    assert model.adapter_targets == ("c_attn", "c_fc", "c_proj")
    host = AdapterHost(model, AdapterSettings())
    host.create("r0001_v0001", [1], parent=None, seed=0)
    assert any("c_attn" in name for name in host.tensors("r0001_v0001"))
