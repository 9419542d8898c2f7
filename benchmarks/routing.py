"""Cost of a batch whose rows belong to many regions.

`pipeline.models.lora` ("ours") against the backbone alone and against two methods of peft: switching adapters region by
region, and one pass with `adapter_names`. All run in one process, on the same adapters and windows: LoRA factors on
every linear layer, a few hundred item rows a region and a low-rank delta of the text projection. Probabilities are
compared before anything is timed. Prints one JSON object; `ratios` holds median time over that of the backbone.

`adapter_names` supports neither own item rows nor vectors outside its forward pass (peft 0.21), so it runs without
item rows and its probabilities are compared with ours for adapters that move none.

Rows are sorted by region, as in the server.

    python benchmarks/routing.py --length 50
"""

import argparse
import json
import statistics
import time
import warnings
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from peft import LoraConfig, get_peft_model
from torch import Tensor

from pipeline.config import AdapterSettings
from pipeline.events.existence import Existence
from pipeline.events.windows import Ids
from pipeline.models.backbones.base import last_states
from pipeline.models.backbones.sasrec import SASRec
from pipeline.models.backbones.transformer import SequenceConfig
from pipeline.models.lora.batched_forward import BatchedForward
from pipeline.models.lora.host import AdapterHost
from pipeline.regions.mixing import next_item_probabilities

RANK, WIDTH, BLOCKS = 8, 128, 2
SETTINGS = AdapterSettings(rank=RANK, alpha=16.0, dropout=0.0)
AMPLE = 2_000_000_000

Adapter = tuple[str, dict[str, np.ndarray], list[int]]


def main() -> None:
    """Measure, and print the results."""
    options = _arguments()
    torch.set_num_threads(options.threads)
    warnings.filterwarnings("ignore", ".*is_gradient_checkpointing.*is deprecated", FutureWarning)
    backbone = _backbone(options)
    rng = np.random.default_rng(0)
    windows = rng.integers(1, options.items + 1, size=(options.batch, options.length))
    # Wrapping changes the modules in place: each method has a copy of its own.
    forward = BatchedForward(_backbone(options), SETTINGS, AMPLE)
    host = AdapterHost(_backbone(options), SETTINGS)
    shapes = _shapes(host, options.rows)
    adapters = [_adapter(i, shapes, options, rng) for i in range(max(options.regions))]
    for adapter in adapters:
        forward.register(*adapter)
    found: dict[str, dict[str, float]] = {
        name: {} for name in ("ours", "peft_switch", "peft_names", "several_routes", "backbone_lean", "backbone_served")
    }
    compared: dict[str, dict[str, float]] = {"peft_switch": {}, "peft_names": {}}
    for regions in options.regions:
        region_of = np.sort(rng.integers(regions, size=options.batch))
        names = [adapters[i][0] for i in region_of]
        methods: dict[str, Callable[[], Tensor]] = {
            "backbone": partial(_alone, backbone, forward.vectors, windows),
            "backbone_lean": partial(_lean, backbone, forward.vectors, windows),
            "backbone_served": partial(_served, forward, windows),
            "ours": partial(forward.probabilities, windows, names),
        }
        if regions <= options.peft_most:
            _register(host, adapters[:regions])
            methods["peft_switch"] = partial(_switch, host, windows, names)
            compared["peft_switch"][str(regions)] = _largest(methods["ours"](), methods["peft_switch"]())
            named = _Named(_backbone(options), adapters[:regions])
            methods["peft_names"] = partial(named.probabilities, windows, names)
            compared["peft_names"][str(regions)] = named.difference(windows, names, adapters[:regions])
        times = _medians(methods, options)
        for method, seconds in times.items():
            if method != "backbone":
                found[method][str(regions)] = round(seconds / times["backbone"], 3)
        found["several_routes"][str(regions)] = _several(forward, windows, names, adapters[:regions], options)
    print(json.dumps(_report(options, found, compared), indent=2))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--regions", type=int, nargs="+", default=[1, 3, 32, 128, 1000])
    parser.add_argument("--peft-most", type=int, default=128, help="most regions with which the methods of peft run")
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--length", type=int, default=50, help="items of a window")
    parser.add_argument("--items", type=int, default=10_000)
    parser.add_argument("--rows", type=int, default=300, help="item rows that a region moves")
    parser.add_argument("--text", type=int, default=256, help="text dimensions")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument(
        "--processor-time",
        action="store_true",
        help="time of all threads, where other programs would distort the clock",
    )
    return parser.parse_args()


