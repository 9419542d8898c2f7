"""What it costs to answer a batch whose rows belong to many regions.

Ours (`pipeline.models.lora`) against the backbone alone and against peft's two ways: switching adapters region by
region, and one pass with `adapter_names`. All in one process, on the same adapters and windows: LoRA factors on
every linear layer, a few hundred item rows a region and a low-rank delta of the text projection. Answers are
compared before anything is timed. Prints one JSON object; `ratios` holds median time over that of the backbone.

`adapter_names` knows neither own item rows nor vectors outside its forward pass (peft 0.21), so it runs without
item rows and its answers are compared with ours for adapters that move none.

*With trend* an answer is mixed as the server mixes it, by the same class: with fading counts of what users of the
same taste take of late, in three half-lives (`pipeline.online.decayed_popularity`). Here every region has counts of
its own, however many there are, and every window has two of them, 0.7 of its region's and 0.3 of another's: harder
than what is served, where only set-up regions are tastes (six by default). The backbone's trend is what one without
regions can have: counts over all users alike, in the same half-lives.

Rows are asked region by region, as the server asks them.

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

from pipeline.config import AdapterSettings, Config
from pipeline.events.windows import Ids
from pipeline.models.backbones.base import last_states
from pipeline.models.backbones.sasrec import SASRec
from pipeline.models.backbones.transformer import SequenceConfig
from pipeline.models.lora.batched_forward import MixedForward
from pipeline.models.lora.host import AdapterHost
from pipeline.online.ensemble import OnlineEnsemble, WindowFeatures
from pipeline.online.item_transitions import ItemTransitions
from pipeline.regions.mixing import next_item_probabilities

RANK, WIDTH, BLOCKS = 8, 128, 2
SETTINGS = AdapterSettings(rank=RANK, alpha=16.0, dropout=0.0)
AMPLE = 2_000_000_000

Adapter = tuple[str, dict[str, np.ndarray], list[int]]


def main() -> None:
    """Measure, and print what was found."""
    asked = _arguments()
    torch.set_num_threads(asked.threads)
    warnings.filterwarnings("ignore", ".*is_gradient_checkpointing.*is deprecated", FutureWarning)
    backbone = _backbone(asked)
    rng = np.random.default_rng(0)
    windows = rng.integers(1, asked.items + 1, size=(asked.batch, asked.length))
    # Wrapping changes the modules in place: each way has a copy of its own.
    forward = MixedForward(_backbone(asked), SETTINGS, AMPLE)
    host = AdapterHost(_backbone(asked), SETTINGS)
    shapes = _shapes(host, asked.rows)
    adapters = [_adapter(i, shapes, asked, rng) for i in range(max(asked.regions))]
    for adapter in adapters:
        forward.register(*adapter)
    found: dict[str, dict[str, float]] = {
        name: {} for name in ("ours", "peft_switch", "peft_names", "several_routes", "backbone_lean", "backbone_served")
    }
    found |= {"ours_with_trend": {}, "backbone_with_trend": {}, "with_trend": {}}
    compared: dict[str, dict[str, float]] = {"peft_switch": {}, "peft_names": {}, "trend_in_double_precision": {}}
    everybody = _Trended(1, np.zeros(asked.batch, dtype=np.int64), windows, asked, rng)
    for regions in asked.regions:
        places = np.sort(rng.integers(regions, size=asked.batch))
        names = [adapters[i][0] for i in places]
        trended = _Trended(regions, places, windows, asked, rng)
        ways: dict[str, Callable[[], Tensor]] = {
            "backbone": partial(_alone, backbone, forward.vectors, windows),
            "backbone_lean": partial(_lean, backbone, forward.vectors, windows),
            "backbone_served": partial(_served, forward, windows),
            "ours": partial(forward.probabilities, windows, names),
            "backbone_with_trend": lambda: everybody.mixed(_alone(backbone, forward.vectors, windows)),
            "ours_with_trend": partial(_ours_with_trend, forward, windows, names, trended),
        }
        compared["trend_in_double_precision"][str(regions)] = trended.stride(ways["ours"]())
        if regions <= asked.peft_most:
            _register(host, adapters[:regions])
            ways["peft_switch"] = partial(_switch, host, windows, names)
            compared["peft_switch"][str(regions)] = _largest(ways["ours"](), ways["peft_switch"]())
            named = _Named(_backbone(asked), adapters[:regions])
            ways["peft_names"] = partial(named.answer, windows, names)
            compared["peft_names"][str(regions)] = named.stride(windows, names, adapters[:regions])
        times = _medians(ways, asked)
        for way, seconds in times.items():
            if way != "backbone":
                found[way][str(regions)] = round(seconds / times["backbone"], 3)
        found["with_trend"][str(regions)] = round(times["ours_with_trend"] / times["backbone_with_trend"], 3)
        found["several_routes"][str(regions)] = _several(forward, windows, names, adapters[:regions], asked)
    print(json.dumps(_report(asked, found, compared), indent=2))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--regions", type=int, nargs="+", default=[1, 3, 32, 128, 1000])
    parser.add_argument("--peft-most", type=int, default=128, help="most regions with which peft's ways are asked")
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--length", type=int, default=50, help="items of a window")
    parser.add_argument("--items", type=int, default=10_000)
    parser.add_argument("--rows", type=int, default=300, help="item rows that a region moves")
    parser.add_argument("--text", type=int, default=256, help="text dimensions")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument(
        "--processor-time", action="store_true", help="of all threads, where other programs would falsify the clock"
    )
    return parser.parse_args()


def _backbone(asked: argparse.Namespace) -> SASRec:
    torch.manual_seed(0)
    config = SequenceConfig(asked.items, asked.text, asked.length, WIDTH, BLOCKS, heads=2)
    model = SASRec(config)
    model.items.text.normal_(std=asked.text**-0.5)
    model.eval()  # type: ignore[no-untyped-call]
    return model


def _shapes(host: AdapterHost, rows: int) -> dict[str, tuple[int, ...]]:
    host.create("r9999_v0001", list(range(1, rows + 1)), parent=None, seed=0)
    shapes = {key: value.shape for key, value in host.tensors("r9999_v0001").items()}
    host.drop("r9999_v0001")
    return shapes


def _adapter(
    i: int, shapes: dict[str, tuple[int, ...]], asked: argparse.Namespace, rng: np.random.Generator
) -> Adapter:
    rows = np.sort(rng.choice(np.arange(1, asked.items + 1), size=asked.rows, replace=False)).tolist()
    tensors = {key: rng.normal(size=shape, scale=0.05).astype(np.float32) for key, shape in shapes.items()}
    return f"r{i:04}_v0001", tensors, rows


def _register(host: AdapterHost, adapters: Sequence[Adapter]) -> None:
    known = set(host.names)
    for name, tensors, rows in adapters:
        if name not in known:
            host.register(name, tensors, rows)


@torch.inference_mode()
def _alone(backbone: SASRec, vectors: Tensor, windows: Ids) -> Tensor:
    """The backbone as replay and gate run it: the states of all positions (the gate needs them), then scores."""
    return (last_states(backbone.hidden(torch.from_numpy(windows), vectors)) @ vectors.T).softmax(dim=1)


@torch.inference_mode()
def _lean(backbone: SASRec, vectors: Tensor, windows: Ids) -> Tensor:
    """The backbone when only its last position is wanted, as in our pass."""
    return (backbone.last(torch.from_numpy(windows), vectors) @ vectors.T).softmax(dim=1)


def _served(forward: MixedForward, windows: Ids) -> Tensor:
    """The backbone as the server runs it: the states of all positions, then scores in the memory of our pass."""
    return forward.alone(forward.states(windows))


def _ours_with_trend(forward: MixedForward, windows: Ids, names: Sequence[str], trended: "_Trended") -> Tensor:
    return trended.mixed(forward.probabilities(windows, names))


class _Trended:
    """Mixes the popularity of `setup_tops` regions into answers: window i has mostly `places[i]`."""

    def __init__(self, setup_tops: int, places: Ids, windows: Ids, asked: argparse.Namespace, rng: np.random.Generator):
        usual = np.append(0, rng.integers(1, 100, size=asked.items))
        settings = Config()
        before = ItemTransitions(len(windows), windows.shape[1], settings.trend.shrinkage)
        for window in windows:
            before.add(window, int(rng.integers(1, asked.items)))
        self._trending = OnlineEnsemble(usual, before, setup_tops, settings)
        counts = self._trending.to_arrays()
        # A tenth of the items have been taken of late by users of any one taste.
        counts["counts"] = rng.random(counts["counts"].shape, dtype=np.float32).astype(np.float64)
        counts["counts"][counts["counts"] > 0.1] = 0.0
        counts["totals"] = counts["counts"].sum(axis=2)
        self._trending.restore(counts)
        shares = np.zeros((len(windows), setup_tops))
        for share, taste in ((0.7, places), (0.3, rng.integers(setup_tops, size=len(windows)))):
            shares[np.arange(len(windows)), taste] += share
        self._windows, self._shares = windows, shares
        self._since = rng.integers(2, size=len(windows)).astype(np.float64)

    def mixed(self, answers: Tensor) -> Tensor:
        """(n, items + 1) answers with the trend mixed in, in place."""
        self._trending.mix(self._asked(answers), answers.numpy(), in_place=True)
        return answers

    def stride(self, answers: Tensor) -> float:
        """Largest difference to what gate and replay mix, in double precision."""
        exact = torch.from_numpy(self._trending.mix(self._asked(answers), answers.numpy()).astype(np.float32))
        return _largest(self.mixed(answers), exact)

    def _asked(self, answers: Tensor) -> WindowFeatures:
        max_probability = answers.numpy().max(axis=1).astype(np.float64)
        return WindowFeatures(self._windows, self._shares, self._since, max_probability)


def _switch(host: AdapterHost, windows: Ids, names: Sequence[str]) -> Tensor:
    """One adapter after the other: `set_adapter`, and the windows of its region."""
    out = torch.empty(len(windows), host.vectors(None).shape[0])
    for name in dict.fromkeys(names):
        rows = np.flatnonzero(np.array(names) == name)
        out[torch.from_numpy(rows)] = next_item_probabilities(host, windows[rows], name)
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
    def answer(self, windows: Ids, names: Sequence[str]) -> Tensor:
        states, vectors = self.model(torch.from_numpy(windows), adapter_names=list(names))
        return (last_states(states) @ vectors.T).softmax(dim=1)

    def stride(self, windows: Ids, names: Sequence[str], adapters: Sequence[Adapter]) -> float:
        """Largest difference to ours, for the same adapters without rows and text projection."""
        plain = AdapterSettings(rank=RANK, alpha=16.0, dropout=0.0, text_projection=False)
        asked = argparse.Namespace(items=len(self._backbone.items.text) - 1, text=self._backbone.items.text.shape[1])
        asked.length = windows.shape[1]
        forward = MixedForward(_backbone(asked), plain, AMPLE)
        rows = self._backbone.items.rows.weight.detach()
        for name, tensors, _ in adapters:
            if name in set(names):
                kept = {key: value for key, value in tensors.items() if "lora_" in key and "projection" not in key}
                kept["base_model.model.items.rows.token_adapter.trainable_tokens_delta"] = rows[[0]].numpy()
                forward.register(name, kept, [0])
        return _largest(forward.probabilities(windows, names)[:, 1:], _unpadded(self.answer(windows, names)))


def _unpadded(probabilities: Tensor) -> Tensor:
    return probabilities[:, 1:] / probabilities[:, 1:].sum(dim=1, keepdim=True)


def _largest(one: Tensor, other: Tensor) -> float:
    """Largest difference, as a share of the larger probability."""
    torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-6)
    return float(((one - other).abs() / torch.maximum(one, other).clamp(min=1e-6)).max())


def _several(
    forward: MixedForward, windows: Ids, names: Sequence[str], adapters: Sequence[Adapter], asked: argparse.Namespace
) -> float:
    """Time when every eighth window has a second region, over the time with one each: 1 + 1/8 is one pass more."""
    more = np.concatenate([windows, windows[::8]])
    second = [adapters[(i * 7 + 1) % len(adapters)][0] for i in range(len(windows[::8]))]
    times = _medians(
        {
            "one": lambda: forward.probabilities(windows, names),
            "several": lambda: forward.probabilities(more, [*names, *second]),
        },
        asked,
    )
    return round(times["several"] / times["one"], 3)


def _medians(ways: dict[str, Callable[[], object]], asked: argparse.Namespace) -> dict[str, float]:
    """Median seconds of each way; they take turns, so that a busy machine slows all of them alike."""
    clock = time.process_time if asked.processor_time else time.perf_counter
    taken: dict[str, list[float]] = {way: [] for way in ways}
    for way in ways.values():
        way()
    for _ in range(asked.repeats):
        for name, way in ways.items():
            began = clock()
            way()
            taken[name].append(clock() - began)
    return {name: statistics.median(times) for name, times in taken.items()}


def _report(asked: argparse.Namespace, found: dict[str, Any], compared: dict[str, Any]) -> dict[str, Any]:
    return {
        "settings": {**vars(asked), "width": WIDTH, "blocks": BLOCKS, "rank": RANK},
        "ratios": {
            "ours_over_backbone": found["ours"],
            "peft_switch_over_backbone": found["peft_switch"],
            "peft_names_over_backbone": found["peft_names"],
            "backbone_lean_over_backbone": found["backbone_lean"],
            "backbone_served_over_backbone": found["backbone_served"],
            "ours_with_trend_over_backbone": found["ours_with_trend"],
            "backbone_with_trend_over_backbone": found["backbone_with_trend"],
            "ours_with_trend_over_backbone_with_trend": found["with_trend"],
        },
        "every_eighth_window_in_two_regions_over_in_one": found["several_routes"],
        "largest_relative_difference_to_ours": compared,
        "notes": [
            "backbone: states of all positions, as the gate needs them; backbone_lean: of the last one, as in our pass",
            "backbone_served: as backbone, its scores in the memory of our pass, which is not given back in between",
            f"peft's ways are asked up to {asked.peft_most} regions: beyond, they take too long",
            "with trend: ours by region, two for each window; the backbone's over all users alike",
            "adapter_names runs without item rows and text projection, which it cannot mix",
        ],
    }


if __name__ == "__main__":
    main()
