"""Peak memory of set-up over a language model: all weights, or LoRA over the frozen ones.

    python -m benchmarks.setup_memory

Saves a random language model of the shape of SmolLM2-135M, trains it for two steps in a process of its own for each
way, with gradient checkpointing, and prints one JSON object:

    weights             number of weights of the model, item table included
    gigabytes           peak memory for each way: on a CPU anonymous memory of the process, sampled every 5 ms, without
                        mapped files, which the system can take back (the file of weights, libraries); on a GPU that of
                        torch; freed blocks that the C library keeps for later use count with --plain-malloc
    estimated           what the message before the first step said
    idle                memory of a process that has loaded the libraries alone; 0 on a GPU
    seconds             of the two steps
    ratios.lora         peak by LoRA over peak of all weights
    ratios.estimate     estimate over measured peak less idle, for each way
"""

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Thread
from typing import Any

import numpy as np
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from pipeline.config import Config, load_config
from pipeline.events.windows import Windows, no_earlier
from pipeline.models.backbones.base import Backbone
from pipeline.models.backbones.factory import build_backbone
from pipeline.models.catalogue import Catalogue
from pipeline.models.placement import Placement
from pipeline.models.seeding import make_deterministic
from pipeline.setup.memory import need_of
from pipeline.setup.training import train_backbone

WAYS = ("all", "lora")
GB = 1e9
SHAPE = {"vocab_size": 49_152, "hidden_size": 576, "intermediate_size": 1_536}
HEADS = {"num_attention_heads": 9, "num_key_value_heads": 3, "tie_word_embeddings": True}


def main(arguments: list[str] | None = None) -> None:
    """Measure, and print the result as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--layers", type=int, default=30, help="layers of the model")
    parser.add_argument("--items", type=int, default=5_000, help="items of the catalogue")
    parser.add_argument("--set", dest="settings", action="append", default=[], help="setting, as for `raie`")
    parser.add_argument("--plain-malloc", action="store_true", help="count blocks that the C library keeps, too")
    parser.add_argument("--way", choices=WAYS, help=argparse.SUPPRESS)
    parser.add_argument("--model", help=argparse.SUPPRESS)
    given = parser.parse_args(arguments)
    if given.way:
        print(json.dumps(peak_of(given.way, given.model, given.items, given.settings)))
        return
    with TemporaryDirectory() as folder:
        save_model(Path(folder), given.layers)
        options = ["--model", folder, "--items", str(given.items), *(f"--set={s}" for s in given.settings)]
        found = {way: json.loads(_call(way, options, given.plain_malloc)) for way in WAYS}
        print(json.dumps(summary(found), indent=2))


def save_model(folder: Path, layers: int) -> None:
    """Save a random language model of the width of SmolLM2-135M."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        LlamaForCausalLM(LlamaConfig(num_hidden_layers=layers, **SHAPE, **HEADS)).save_pretrained(folder)


def _call(way: str, options: list[str], plain_malloc: bool) -> str:
    """Last line that a process of one way prints."""
    command = [sys.executable, "-m", "benchmarks.setup_memory", "--way", way, *options]
    # The C library returns large blocks when they are freed: what it keeps for later use is no need of the training.
    returning = {} if plain_malloc else {"MALLOC_MMAP_THRESHOLD_": "131072"}
    environment = {**os.environ, **returning}
    printed = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=environment).stdout
    return printed.splitlines()[-1]


def peak_of(way: str, model: str, items: int, settings: list[str]) -> dict[str, Any]:
    """Memory in bytes of this process before set-up and at the peak of two steps of it, and what was expected."""
    sampler = Sampler()
    idle = sampler.peak()
    make_deterministic()
    training = ("setup.max_epochs=1", "setup.batch_size=64", "setup.gradient_checkpointing=true")
    model_settings = (f"backbone.model={model}", "backbone.kind=causal_lm", f"setup.train={way}")
    config = load_config(overrides=(*model_settings, *training, *settings))
    facts: dict[str, Any] = {"idle": idle}

    def on_built(backbone: Backbone, placement: Placement, _: int) -> None:
        facts["device"] = placement.device
        facts["weights"] = sum(parameter.numel() for parameter in backbone.parameters())
        facts["estimate"] = need_of(backbone, config, placement.precision).total

    catalogue = Catalogue(tuple(map(str, range(items))), ("",) * items, np.zeros((items, 0), np.float32), "")
    windows = _windows(2 * config.setup.batch_size + 16, items, config)
    began = time.perf_counter()
    backbone = build_backbone(config.backbone, config.windows.length, catalogue, 0)
    train_backbone(backbone, config, windows[:-16], windows[-16:], 0, on_built=on_built)
    seconds = time.perf_counter() - began
    return {**facts, "device": facts["device"].type, "seconds": seconds, "peak": _peak(facts["device"], sampler)}


def _peak(device: torch.device, sampler: "Sampler") -> int:
    return torch.cuda.max_memory_allocated(device) if device.type == "cuda" else sampler.peak()


class Sampler:
    """Largest anonymous memory of this process so far, on Linux."""

    def __init__(self) -> None:
        self._most = 0
        Thread(target=self._watch, daemon=True).start()

    def peak(self) -> int:
        """Bytes."""
        self._most = max(self._most, anonymous_memory())
        return self._most

    def _watch(self) -> None:
        while True:
            self.peak()
            time.sleep(0.005)


def anonymous_memory() -> int:
    """Bytes of this process that no file backs."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("RssAnon:")) * 1024


def _windows(n: int, items: int, config: Config) -> Windows:
    rows = np.random.default_rng(0).integers(1, items + 1, size=(n, config.windows.length + 1))
    names = np.array([f"n{i}" for i in range(n)])
    times, since = np.arange(n, dtype=np.float64), np.zeros(n, dtype=np.int64)
    return Windows(rows[:, :-1].copy(), rows[:, -1].copy(), names, names, times, since, np.arange(n), no_earlier(n))


def summary(found: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """The result, from the peaks of the processes."""
    whole = found["all"]
    idle = whole["idle"] if whole["device"] == "cpu" else 0
    estimates = {f"estimate_{way}": each["estimate"] / (each["peak"] - idle) for way, each in found.items()}
    return {
        "device": whole["device"],
        "weights": whole["weights"],
        "gigabytes": {way: each["peak"] / GB for way, each in found.items()},
        "estimated": {way: each["estimate"] / GB for way, each in found.items()},
        "idle": idle / GB,
        "seconds": {way: each["seconds"] for way, each in found.items()},
        "ratios": {"lora": found["lora"]["peak"] / whole["peak"], **estimates},
    }


if __name__ == "__main__":
    main()
