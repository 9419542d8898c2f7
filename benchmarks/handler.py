"""Cost of an event in the gate, without a log: model, second stage and learning, by the number of items.

    python -m benchmarks.handler --items 10000 --items 1000000 --batches 20

The catalogue begins with a set-up over half of the items, or `--known`; the others are announced, with texts of 384
dimensions, before the first event. Two regions are opened, each with an adapter and item rows. Users take mostly
items of one topic each, a few of them often. Prints one JSON object:

    microseconds   of processor time of an event, median over batches of 128, for each number of items
    model          of that, one pass of the frozen backbone over the same windows, without scores
    memory_mib     resident at the end, that of files among it, and most so far in the process
    ratios.items   of an event, the largest catalogue over the smallest
    ratios.model   of an event over the model's part, for each number of items
"""

import argparse
import json
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from adapters_store import AdaptersStore
from consumers.gate.scoring import GateScoring, Taken
from pipeline.config import Config, load_config
from pipeline.events.interaction import Interaction
from pipeline.events.item import Item
from pipeline.events.windows import History, Windows
from pipeline.models.catalogue import make_catalogue
from pipeline.models.lora.host import AdapterHost
from pipeline.models.seeding import make_deterministic
from pipeline.regions.bank import RegionBank
from pipeline.regions.origin_classifier import OriginModel
from pipeline.regions.region import Origin, Region, Status
from pipeline.setup.artifacts import SetUp
from pipeline.setup.bootstrap import set_up
from pipeline.setup.storage import load_setup, save_setup
from pipeline.telemetry import new_metrics

SETTINGS = ("setup.max_epochs=1", "setup.regions=4")

BATCH = 128

TOPICS = 200

USERS = 5_000

DIMENSIONS = 384
"""Of text embeddings, as those of common sentence encoders."""

SETUP_WINDOWS = 4_000

MOVED = 500
"""Items of which each adapter has its own vector."""

OF_B = 0.01
"""Standard deviation of factors B and of moves of item rows, with which an adapter is about as strong as one of the
simulator after fourteen Updates (docs/experiments/retrieval.md)."""

