"""Table of edit effects."""

from collections.abc import Mapping, Sequence

import numpy as np

from pipeline.evaluation.bootstrap import Interval
from pipeline.evaluation.edit_effect import EditEffect, StreamHits
from pipeline.evaluation.predictions import Block
from pipeline.evaluation.report.folder import RunFolder
from pipeline.evaluation.report.tables import Cell, Row, Table
from pipeline.evaluation.report.words import signed
from pipeline.evaluation.summary import OURS, REPORTED, STREAM
from pipeline.metrics.ranking import LIST_LENGTH, Floats, recall_at_k

STATIC = "static"
"""Strategy that never learns."""

COLUMNS = ["operation", "region", "edit effect", "interactions", "raie", "static", "untouched", "raie", "static"]


def stream_hits(run: RunFolder) -> StreamHits | None:
    """Hits on the stream under the first seed; None unless the run is prequential and has `raie` and `static`."""
    seed, slices = run.metrics["seeds"][0], REPORTED[STREAM]
    ours, static = (_blocks(run, name, seed) for name in (OURS, STATIC))
    if run.metrics["protocol"] != "prequential" or run.setup_regions is None or not ours or len(ours) != len(static):
        return None
    return StreamHits(
        np.concatenate([block.user_id for block in ours]),
        ~np.concatenate([block.cold for block in ours]),
        _hits(ours),
        _hits(static),
        np.concatenate([block.region_id for block in ours]),
        np.concatenate([run.setup_regions[seed, name] for name in slices if (seed, name) in run.setup_regions]),
    )


def table(edit_effects: Sequence[EditEffect], means: Mapping[str, Interval]) -> Table:
    """Table of the mean effects, then of every edit in the order given."""
    blank = [Cell("")] * (len(COLUMNS) - 3)
    rows = [Row("mean edit", False, [Cell(name), Cell(""), Cell(_interval(means[name])), *blank]) for name in means]
    return Table(COLUMNS, [*rows, *(Row(f"{p.edit['at_event']:,}", False, _cells(p)) for p in edit_effects)])


def _cells(edit_effect: EditEffect) -> list[Cell]:
    edit = edit_effect.edit
    named = edit["reason"].get("regions") or [edit["region_id"]]
    texts = [edit["operation"], ", ".join(map(str, named)), _interval(edit_effect.interval)]
    for interactions, ours, static in zip(edit_effect.interactions, edit_effect.ours, edit_effect.static, strict=True):
        before, after = interactions
        texts += [f"{before:,} → {after:,}", _change(ours), _change(static)]
    return [Cell(text) for text in texts]


def _change(shares: Floats) -> str:
    return " → ".join("–" if np.isnan(share) else f"{share:.4f}" for share in shares)


def _interval(interval: Interval | None) -> str:
    if interval is None:
        return "–"
    return f"{signed(interval.difference)} ({signed(interval.low)} to {signed(interval.high)})"


def _blocks(run: RunFolder, strategy: str, seed: int) -> list[Block]:
    found = (run.predictions.get(strategy, seed, name) for name in REPORTED[STREAM])
    return [block.by_position() for block in found if block is not None]


def _hits(blocks: Sequence[Block]) -> Floats:
    hits: Floats = recall_at_k(np.concatenate([block.rank for block in blocks]), LIST_LENGTH).astype(np.float64)
    return hits
