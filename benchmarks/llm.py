"""Cost that the pipeline adds to a language model: training, gate, mixed batches, publication. One JSON object.

    make llm
    python -m benchmarks.llm [--layers 4] [--batch 256] [--regions 1 32 256 1000] [--quick]

Over the first `--layers` layers of SmolLM2-135M or another `--model`, in one process, in turns:

    setup_step   a training step of set-up, beside the same step written with torch and transformers alone
    edit         a training step of an edit's adapter, beside a LoRA of peft on the same layers and windows, which has
                 neither item rows nor a text projection
    gate         the handler of the gate over a simulated stream, second stage included, beside one pass of the model
    mixed        a batch whose windows belong to 1 ... 1,000 regions with item rows, beside the same batch without any
    served       from the tensors of a new version to the first answer with it: written, verified, loaded, scored

`ratios` holds medians over those of the bare way. Mixed batches are compared with peft before they are timed; the
largest relative difference is stated.
"""

import argparse
import copy
import json
import statistics
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from peft import LoraConfig, get_peft_model
from torch import Tensor, nn
from torch.nn import functional

from adapters_store import AdaptersStore
from consumers.gate.scoring import GateScoring, Taken
from pipeline.config import AdapterSettings, Config, load_config
from pipeline.datasets.dataset import read_dataset
from pipeline.datasets.simulator import simulate, write
from pipeline.evaluation.replay import prepare
from pipeline.events.existence import Existence
from pipeline.events.interaction import Interaction
from pipeline.events.item import Item
from pipeline.events.windows import History, Ids, Windows
from pipeline.models.backbones.base import last_states
from pipeline.models.backbones.causal_lm import CausalLM
from pipeline.models.catalogue import Catalogue, make_catalogue
from pipeline.models.lora.batched_forward import BatchedForward
from pipeline.models.lora.host import AdapterHost
from pipeline.models.open_catalogue import OpenCatalogue
from pipeline.models.seeding import make_deterministic
from pipeline.models.text.hashing import HashingEncoder
from pipeline.models.training.loop import fit
from pipeline.models.training.loss import softmax_rows
from pipeline.regions.mixing import next_item_probabilities
from pipeline.setup.bootstrap import set_up
from pipeline.telemetry import new_metrics

LENGTH, ROWS = 10, 100
"""Items of a window, and item rows that a region moves."""

SETTINGS = ("backbone.kind=causal_lm", "items.text_encoder=hashing", f"windows.length={LENGTH}")

ADAPTER = AdapterSettings(rank=8, alpha=16.0, dropout=0.0)
AMPLE = 8_000_000_000