OPENED = (101, 102)
"""Ids of the opened regions."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, and print the result as JSON."""
    parser = sized(__doc__)
    parser.add_argument("--known", type=int, help="items of set-up (half of each catalogue)")
    parser.add_argument("--batches", type=int, default=30, help="that are timed, after a third as many that are not")
    given, sizes = prepared(parser, arguments)
    config = load_config(overrides=SETTINGS)
    found = {n: _measured(config, given.known or n // 2, n, given.batches) for n in sizes}
    report = {
        "settings": vars(given),
        "events": given.batches * BATCH,
        **{name: {items: of[name] for items, of in found.items()} for name in ("microseconds", "model", "memory_mib")},
        "ratios": {
            "items": round(found[sizes[-1]]["microseconds"] / found[sizes[0]]["microseconds"], 2),
            "model": {items: round(of["microseconds"] / of["model"], 1) for items, of in found.items()},
        },
    }
    print(json.dumps(report, indent=2))


def sized(description: str | None) -> argparse.ArgumentParser:
    """Parser of a benchmark over catalogues of several sizes."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--items", type=int, action="append", help="size of a catalogue; give several (10000)")
    parser.add_argument("--threads", type=int, default=1, help="of torch")
    return parser


def prepared(
    parser: argparse.ArgumentParser, arguments: Sequence[str] | None
) -> tuple[argparse.Namespace, Sequence[int]]:
    """Arguments and the sizes, ascending, once torch is set up for them."""
    given = parser.parse_args(arguments)
    make_deterministic()
    torch.set_num_threads(given.threads)
    return given, sorted(given.items or [10_000])


class Texts:
    """Encoder of the texts of this benchmark, `item N`: a direction for each topic, and one of the item's own."""

    name = identity = "benchmark"
    dimensions = DIMENSIONS

    def __init__(self) -> None:
        rng = np.random.default_rng(0)
        self._topics = rng.normal(size=(TOPICS, DIMENSIONS)).astype(np.float32)
        self._own = rng.normal(size=(4_093, DIMENSIONS)).astype(np.float32)

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """(n, DIMENSIONS) unit vectors."""
        numbers = [int(text.split()[1]) for text in texts]
        own = [np.roll(self._own[n % len(self._own)], n // len(self._own)) for n in numbers]
        vectors = self._topics[np.array(numbers) % TOPICS] + np.stack(own)
        unit: NDArray[np.float32] = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
        return unit


def taken_items(items: int, size: tuple[int, int], rng: np.random.Generator) -> NDArray[np.int64]:
    """(users, n) numbers of items taken by as many users, from 0, the last one not taken before.

    Few items are taken often; nine of ten are of the user's topic.
    """
    taken = _taken(items, size, rng)
    while (repeated := (taken[:, :-1] == taken[:, -1:]).any(axis=1)).any():
        taken[repeated, -1] = _taken(items, size, rng)[repeated, -1]
    return taken


def _taken(items: int, size: tuple[int, int], rng: np.random.Generator) -> NDArray[np.int64]:
    popular = (items * rng.random(size) ** 3).astype(np.int64)
    topics = np.arange(size[0])[:, None] % min(TOPICS, items)
    own = np.minimum(popular // TOPICS * TOPICS + topics, items - 1)
    taken: NDArray[np.int64] = np.where(rng.random(size) < 0.9, own, popular)
    return taken


def make_set_up(config: Config, known: int) -> SetUp:
    """A set-up over items of this benchmark."""
    ids = [_name(number) for number in range(known)]
    catalogue = make_catalogue(ids, {i: Item(i, f"item {n}") for n, i in enumerate(ids)}, Texts())
    length = config.windows.length
    rows = 1 + taken_items(known, (SETUP_WINDOWS, length + 1), np.random.default_rng(1))
    numbers = np.arange(SETUP_WINDOWS)
    windows = Windows(
        rows[:, :-1],
        rows[:, -1],
        np.array([f"u{n}" for n in numbers]),
        np.array([f"s{n}" for n in numbers]),
        numbers.astype(np.float64),
        np.zeros(SETUP_WINDOWS, dtype=np.int64),
        numbers,
        np.zeros((SETUP_WINDOWS, config.most_earlier), dtype=np.int32),
    )
    return set_up(config, catalogue, windows, 0)


def _name(number: int) -> str:
    return f"i{number}"


def _measured(config: Config, known: int, items: int, batches: int) -> dict[str, Any]:
    """Figures for one size of the catalogue; the set-up is read from its files, as by a gate."""
    with TemporaryDirectory() as folder:
        root = Path(folder)
        save_setup(make_set_up(config, known), root / "setup")
        scoring = opened(load_setup(root / "setup", config.compute), config, items, root / "adapters")
        stream = stream_of(config, items, batches + batches // 3)
        seconds = [timed(lambda batch=batch: scoring.score(batch)) for batch in stream]  # type: ignore[misc]
        catalogue, host = scoring.scorer.catalogue, scoring.scorer.live.host
        windows = [catalogue.contexts([h for _, h in batch], config.windows.length)[0] for batch in stream]
        model = [timed(lambda of=of: host.states(of, None)) for of in windows]  # type: ignore[misc]
    return {
        "microseconds": round(1e6 * median(seconds[batches // 3 :]) / BATCH, 1),
        "model": round(1e6 * median(model) / BATCH, 1),
        "memory_mib": memory(),
    }


def opened(setup: SetUp, config: Config, items: int, folder: Path, regions: Sequence[int] = OPENED) -> GateScoring:
    """A gate's scoring with opened regions of these ids, over so many items; it takes the set-up's backbone."""
    host, store = AdapterHost(setup.backbone, config.adapter), AdaptersStore(folder)
    scoring = GateScoring(setup, config, Texts(), host, store, "benchmark", new_metrics(), lambda *_: None)
    for number in range(len(setup.catalogue), items):
        scoring.scorer.catalogue.describe(Item(_name(number), f"item {number}"), 0.0)
    scoring.scorer.catalogue.advance(1.0)
    scoring.scorer.follow()
    rng = np.random.default_rng(2)
    host.create("fresh", range(1, MOVED + 1), parent=None, seed=0)
    fresh = host.tensors("fresh")
    host.drop("fresh")
    for region_id in regions:
        host.register(f"r{region_id}", adapter_tensors(fresh, rng), range(1, MOVED + 1))
    scoring.scorer.live.bank = regions_over(setup, rng, regions)
    return scoring


def adapter_tensors(
    fresh: Mapping[str, NDArray[np.float32]], rng: np.random.Generator, scale: float = OF_B
) -> dict[str, NDArray[np.float32]]:
    """Tensors of an adapter by name, from those of one without effect: B, and moves of item rows, are random.

    Args:
        fresh: of a new adapter, whose B is 0.
        rng: source of the numbers.
        scale: standard deviation of both.
    """
    noise = {key: rng.normal(size=value.shape, scale=scale).astype(np.float32) for key, value in fresh.items()}
    return {key: value if "lora_A" in key else value + noise[key] for key, value in fresh.items()}


def regions_over(setup: SetUp, rng: np.random.Generator, opened_ids: Sequence[int] = OPENED) -> RegionBank:
    """The regions of set-up and opened ones of these ids, with a random share of every window."""
    width, features = setup.bank.setup[0].centroid.shape[0], setup.reference.shape[1]
    regions = [
        Region(i, 1, Status.LIVE, Origin.STREAM, None, np.eye(width)[0], 0.5, 20.0, 0.01, f"r{i}", 1, 0.7)
        for i in opened_ids
    ]
    coverage = np.ones((len(opened_ids), len(setup.bank.setup)))
    means, scales = setup.reference.mean(axis=0), setup.reference.std(axis=0) + 1.0
    weights = rng.normal(size=(features + len(opened_ids) + 1, 1 + len(opened_ids)))
    return setup.bank.changed(*regions).rebound(OriginModel(tuple(opened_ids), coverage, means, scales, weights))


def stream_of(config: Config, items: int, batches: int) -> list[list[Taken]]:
    """Batches of events with their users' histories."""
    rng, length = np.random.default_rng(3), config.windows.length
    taken = taken_items(items, (batches * BATCH, length + 1), rng)
    events = []
    for number, (*before, last) in enumerate(taken.tolist()):
        history = History(tuple(map(_name, before)), int(rng.integers(length)))
        history = replace(history, earlier=tuple(_name(n) for n in rng.integers(min(items, 500), size=20).tolist()))
        events.append((Interaction(f"e{number}", f"u{number % USERS}", _name(last), 10.0 + number), history))
    return [events[start : start + BATCH] for start in range(0, len(events), BATCH)]


def timed(act: Callable[[], object]) -> float:
    """Processor time of an act, seconds."""
    began = time.process_time()
    act()
    return time.process_time() - began


def memory() -> dict[str, int]:
    """Resident memory of this process now, that of mapped files among it, and at most, MiB."""
    status = Path(f"/proc/{os.getpid()}/status").read_text(encoding="ascii").splitlines()
    sizes = {line.split(":")[0]: int(line.split()[1]) // 1024 for line in status if line.startswith(("Vm", "Rss"))}
    return {"now": sizes["VmRSS"], "of files": sizes["RssFile"], "most": sizes["VmHWM"]}


if __name__ == "__main__":
    main()
