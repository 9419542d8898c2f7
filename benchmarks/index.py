"""The index of a large catalogue against a comparison with all of its items: what is found, and in what time.

    python -m benchmarks.index --items 100000

Half of the items are known in set-up; the others are announced, with texts of 384 dimensions. Then as many more arrive,
and as many others are withdrawn, as `--changes` says. Windows are asked under the backbone, under an adapter and under
one that changes the backbone far more than training does, and for texts like theirs. Prints one JSON object:

    recall         share of the 100 best items that are found, in the mean: at first, and after arrivals and withdrawals
    mass           mean and largest error of the logarithm of the sum of exp(score) over all items
    cells          that a query looks at, and all of them
    milliseconds   of processor time of a window: by the index, by one product with all items and a selection, and by
                   USearch where it is installed (`pip install usearch`), with its recall
    ratios.time    all items over the index
"""

import argparse
import json
from collections.abc import Callable, Sequence
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.handler import MOVED, OPENED, SETTINGS, adapter_tensors, make_set_up, opened, stream_of, timed
from consumers.gate.scoring import GateScoring
from pipeline.config import load_config
from pipeline.events.item import Item
from pipeline.events.windows import Ids
from pipeline.models.backbones.base import last_states
from pipeline.models.seeding import make_deterministic
from pipeline.models.text_vectors import TextVectors
from pipeline.recommend.candidates.text import direction
from pipeline.recommend.model_scores import FoundScores
from pipeline.retrieval.retriever import FOUND, Retriever

BEST = 100

WINDOWS = 128

STRONG = "strong"
"""Name of an adapter that changes layers by as much as their weights."""

OF_STRONG = 0.05
"""Standard deviation of its factors B, and of its moves of item rows."""

Scores = NDArray[np.float32]


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, and print the result as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--items", type=int, default=100_000)
    parser.add_argument("--changes", type=int, default=10_000, help="items that arrive, and that are withdrawn")
    parser.add_argument("--threads", type=int, default=1, help="of torch and of the index")
    given = parser.parse_args(arguments)
    make_deterministic()
    torch.set_num_threads(given.threads)
    import_module("faiss").omp_set_num_threads(given.threads)
    config = load_config(overrides=[*SETTINGS, "ranking.exact_items=0"])
    setup = make_set_up(config, given.items // 2)
    with TemporaryDirectory() as folder:
        gate = opened(setup, config, given.items, Path(folder))
        (batch,) = stream_of(config, given.items, 1)
        contexts = gate.scorer.catalogue.contexts([history for _, history in batch], config.windows.length)[0]
        host, rng = gate.scorer.live.host, np.random.default_rng(5)
        host.create("fresh", range(1, MOVED + 1), parent=None, seed=0)
        host.register(STRONG, adapter_tensors(host.tensors("fresh"), rng, OF_STRONG), range(1, MOVED + 1))
        host.drop("fresh")
        before = _Measured(gate, contexts)
        for number in range(given.items, given.items + given.changes):
            gate.scorer.catalogue.describe(Item(f"i{number}", f"item {number}"), 0.0)
        gone = np.random.default_rng(4).choice(given.items, given.changes, replace=False)
        for number in gone.tolist():
            gate.scorer.catalogue.withdraw(f"i{number}")
        gate.scorer.follow()
        after = _Measured(gate, contexts)
    report = {
        "settings": vars(given),
        "recall": {"first": before.recall, "after changes": after.recall},
        "mass": {"first": before.mass, "after changes": after.mass},
        "cells": before.cells,
        "milliseconds": before.milliseconds,
        "ratios": {"time": before.ratios},
    }
    print(json.dumps(report, indent=2))


class _Measured:
    """Figures for the catalogue of a gate as it stands."""

    def __init__(self, gate: GateScoring, contexts: Ids) -> None:
        scorer = gate.scorer
        existence, host = scorer.catalogue.existence(), scorer.live.host
        scores = scorer.score_content(contexts, np.full(len(contexts), 5), existence).scores
        assert isinstance(scores, FoundScores)
        index, gone = scores.retriever, ~existence.existing
        self.recall: dict[str, float] = {}
        self.mass: dict[str, dict[str, float]] = {}
        self.milliseconds: dict[str, dict[str, float]] = {}
        self.ratios: dict[str, float] = {}
        self.cells = index.cells
        for label, name in (("backbone", None), ("adapter", f"r{OPENED[0]}"), ("strong adapter", STRONG)):
            states = last_states(host.states(contexts, name)).numpy()
            asked = index.ask(name, states)
            exact = host.logits(host.states(contexts, name), name, existence.items).numpy()
            exact[:, gone] = -np.inf
            found = [r[np.argsort(-s)[:BEST]] for r, s in zip(asked.found, asked.scores, strict=True)]
            self.recall[label] = _recall(exact, found)
            errors = asked.log_mass - np.log(np.exp(exact - exact.max(1, keepdims=True)).sum(1)) - exact.max(1)
            self.mass[label] = {"mean": round(float(errors.mean()), 4), "largest": round(float(abs(errors).max()), 4)}
            table = host.vectors(name).numpy()
            self._note(
                label, {"index": _twice(partial(index.ask, name, states)), "all": _twice(partial(_all, states, table))}
            )
        texts = scorer.live.host.backbone.items.readable_texts().first(existence.items + 1)
        self._texts(texts.all(), contexts, index, gone)

    def _texts(self, texts: Scores, contexts: Ids, index: Retriever, gone: NDArray[np.bool_]) -> None:
        directions = np.stack([direction(TextVectors(texts), context[context > 0]) for context in contexts])
        found, exact = index.texts_like(directions), directions @ texts.T
        assert found is not None
        exact[:, gone] = -np.inf
        closest = [
            rows[np.argsort(-cosines[rows])[:BEST]] for rows, cosines in zip(found, directions @ texts.T, strict=True)
        ]
        self.recall["texts"] = _recall(exact, closest)
        times = {"index": _twice(lambda: index.texts_like(directions)), "all": _twice(lambda: _all(directions, texts))}
        if find_spec("usearch"):
            graph = import_module("usearch.index").Index(ndim=texts.shape[1], metric="ip", dtype="f16")
            kept = np.flatnonzero(~gone)
            graph.add(kept, texts[kept], threads=1)
            graph.expansion_search = 2 * FOUND
            times["usearch"] = _twice(lambda: graph.search(directions, FOUND, threads=1))
            keys = np.asarray(graph.search(directions, BEST, threads=1).keys).reshape(len(directions), -1)
            self.recall["texts, usearch"] = _recall(exact, list(keys.astype(np.int64)))
        self._note("texts", times)

    def _note(self, label: str, times: dict[str, float]) -> None:
        self.milliseconds[label] = {way: round(1e3 * seconds / WINDOWS, 3) for way, seconds in times.items()}
        self.ratios[label] = round(times["all"] / times["index"], 2)


def _all(queries: Scores, table: Scores) -> Ids:
    """(n, FOUND) best rows by one product with all vectors."""
    best: Ids = np.argpartition(queries @ table.T, -FOUND, axis=1)[:, -FOUND:]
    return best


def _recall(exact: Scores, found: Sequence[Any]) -> float:
    best = np.argpartition(exact, -BEST, axis=1)[:, -BEST:]
    return round(float(np.mean([np.isin(of, rows).mean() for of, rows in zip(best, found, strict=True)])), 4)


def _twice(act: Callable[[], object]) -> float:
    """Processor time of the second of two times."""
    act()
    return timed(act)


if __name__ == "__main__":
    main()