Way = Callable[[], object]


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, and print the results."""
    options = _arguments(arguments)
    torch.set_num_threads(options.threads)
    # peft reads a property that transformers renamed.
    warnings.filterwarnings("ignore", ".*is_gradient_checkpointing.*is deprecated", FutureWarning)
    make_deterministic()
    model_and_layers = (f"backbone.model={options.model}", f"backbone.layers={options.layers}")
    config = load_config(None, (*SETTINGS, *model_and_layers))
    began = time.perf_counter()
    model = Model(config, options)
    times = {"setup_step": model.setup_step(), "edit": model.edit()}
    mixed, difference = model.mixed()
    times |= mixed
    times["served"] = model.served()
    times["gate"] = gate(config, options)
    ratios = {
        name: round(found["ours"] / found["bare"], 3) for name, found in times.items() if found.get("bare") is not None
    }
    report = {
        "settings": vars(options),
        "weights": model.weights,
        "seconds": {name: {way: float(f"{s:.4g}") for way, s in found.items()} for name, found in times.items()},
        "ratios": ratios,
        "largest_relative_difference_to_peft": difference,
        "took_s": round(time.perf_counter() - began),
    }
    print(json.dumps(report, indent=2))


def _arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="smollm2-135m", help="a causal language model, as of backbone.model")
    parser.add_argument("--layers", type=int, default=4, help="first layers of the language model that are kept")
    parser.add_argument("--batch", type=int, default=256, help="windows of a mixed batch")
    parser.add_argument("--regions", type=int, nargs="+", default=[1, 32, 256, 1000])
    parser.add_argument("--items", type=int, default=10_000)
    parser.add_argument("--events", type=int, default=1_500, help="of the gate's stream")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--quick", action="store_true", help="one layer, few of all: it runs, and measures nothing")
    options = parser.parse_args(arguments)
    if options.quick:
        options.layers, options.batch, options.regions, options.items = 1, 8, [1, 2], 300
        options.events, options.repeats = 500, 1
    return options


class Model:
    """A language model with a catalogue, and windows to score.

    Args:
        config: the whole tree.
        options: of the command.

    Attributes:
        weights: number of weights of the backbone.
    """

    def __init__(self, config: Config, options: argparse.Namespace) -> None:
        self._config, self._options, self._rng = config, options, np.random.default_rng(0)
        self._catalogue = _catalogue(options.items)
        self._backbone = CausalLM.from_settings(config.backbone, LENGTH, self._catalogue)
        self._backbone.items.text.copy_(torch.cat([torch.zeros(1, self._text), self._texts]))
        self._windows: Ids = self._rng.integers(1, options.items + 1, size=(options.batch, LENGTH))
        self.weights = sum(weight.numel() for weight in self._backbone.parameters())

    @property
    def _texts(self) -> Tensor:
        return torch.from_numpy(self._catalogue.vectors)

    @property
    def _text(self) -> int:
        return int(self._catalogue.vectors.shape[1])

    def setup_step(self) -> dict[str, float]:
        """Seconds of a step over one batch: all weights, softmax over the catalogue."""
        size = min(self._config.setup.batch_size, self._options.batch)
        windows = self._some(size)
        ours, bare = copy.deepcopy(self._backbone), copy.deepcopy(self._backbone)
        step = self._fitted(ours, windows, [{"params": list(ours.parameters()), "lr": 1e-4}])
        return _medians({"ours": step, "bare": _bare_step(bare, windows, list(bare.parameters()))}, self._options)

    def edit(self) -> dict[str, float]:
        """Seconds of a step of an edit over one batch."""
        windows = self._some(min(self._config.training.batch_size, self._options.batch))
        host = AdapterHost(copy.deepcopy(self._backbone), ADAPTER)
        host.create("r0001_v0001", np.unique(windows.contexts).tolist(), parent=None, seed=0)

        def train() -> None:
            with host.active("r0001_v0001") as model:
                self._fitted(model, windows, host.parameter_groups("r0001_v0001", 1e-3, 1e-3))()

        plain = copy.deepcopy(self._backbone)
        targets = list(plain.adapter_targets)
        get_peft_model(plain, LoraConfig(r=ADAPTER.rank, lora_alpha=ADAPTER.alpha, target_modules=targets))
        trained = [weight for weight in plain.parameters() if weight.requires_grad]
        return _medians({"ours": train, "bare": _bare_step(plain, windows, trained)}, self._options)

    def mixed(self) -> tuple[dict[str, dict[str, float]], float]:
        """Seconds of a batch of windows by number of regions, and the largest difference to peft."""
        forward = BatchedForward(copy.deepcopy(self._backbone), ADAPTER, AMPLE)
        host = AdapterHost(copy.deepcopy(self._backbone), ADAPTER)
        for number in range(max(self._options.regions)):
            forward.register(*self._adapter(host, number))
        self._backbone.eval()
        found = {}
        for regions in self._options.regions:
            of = np.sort(self._rng.integers(regions, size=len(self._windows)))
            names = [f"r{number:04}_v0001" for number in of.tolist()]
            ways: dict[str, Way] = {
                "ours": partial(forward.probabilities, self._windows, names),
                "bare": partial(_alone, self._backbone, forward.vectors, self._windows),
            }
            found[f"mixed_{regions}"] = _medians(ways, self._options)
        return found, self._difference(forward, host)

    def served(self) -> dict[str, float]:
        """Seconds from a version's tensors to the first answer with it."""
        forward = BatchedForward(copy.deepcopy(self._backbone), ADAPTER, AMPLE)
        host = AdapterHost(copy.deepcopy(self._backbone), ADAPTER)
        numbers = iter(range(1, 10_000))
        with TemporaryDirectory() as folder:
            store = AdaptersStore(folder)

            def serve() -> None:
                version = next(numbers)
                _, tensors, rows = self._adapter(host, 0)
                cause = {"backbone_sha256": "0" * 64, "edit_id": f"e{version}", "parent": None, "seed": 0}
                shape = {"rank": ADAPTER.rank, "targets": self._backbone.adapter_targets, "before": {}, "after": {}}
                name = store.publish(1, version, tensors, {"items": rows}, **cause, **shape).name  # type: ignore[arg-type]
                loaded = store.load(name, backbone_sha256="0" * 64)
                forward.register(name, loaded.tensors, rows)
                forward.probabilities(self._windows[:1], [name])

            return _medians({"ours": serve}, self._options)

    def _some(self, size: int) -> Windows:
        """Windows to train on."""
        contexts, targets = self._windows[:size], self._rng.integers(1, self._options.items + 1, size=size)
        names, numbers = np.array([f"e{i}" for i in range(size)]), np.arange(size)
        nothing = np.zeros((size, 0), dtype=np.int32)
        return Windows(contexts, targets, names, names, numbers.astype(np.float64), numbers * 0, numbers, nothing)

    def _fitted(self, model: Any, windows: Windows, groups: Sequence[dict[str, Any]]) -> Way:
        rows = softmax_rows(np.arange(1, self._options.items + 1), self._config.softmax)
        return partial(fit, model, windows, groups, rows, epochs=1, batch_size=len(windows), seed=0)

    def _adapter(self, host: AdapterHost, number: int) -> tuple[str, Mapping[str, Any], list[int]]:
        """Name, tensors and item rows of an adapter with random weights."""
        rows = np.sort(self._rng.choice(self._options.items, size=ROWS, replace=False) + 1).tolist()
        if not hasattr(self, "_shapes"):
            host.create("r9999_v0001", rows, parent=None, seed=0)
            self._shapes = {key: of.shape for key, of in host.tensors("r9999_v0001").items()}
            host.drop("r9999_v0001")
        made = {key: self._rng.normal(size=of, scale=0.02).astype(np.float32) for key, of in self._shapes.items()}
        return f"r{number:04}_v0001", made, rows

    def _difference(self, forward: BatchedForward, host: AdapterHost) -> float:
        """Largest difference between our pass and peft's, as a share of the larger probability."""
        compared = []
        for number in (9_001, 9_002):
            name, tensors, rows = self._adapter(host, number)
            forward.register(name, tensors, rows)
            host.register(name, tensors, rows)
            windows = self._windows[:4]
            one = forward.probabilities(windows, [name] * len(windows))
            other = next_item_probabilities(host, windows, name, Existence.of_all(self._options.items))
            torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-6)
            compared.append(((one - other).abs() / torch.maximum(one, other).clamp(min=1e-6)).max())
        return float(max(compared))


