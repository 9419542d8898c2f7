"""Worth of pretrained weights: a language model against the same shape with random weights, by size of set-up.

    python -m benchmarks.pretrained --data PATH --set backbone.model=smollm2-135m --set backbone.layers=4
    python -m benchmarks.pretrained --quick

Trains each model (pretrained, random) of each format (items, text) on the newest 1,000, 5,000 and all windows of
set-up, and ranks the targets of windows that none was trained on: the last of each user of S (`S_new`), and the newest
windows of the stream whose targets set-up has not seen, among all items of set-up and stream. Prints one JSON object:

    windows             windows of each set of held-out windows
    rows                recall@10 of every model, by format, weights, size and seed, with the seconds of its training
    differences         pretrained less random: mean over seeds, and its 95% interval by a bootstrap over windows
    seconds             of the whole run
"""

import argparse
import json
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

from pipeline.config import Config, load_config
from pipeline.datasets.dataset import read_dataset
from pipeline.datasets.simulator import simulate, write
from pipeline.evaluation.protocols import plan_replay
from pipeline.evaluation.replay_inputs import encoder_of
from pipeline.events.windows import Windows
from pipeline.metrics.ranking import LIST_LENGTH, rank_of_targets
from pipeline.models.backbones.base import Backbone
from pipeline.models.backbones.factory import build_backbone
from pipeline.models.backbones.packaged import SMOLLM2, converted_smollm2
from pipeline.models.catalogue import Catalogue, make_catalogue
from pipeline.models.seeding import make_deterministic, seeded
from pipeline.setup.bootstrap import validation_mask
from pipeline.setup.training import train_backbone
from pipeline.strategies.base import grown

FORMATS = ("items", "text")
WEIGHTS = ("pretrained", "random")
DRAWS = 2_000
"""Draws of the bootstrap."""

QUICK = ("backbone.layers=1", "setup.max_epochs=1", "windows.length=5", "backbone.text_tokens=6")

Hits = NDArray[np.float64]


class Task(NamedTuple):
    """Windows to learn and to rank.

    Attributes:
        learned: windows of set-up.
        asked: held-out windows by name.
        known: items of set-up.
        catalogue: all items.
    """

    learned: Windows
    asked: Mapping[str, Windows]
    known: Catalogue
    catalogue: Catalogue