def _backbone(options: argparse.Namespace) -> SASRec:
    torch.manual_seed(0)
    config = SequenceConfig(options.items, options.text, options.length, WIDTH, BLOCKS, heads=2)
    model = SASRec(config)
    model.items.text.normal_(std=options.text**-0.5)
    model.eval()  # type: ignore[no-untyped-call]
    return model


def _shapes(host: AdapterHost, rows: int) -> dict[str, tuple[int, ...]]:
    host.create("r9999_v0001", list(range(1, rows + 1)), parent=None, seed=0)
    shapes = {key: value.shape for key, value in host.tensors("r9999_v0001").items()}
    host.drop("r9999_v0001")
    return shapes


def _adapter(
    i: int, shapes: dict[str, tuple[int, ...]], options: argparse.Namespace, rng: np.random.Generator
) -> Adapter:
    rows = np.sort(rng.choice(np.arange(1, options.items + 1), size=options.rows, replace=False)).tolist()
    tensors = {key: rng.normal(size=shape, scale=0.05).astype(np.float32) for key, shape in shapes.items()}
    return f"r{i:04}_v0001", tensors, rows


def _register(host: AdapterHost, adapters: Sequence[Adapter]) -> None:
    known = set(host.names)
    for name, tensors, rows in adapters:
        if name not in known:
            host.register(name, tensors, rows)


@torch.inference_mode()
def _alone(backbone: SASRec, vectors: Tensor, windows: Ids) -> Tensor:
    """The backbone as replay and gate run it: states of all positions (the posterior needs them), then scores."""
    return (last_states(backbone.hidden(torch.from_numpy(windows), vectors)) @ vectors.T).softmax(dim=1)


@torch.inference_mode()
def _lean(backbone: SASRec, vectors: Tensor, windows: Ids) -> Tensor:
    """The backbone with the last position alone, as in our pass."""
    return (backbone.last(torch.from_numpy(windows), vectors) @ vectors.T).softmax(dim=1)


def _served(forward: BatchedForward, windows: Ids) -> Tensor:
    """The backbone as the server runs it: states of all positions, then scores in the memory of our pass."""
    return forward.alone(forward.states(windows))


def _switch(host: AdapterHost, windows: Ids, names: Sequence[str]) -> Tensor:
    """One adapter after the other: `set_adapter`, and the windows of its region."""
    rows_in_all = host.vectors(None).shape[0]
    out, existence = torch.empty(len(windows), rows_in_all), Existence.of_all(rows_in_all - 1)
    for name in dict.fromkeys(names):
        rows = np.flatnonzero(np.array(names) == name)
        out[torch.from_numpy(rows)] = next_item_probabilities(host, windows[rows], name, existence)
    return out


