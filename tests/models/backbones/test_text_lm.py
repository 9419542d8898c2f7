"""The format `text`: what a language model reads of a window, and what follows when texts come and change."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from pipeline.config import BackboneSettings
from pipeline.errors import BackboneError
from pipeline.models.backbones.checkpoint import RECORD, TEXTS, load_backbone, save_backbone
from pipeline.models.backbones.factory import build_backbone
from pipeline.models.backbones.text_lm import INSTRUCTION, NO_TOKEN, TOGETHER, TextLM
from tests.models.backbones.small import (
    CONTEXTS,
    EMPTY,
    LENGTH,
    TITLES,
    scores,
    settings_of,
    small_backbone,
    small_catalogue,
    text_llama,
    tiny_llama,
)

KIND = "causal_lm_text"


def text_model() -> TextLM:
    model = small_backbone(KIND)
    assert isinstance(model, TextLM)
    return model


def read_by_hand(model: TextLM, rows: list[int]) -> torch.Tensor:
    """(items, d) states of one window, item after item in one sequence."""
    embeddings, vectors = model.decoder.get_input_embeddings().weight, model.items.all()
    inputs, ends = [model.start, *embeddings[model.tokenizer(INSTRUCTION)["input_ids"]]], []
    for row in rows:
        inputs += [*embeddings[model.tokenizer(TITLES[row - 1])["input_ids"]], vectors[row]]
        ends.append(len(inputs) - 1)
    states: torch.Tensor = model.decoder(inputs_embeds=torch.stack(inputs).unsqueeze(0)).last_hidden_state[0, ends]
    return states


@torch.inference_mode()
def test_a_window_is_read_as_instruction_and_then_the_tokens_and_the_vector_of_each_item() -> None:
    model = text_model()
    states = model(CONTEXTS)[0]
    for window, found in zip(CONTEXTS.tolist(), states, strict=True):
        rows = [row for row in window if row]
        torch.testing.assert_close(found[LENGTH - len(rows) :], read_by_hand(model, rows), rtol=1e-5, atol=1e-5)


def test_the_instruction_shared_by_all_windows_is_as_one_of_their_own() -> None:
    model = text_model()
    both = torch.cat([EMPTY, CONTEXTS])
    own = model(both)[0]
    with torch.inference_mode():
        shared = model(both)[0]
    torch.testing.assert_close(shared, own.detach(), rtol=1e-5, atol=1e-6)
    assert own.requires_grad and not shared.requires_grad


@torch.inference_mode()
def test_states_do_not_depend_on_how_many_windows_are_asked_for() -> None:
    model = text_model()
    many = CONTEXTS.repeat(TOGETHER, 1)
    torch.testing.assert_close(model(many)[0], model(CONTEXTS)[0].repeat(TOGETHER, 1, 1), rtol=1e-5, atol=1e-5)


@torch.inference_mode()
def test_the_text_of_an_item_changes_the_windows_that_hold_it_and_no_others() -> None:
    model = text_model()
    before, vector = model(CONTEXTS)[0], model.items.text[7].clone()
    model.set_item(7, "now now now", vector, keep_row=True)
    changed = (model(CONTEXTS)[0] - before).abs().amax(dim=(1, 2)) > 1e-6
    assert changed.tolist() == [7 in window for window in CONTEXTS.tolist()]
    assert scores(model, CONTEXTS).isfinite().all()


def test_a_text_is_cut_and_an_item_without_one_has_no_tokens() -> None:
    model = text_model()
    model.items.resize(300)
    model.set_item(299, "toy story heat casino sudden", torch.zeros(6), keep_row=False)
    model.set_item(300, "", torch.zeros(6), keep_row=False)
    assert model.tokens[299].tolist() == [1, 2, 3]
    assert model.tokens[300].tolist() == [NO_TOKEN] * 3
    assert not model.items.rows.weight[300].any()
    windows = torch.tensor([[0, 0, 0, 0, 299], [0, 0, 0, 0, 300]])
    assert scores(model, windows).isfinite().all()


def test_texts_are_saved_and_a_change_of_them_is_seen(tmp_path: Path) -> None:
    save_backbone(text_model(), tmp_path / "backbone", "test")
    loaded = load_backbone(tmp_path / "backbone")
    assert isinstance(loaded, TextLM)
    assert torch.equal(loaded.tokens, text_model().tokens)
    assert f'"kind": "{KIND}"' in (tmp_path / "backbone" / RECORD).read_text()
    saved = load_file(tmp_path / "backbone" / TEXTS)
    saved["tokens"][3, 0] += 1
    save_file(saved, tmp_path / "backbone" / TEXTS)
    with pytest.raises(BackboneError, match=rf"{TEXTS} is not what was saved"):
        load_backbone(tmp_path / "backbone")


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"model": str(tiny_llama())}, "has no tokenizer"),
        (
            {"text_tokens": 20},
            r"a window of texts may take 115 positions.*has 64.*windows\.length \(5\).*text_tokens \(20\)",
        ),
    ],
)
def test_what_cannot_read_texts_is_refused(changed: dict[str, object], words: str) -> None:
    settings: BackboneSettings = settings_of(KIND).model_copy(update=changed)
    with pytest.raises(BackboneError, match=words):
        build_backbone(settings, LENGTH, small_catalogue(TITLES), seed=0)


def test_the_weights_are_those_of_the_language_model() -> None:
    original = load_file(text_llama() / "model.safetensors")
    found = build_backbone(settings_of(KIND), LENGTH, small_catalogue(TITLES), seed=0).state_dict()
    assert torch.equal(found["decoder.embed_tokens.weight"], original["model.embed_tokens.weight"])
    assert "tokens" not in found
