import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.models.text import factory, open_text_encoder
from pipeline.models.text.cache import CachedEncoder
from pipeline.models.text.hashing import HashingEncoder
from pipeline.models.text.huggingface import TransformerEncoder


def test_none_means_ids_alone(tmp_path: Path) -> None:
    assert open_text_encoder("none", tmp_path) is None


def test_hashing_is_never_cached(tmp_path: Path) -> None:
    assert isinstance(open_text_encoder("hashing", tmp_path), HashingEncoder)


def test_auto_without_the_package_is_hashing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(factory, "packaged_minilm", lambda: None)
    assert isinstance(open_text_encoder("auto", None), HashingEncoder)


def test_a_folder_is_a_transformer_cached_where_asked(tiny_bert: Path, tmp_path: Path) -> None:
    assert isinstance(open_text_encoder(str(tiny_bert), None), TransformerEncoder)
    cached = open_text_encoder(str(tiny_bert), tmp_path)
    assert isinstance(cached, CachedEncoder)
    assert cached.name == str(tiny_bert)
    assert cached.dimensions == 16


def test_hashing_needs_no_torch() -> None:
    code = "import sys, pipeline.models.text as t; t.open_text_encoder('hashing', None); print('torch' in sys.modules)"
    root = Path(__file__).parents[3]
    run = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "False"