def main(arguments: list[str] | None = None) -> None:
    """Measure, and print the result as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="log to learn from; by default a simulated one")
    parser.add_argument("--sizes", type=int, nargs="+", default=[1_000, 5_000], help="windows of set-up, beside all")
    parser.add_argument("--formats", nargs="+", choices=FORMATS, default=list(FORMATS), help="those to measure")
    parser.add_argument("--no-whole", action="store_true", help="leave out the size of all windows of set-up")
    parser.add_argument("--most", type=int, default=2_000, help="held-out windows of each kind, at most")
    parser.add_argument("--seeds", type=int, default=1, help="number of seeds: 0, 1, ...")
    parser.add_argument("--set", dest="settings", action="append", default=[], help="setting, as for `raie`")
    parser.add_argument("--quick", action="store_true", help="one layer, one epoch, one size of 128 windows")
    given = parser.parse_args(arguments)
    began = time.perf_counter()
    model = ("backbone.kind=causal_lm", f"backbone.model={SMOLLM2}", "setup.learning_rate=3e-4", "setup.batch_size=32")
    config = load_config(overrides=(*model, *(QUICK if given.quick else ()), *given.settings))
    make_deterministic()
    with tempfile.TemporaryDirectory() as folder:
        task = task_of(Path(folder), given.data, config, 200 if given.quick else given.most)
        whole = [] if given.no_whole else [len(task.learned)]
        sizes = [128] if given.quick else [*(n for n in given.sizes if n < len(task.learned)), *whole]
        found = measured(Path(folder), task, given.formats, sizes, range(given.seeds), config)
    print(json.dumps({**found, "seconds": time.perf_counter() - began}, indent=2))


def task_of(folder: Path, data: Path | None, config: Config, most: int) -> Task:
    """Windows of a log, or of a simulated one; at most so many held-out ones of each kind."""
    if data is None:
        data = folder / "data"
        write(simulate("emerging", 0, 6_000), data)
    dataset = read_dataset(data)
    plan = plan_replay(dataset, config)
    encoder = encoder_of(config.items, lambda *_: None, 0)
    catalogue = make_catalogue(plan.timeline.item_ids, dataset.items, encoder)
    stream = plan.stream
    unseen = stream[~stream.cold & (stream.targets > plan.timeline.setup_items)]
    new = plan.scored["S_new"]
    asked = {"S_new": new[~new.cold], "unseen in S": unseen}
    asked = {name: windows[slice(max(len(windows) - most, 0), None)] for name, windows in asked.items()}
    return Task(plan.setup[~plan.setup.cold], asked, catalogue.first(plan.timeline.setup_items), catalogue)


def measured(
    folder: Path, task: Task, formats: Sequence[str], sizes: Sequence[int], seeds: Sequence[int], config: Config
) -> dict[str, Any]:
    """Train and rank every model; return rows and differences."""
    models = dict(zip(WEIGHTS, sources(folder, config), strict=True))
    rows: list[dict[str, Any]] = []
    hits: dict[tuple[str, int, str, str], list[Hits]] = {}
    for form, size, seed, (weights, source) in cases(formats, sizes, seeds, models):
        settings = config.backbone.model_copy(update={"model": str(source), "format": form, "layers": None})
        began = time.perf_counter()
        model = trained(task, size, seed, config.model_copy(update={"backbone": settings}))
        seconds = time.perf_counter() - began
        found = {name: hits_of(model, windows, config) for name, windows in task.asked.items()}
        for name, hit in found.items():
            hits.setdefault((form, size, name, weights), []).append(hit)
        recall = {name: float(hit.mean()) if len(hit) else None for name, hit in found.items()}
        case = {"format": form, "weights": weights, "windows": size, "seed": seed}
        rows.append({**case, "recall@10": recall, "training_seconds": seconds})
    windows = {name: len(asked) for name, asked in task.asked.items()}
    return {"windows": windows, "rows": rows, "differences": list(differences(hits))}


def cases(
    formats: Sequence[str], sizes: Sequence[int], seeds: Sequence[int], models: Mapping[str, Path]
) -> Iterator[tuple[str, int, int, tuple[str, Path]]]:
    """Yield format, size, seed, and name and folder of the weights."""
    for form in formats:
        for size in sizes:
            for seed in seeds:
                for model in models.items():
                    yield form, size, seed, model


def sources(folder: Path, config: Config) -> tuple[Path, Path]:
    """Folders of the first layers of the language model, and of a model of the same shape with random weights."""
    name = str(config.backbone.model)
    source = str(converted_smollm2(Path(config.backbone.cache).expanduser())) if name == SMOLLM2 else name
    shape, tokenizer = AutoConfig.from_pretrained(source), AutoTokenizer.from_pretrained(source)
    if config.backbone.layers is not None:
        shape.num_hidden_layers = config.backbone.layers
    made = AutoModelForCausalLM.from_pretrained(source, config=shape, dtype=torch.float32)
    with seeded(0):
        models = (made, AutoModelForCausalLM.from_config(shape, dtype=torch.float32))
    for weights, model in zip(WEIGHTS, models, strict=True):
        model.save_pretrained(folder / weights)
        tokenizer.save_pretrained(folder / weights)
    return folder / WEIGHTS[0], folder / WEIGHTS[1]


def trained(task: Task, size: int, seed: int, config: Config) -> Backbone:
    """A backbone trained on the newest windows of set-up, with a row for every item."""
    model = build_backbone(config.backbone, config.windows.length, task.known, seed)
    learned = task.learned[slice(len(task.learned) - size, None)]
    judged = validation_mask(size, config, seed)
    train_backbone(model, config, learned[~judged], learned[judged], seed)
    return grown(model, task.catalogue)


@torch.inference_mode()
def hits_of(model: Backbone, windows: Windows, config: Config) -> Hits:
    """(n,) 1 where the target is among the first ten of all items, else 0."""
    vectors, hits = model.items.all(), [np.zeros(0)]
    for start in range(0, len(windows), config.replay.score_batch):
        batch = windows[slice(start, start + config.replay.score_batch)]
        scores = model.last(model.windows(batch.contexts), vectors) @ vectors.T
        scores[:, 0] = -torch.inf
        ranks = rank_of_targets(scores.cpu().numpy(), batch.targets, batch.contexts)
        hits.append((ranks <= LIST_LENGTH).astype(np.float64))
    return np.concatenate(hits)


def differences(hits: Mapping[tuple[str, int, str, str], Sequence[Hits]]) -> Iterator[dict[str, Any]]:
    """Yield pretrained less random by format, size and held-out windows; seeds are averaged first."""
    for form, size, name, weights in hits:
        if weights != WEIGHTS[0]:
            continue
        pairs = [np.mean(hits[(form, size, name, one)], axis=0) for one in WEIGHTS]
        gain = pairs[0] - pairs[1]
        if not len(gain):
            continue
        draws = np.random.default_rng(0).integers(len(gain), size=(DRAWS, len(gain)))
        low, high = np.quantile(gain[draws].mean(axis=1), (0.025, 0.975))
        case = {"format": form, "windows": size, "asked": name}
        yield {**case, "difference": float(gain.mean()), "interval": [float(low), float(high)]}


if __name__ == "__main__":
    main()