def gate(config: Config, options: argparse.Namespace) -> dict[str, float]:
    """Seconds of an event in the gate's handler, learning included, and in one pass of the model."""
    with TemporaryDirectory() as folder:
        write(simulate("emerging", 0, 2 * options.events), Path(folder) / "data")
        plan, catalogue = prepare(read_dataset(Path(folder) / "data"), config, lambda *_: None)
        short = config.model_copy(update={"setup": config.setup.model_copy(update={"max_epochs": 1})})
        setup = set_up(short, catalogue, plan.setup, 0)
        encoder, store = HashingEncoder(), AdaptersStore(Path(folder) / "adapters")
        host = AdapterHost(setup.backbone, config.adapter)
        scoring = GateScoring(setup, config, encoder, host, store, "gate", new_metrics(), lambda *_: None)
        scoring.scorer.beginning()
        taken = _taken(plan.stream, plan.timeline.item_ids)
        catalogue_of_pass, size = OpenCatalogue(setup.catalogue, encoder), config.gate.batch_size
        spent = {"ours": 0.0, "bare": 0.0}
        for start in range(0, len(taken), size):
            batch = taken[start : start + size]
            contexts, _ = catalogue_of_pass.contexts([history for _, history in batch], LENGTH)
            existence = Existence.of_all(len(setup.catalogue))
            spent["bare"] += _timed(partial(next_item_probabilities, host, contexts, None, existence))
            spent["ours"] += _timed(partial(scoring.score, batch))
        return {way: seconds / len(taken) for way, seconds in spent.items()}


def _taken(stream: Windows, item_ids: Sequence[str]) -> list[Taken]:
    """Events of a replay's windows with their histories, as a gate sees them."""
    found = []
    for n, context in enumerate(stream.contexts):
        items = tuple(item_ids[row - 1] for row in context[context > 0].tolist())
        event = Interaction(
            f"e{n}", str(stream.users[n]), item_ids[int(stream.targets[n]) - 1], float(stream.timestamps[n])
        )
        found.append((event, History(items, min(int(stream.since_setup[n]), len(items)))))
    return found


def _catalogue(items: int) -> Catalogue:
    ids = [f"i{number}" for number in range(1, items + 1)]
    return make_catalogue(ids, {i: Item(i, f"Item number {i[1:]} (2026)") for i in ids}, HashingEncoder())


def _bare_step(model: CausalLM, windows: Windows, weights: Sequence[nn.Parameter]) -> Way:
    """A training step by torch and transformers alone: the catalogue's vectors, the decoder, a softmax, Adam."""
    optimizer = torch.optim.Adam(weights, lr=1e-4, fused=True)
    contexts, targets = torch.from_numpy(windows.contexts), torch.from_numpy(windows.targets)

    def step() -> None:
        model.train()
        vectors = model.items.all()
        states = model.decoder(inputs_embeds=functional.embedding(contexts, vectors), use_cache=False).last_hidden_state
        optimizer.zero_grad()
        functional.cross_entropy(last_states(states) @ vectors.T, targets).backward()
        nn.utils.clip_grad_norm_(weights, 5.0)
        optimizer.step()

    return step


@torch.inference_mode()
def _alone(backbone: CausalLM, vectors: Tensor, windows: Ids) -> Tensor:
    """One pass of the backbone."""
    return (last_states(backbone.hidden(torch.from_numpy(windows), vectors)) @ vectors.T).softmax(dim=1)


def _medians(ways: Mapping[str, Way], options: argparse.Namespace) -> dict[str, float]:
    """Median seconds of each way; they take turns, so that a busy machine slows all of them alike."""
    for way in ways.values():
        way()
    taken: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(options.repeats):
        for name, way in ways.items():
            taken[name].append(_timed(way))
    return {name: statistics.median(of) for name, of in taken.items()}


def _timed(way: Way) -> float:
    began = time.perf_counter()
    way()
    return time.perf_counter() - began


if __name__ == "__main__":
    main()
