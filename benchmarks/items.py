"""Memory and time of items that arrive without end, with and without a bound on their number.

    python -m benchmarks.items --arrivals 1000000 --most 50000

Every interaction is the first one with its item; a gate's catalogue, item table, online counts and the monitor's owner
of the catalogue and its list of new items follow, in batches, as they do live. Nothing is scored. When the bound is
reached, the newest items get injected vectors, as after many Injects; later ones get none. Prints one JSON object:

    microseconds    of an arrival, eviction included, median over batches once the bound is reached
    resident        memory of the process in MiB, when the bound is reached and at the end
    ratios.bounded  memory that arrivals after the bound added, over that of as many arrivals without a bound (part of
                    the arrivals; both in the same process); null if these added none
"""

import argparse
import copy
import gc
import json
import os
import time
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from adapters_store import AdaptersStore
from pipeline.config import Config, ItemSettings, load_config
from pipeline.datasets.dataset import read_dataset
from pipeline.datasets.simulator import simulate, write
from pipeline.evaluation.replay import prepare
from pipeline.events.item import WHEN_TAKEN, Item
from pipeline.models.injected import InjectedItems
from pipeline.models.lora.host import AdapterHost
from pipeline.models.open_catalogue import OpenCatalogue
from pipeline.models.text.hashing import HashingEncoder
from pipeline.monitor.item_owner import ItemOwner
from pipeline.monitor.new_items import NewItems
from pipeline.recommend.event_scorer import EventScorer
from pipeline.regions.live import LiveRegions
from pipeline.setup.artifacts import SetUp
from pipeline.setup.bootstrap import set_up

UNBOUNDED = 10**9
BATCH = 128


def main(arguments: list[str] | None = None) -> None:
    """Measure, and print the result as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--arrivals", type=int, default=1_000_000)
    parser.add_argument("--most", type=int, default=50_000)
    parser.add_argument("--unbounded", type=int, default=100_000, help="arrivals beyond --most without a bound")
    parser.add_argument("--injected", type=int, default=50_000, help="items with injected vectors, at most --most")
    given = parser.parse_args(arguments)
    sizes = given.arrivals, given.most, given.unbounded, min(given.injected, given.most)
    with TemporaryDirectory() as folder:
        print(json.dumps(measured(Path(folder), *sizes), indent=2))


def measured(folder: Path, arrivals: int, most: int, unbounded: int, injected: int) -> dict[str, Any]:
    """Return memory and time of bounded arrivals, then of some without a bound."""
    config = load_config(overrides=("items.text_encoder=hashing", "setup.max_epochs=1", "setup.regions=3"))
    write(simulate("emerging", 0, 4_000), folder / "data")
    dataset = read_dataset(folder / "data")
    plan, catalogue = prepare(dataset, config, lambda *_: None)
    setup = set_up(config, catalogue, plan.setup, 0)
    free = Gate(setup, config, folder / "free", UNBOUNDED)
    free.arrive(most)
    before = resident()
    free.arrive(unbounded)
    grown = resident() - before
    del free
    gate = Gate(setup, config, folder / "bounded", most)
    gate.arrive(most)
    gate.inject(injected)
    reached = resident()
    seconds = gate.arrive(arrivals - most)
    added = resident() - reached
    per_arrival = {"bounded": added / max(arrivals - most, 1), "unbounded": grown / unbounded}
    return {
        "arrivals": arrivals,
        "most": most,
        "injected": injected,
        "microseconds": round(1e6 * median(seconds) / BATCH, 1),
        "resident": {"at_bound": round(reached / 2**20), "at_end": round((reached + added) / 2**20)},
        "bytes_per_arrival": {name: round(value, 1) for name, value in per_arrival.items()},
        "rows": gate.scorer.catalogue.rows,
        "ratios": {"bounded": round(per_arrival["bounded"] / per_arrival["unbounded"], 4) if grown > 0 else None},
    }


class Gate:
    """Items as a gate and the monitor hold them.

    Args:
        setup: of a small log.
        config: the whole tree.
        store: folder of no adapters.
        most: items at most.
    """

    def __init__(self, setup: SetUp, config: Config, store: Path, most: int) -> None:
        settings = ItemSettings(most=most, text_encoder="hashing")
        catalogue = OpenCatalogue(setup.catalogue, HashingEncoder())
        host = AdapterHost(copy.deepcopy(setup.backbone), config.adapter)
        live = LiveRegions(setup.bank, host, AdaptersStore(store), setup.backbone_sha256, catalogue)
        self.scorer = EventScorer(setup, config, live, catalogue)
        self._owner = ItemOwner(setup.catalogue.item_ids, settings)
        self._new_items = NewItems(setup.catalogue.item_ids, config.edits)
        self._numbers: Iterator[int] = count()
        self._freed: list[int] = []

    def arrive(self, arrivals: int) -> list[float]:
        """Take so many new items once each, in batches; return the seconds of each batch."""
        return [_timed(self._batch) for _ in range(arrivals // BATCH)]

    def inject(self, items: int) -> None:
        """Give so many of the newest items random vectors to be scored with."""
        host, catalogue = self.scorer.live.host, self.scorer.catalogue
        names = [name for name in catalogue.ids if name][-items:] if items else []
        vectors = np.random.default_rng(0).normal(size=(len(names), host.vectors(None).shape[1]))
        host.inject(InjectedItems(names, vectors.astype(np.float32)), catalogue.row_of)

    def _batch(self) -> None:
        numbers = [next(self._numbers) for _ in range(BATCH)]
        names, moments = [f"item-{n:012d}" for n in numbers], [1.6e9 + n for n in numbers]
        catalogue = self.scorer.catalogue
        for name, number in zip(names, numbers, strict=True):
            catalogue.describe(Item(name, f"A thing of kind {number % 1000}, number {number}"), WHEN_TAKEN)
        catalogue.pass_events(moments, names)
        self.scorer.follow(self._freed)
        for name, moment in zip(names, moments, strict=True):
            self._owner.observe(name, moment)
        evicted = self._owner.evict()
        for name in self._owner.take_begun():
            self._new_items.arrive(name)
        self._new_items.forget(evicted)
        self._freed = catalogue.evict(evicted)


def resident() -> int:
    """Memory of this process that is in use, bytes."""
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def _timed(run: Callable[[], None]) -> float:
    began = time.perf_counter()
    run()
    return time.perf_counter() - began


if __name__ == "__main__":
    main()
