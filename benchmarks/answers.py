"""Cost of an answer in a server, without log and HTTP: model, candidates and ranking, by the number of items.

    python -m benchmarks.answers --items 10000 --items 1000000

Half of the items are known in set-up; the others are announced. Two regions are opened, each with an adapter and item
rows. Prints one JSON object:

    microseconds   of processor time of an answer, median over batches of 256, for each number of items
    memory_mib     resident at the end, and most so far in the process
    ratios.items   of an answer, the largest catalogue over the smallest
"""

import copy
import json
from collections.abc import Sequence
from functools import partial
from statistics import median
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.handler import (
    MOVED,
    OPENED,
    SETTINGS,
    Texts,
    adapter_tensors,
    make_set_up,
    memory,
    prepared,
    regions_over,
    sized,
    taken_items,
    timed,
)
from consumers.server.service import asked_in_setup
from pipeline.config import Config, load_config
from pipeline.events.allowed import Allowed
from pipeline.events.existence import Existence
from pipeline.events.item import Item
from pipeline.events.windows import Ids
from pipeline.models.item_writing import write_items
from pipeline.models.lora.batched_forward import BatchedForward
from pipeline.models.lora.host import AdapterHost
from pipeline.models.open_catalogue import OpenCatalogue
from pipeline.recommend.backends import BatchedBackend
from pipeline.recommend.candidates.query import Query
from pipeline.recommend.online_state import OnlineState
from pipeline.recommend.retrieval import with_index
from pipeline.recommend.scorer import Scorer
from pipeline.recommend.start import start
from pipeline.retrieval.adapted_items import ForwardItems

BATCH = 256

EVENTS = 2_000
"""Of the stream, counted before the first answer."""

ADAPTER_MEMORY = 1_000_000_000


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, and print the result as JSON."""
    parser = sized(__doc__)
    parser.add_argument("--batches", type=int, default=10, help="that are timed, after three that are not")
    given, sizes = prepared(parser, arguments)
    config = load_config(overrides=SETTINGS)
    found = {items: _measured(config, items, given.batches) for items in sizes}
    report = {
        "settings": vars(given),
        **{name: {items: of[name] for items, of in found.items()} for name in ("microseconds", "memory_mib")},
        "ratios": {"items": round(found[sizes[-1]]["microseconds"] / found[sizes[0]]["microseconds"], 2)},
    }
    print(json.dumps(report, indent=2))


def _measured(config: Config, items: int, batches: int) -> dict[str, Any]:
    server = _Server(config, items)
    rng, length = np.random.default_rng(3), config.windows.length
    contexts = 1 + taken_items(items, (BATCH * (batches + 3), length), rng)
    parts = [contexts[start : start + BATCH] for start in range(0, len(contexts), BATCH)]
    seconds = [timed(partial(server.answer, part)) for part in parts]
    return {"microseconds": round(1e6 * median(seconds[3:]) / BATCH, 1), "memory_mib": memory()}


class _Server:
    """The parts of a server that answer."""

    def __init__(self, config: Config, items: int) -> None:
        self._setup = setup = make_set_up(config, items // 2)
        rng = np.random.default_rng(2)
        fresh = _fresh(setup.backbone, config)
        forward = BatchedForward(setup.backbone, config.adapter, ADAPTER_MEMORY)
        catalogue = OpenCatalogue(setup.catalogue, Texts())
        for number in range(items // 2, items):
            catalogue.describe(Item(f"i{number}", f"item {number}"), 0.0)
        catalogue.advance(1.0)
        changed = catalogue.take_changes()
        write_items(forward.backbone, catalogue, changed)
        forward.set_items(catalogue.rows, changed)
        for region_id in OPENED:
            forward.register(f"r{region_id}", adapter_tensors(fresh, rng), range(1, MOVED + 1))
        exact, vectors = BatchedBackend(forward), ForwardItems(forward)
        backend = with_index(exact, vectors, catalogue.ids, setup, config)
        self._scorer = Scorer(backend, setup.view, config.gate.floor)
        self._online = OnlineState(setup, config, vectors.texts, catalogue.ids, backend.texts_like)
        ask = partial(asked_in_setup, setup, self._scorer)
        start(self._online.second_stage, setup, ask, np.zeros(self._online.regions))
        self._online.resize(catalogue.rows)
        shares, nobody = np.full(self._online.regions, 1.0 / self._online.regions), np.zeros(0, dtype=np.int32)
        for *window, target in (1 + taken_items(items, (EVENTS, config.windows.length + 1), rng)).tolist():
            query = Query(np.array(window), nobody, shares, 1.0, 0.5, {})
            self._online.second_stage.count(query, target)
        self._bank = regions_over(setup, rng)
        self._existence = Existence.after(catalogue.existing(), (), 0)
        self._earlier = np.zeros((BATCH, config.most_earlier), dtype=np.int32)

    def answer(self, contexts: Ids) -> None:
        since = np.full(len(contexts), 5)
        batch = self._scorer.score(self._bank, contexts, since, self._existence)
        queries = batch.queries(self._setup.bank, contexts, self._earlier, since, batch.posterior.stream)
        stage = self._online.second_stage
        stage.scores(stage.candidates(queries, [Allowed(self._existence.existing, of) for of in contexts]))


def _fresh(backbone: Any, config: Config) -> dict[str, NDArray[np.float32]]:
    """Tensors of an adapter without effect, by name."""
    host = AdapterHost(copy.deepcopy(backbone), config.adapter)
    host.create("fresh", range(1, MOVED + 1), parent=None, seed=0)
    return host.tensors("fresh")


if __name__ == "__main__":
    main()