class _Named:
    """One pass with `adapter_names`: peft loops over adapters in every layer. No item rows, no text projection."""

    def __init__(self, backbone: SASRec, adapters: Sequence[Adapter]) -> None:
        targets = list(backbone.adapter_targets)
        config = LoraConfig(r=RANK, lora_alpha=16, target_modules=targets)
        first, *others = adapters
        self.model = get_peft_model(backbone, config, adapter_name=first[0])
        for name, _, _ in others:
            self.model.add_adapter(name, LoraConfig(r=RANK, lora_alpha=16, target_modules=targets))
        named = dict(self.model.named_parameters())
        with torch.no_grad():
            for name, tensors, _ in adapters:
                for key, value in tensors.items():
                    own = key.replace(".weight", f".{name}.weight")
                    if own in named:
                        named[own].copy_(torch.from_numpy(value))
        self.model.eval()
        self._backbone = backbone

    @torch.inference_mode()
    def probabilities(self, windows: Ids, names: Sequence[str]) -> Tensor:
        states, vectors = self.model(torch.from_numpy(windows), adapter_names=list(names))
        return (last_states(states) @ vectors.T).softmax(dim=1)

    def difference(self, windows: Ids, names: Sequence[str], adapters: Sequence[Adapter]) -> float:
        """Largest difference to ours, for the same adapters without rows and text projection."""
        plain = AdapterSettings(rank=RANK, alpha=16.0, dropout=0.0, text_projection=False)
        options = argparse.Namespace(items=len(self._backbone.items.text) - 1, text=self._backbone.items.text.shape[1])
        options.length = windows.shape[1]
        forward = BatchedForward(_backbone(options), plain, AMPLE)
        rows = self._backbone.items.rows.weight.detach()
        for name, tensors, _ in adapters:
            if name in set(names):
                kept = {key: value for key, value in tensors.items() if "lora_" in key and "projection" not in key}
                kept["base_model.model.items.rows.token_adapter.trainable_tokens_delta"] = rows[[0]].numpy()
                forward.register(name, kept, [0])
        return _largest(forward.probabilities(windows, names)[:, 1:], _unpadded(self.probabilities(windows, names)))


def _unpadded(probabilities: Tensor) -> Tensor:
    return probabilities[:, 1:] / probabilities[:, 1:].sum(dim=1, keepdim=True)


def _largest(one: Tensor, other: Tensor) -> float:
    """Largest difference, as a share of the larger probability."""
    torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-6)
    return float(((one - other).abs() / torch.maximum(one, other).clamp(min=1e-6)).max())


def _several(
    forward: BatchedForward,
    windows: Ids,
    names: Sequence[str],
    adapters: Sequence[Adapter],
    options: argparse.Namespace,
) -> float:
    """Time when every eighth window has a second region, over the time with one each: 1 + 1/8 is one pass more."""
    more = np.concatenate([windows, windows[::8]])
    second = [adapters[(i * 7 + 1) % len(adapters)][0] for i in range(len(windows[::8]))]
    times = _medians(
        {
            "one": lambda: forward.probabilities(windows, names),
            "several": lambda: forward.probabilities(more, [*names, *second]),
        },
        options,
    )
    return round(times["several"] / times["one"], 3)


def _medians(methods: dict[str, Callable[[], object]], options: argparse.Namespace) -> dict[str, float]:
    """Median seconds of each method; they take turns, so that a busy machine slows all of them alike."""
    clock = time.process_time if options.processor_time else time.perf_counter
    taken: dict[str, list[float]] = {name: [] for name in methods}
    for method in methods.values():
        method()
    for _ in range(options.repeats):
        for name, method in methods.items():
            began = clock()
            method()
            taken[name].append(clock() - began)
    return {name: statistics.median(times) for name, times in taken.items()}


def _report(options: argparse.Namespace, found: dict[str, Any], compared: dict[str, Any]) -> dict[str, Any]:
    return {
        "settings": {**vars(options), "width": WIDTH, "blocks": BLOCKS, "rank": RANK},
        "ratios": {
            "ours_over_backbone": found["ours"],
            "peft_switch_over_backbone": found["peft_switch"],
            "peft_names_over_backbone": found["peft_names"],
            "backbone_lean_over_backbone": found["backbone_lean"],
            "backbone_served_over_backbone": found["backbone_served"],
        },
        "every_eighth_window_in_two_regions_over_in_one": found["several_routes"],
        "largest_relative_difference_to_ours": compared,
        "notes": [
            "backbone: states of all positions, for the posterior; backbone_lean: of the last one, as in our pass",
            "backbone_served: as backbone, its scores in the memory of our pass, which is not given back in between",
            f"the methods of peft run with up to {options.peft_most} regions: beyond, they take too long",
            "adapter_names runs without item rows and text projection, which it cannot mix",
        ],
    }


if __name__ == "__main__":
    main()
