"""Result of one strategy under one seed: everything that a run folder keeps of it, in memory and as files."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load_file, save_file

from pipeline.evaluation import ledger
from pipeline.evaluation.protocols import Plan
from pipeline.evaluation.region_map import region_map
from pipeline.evaluation.segment_masks import edited_regions
from pipeline.events.windows import Ids
from pipeline.setup.artifacts import SetUp
from pipeline.strategies.base import Scored, Strategy
from pipeline.strategies.raie.replayed import Raie

ARRAYS, FACTS = "arrays.safetensors", "facts.json"


@dataclass(frozen=True)
class RaieRecords:
    """Records that `raie` alone leaves behind.

    Attributes:
        edited: set-up regions that its published edits name.
        edits: number of edits by kind.
        regions: live regions after set-up, and after the last edit.
        ledger: records of its edits.
        statistics: rows by region and part of the stream.
        region_map: its windows and centroids, projected.
    """

    edited: Sequence[int]
    edits: Mapping[str, int]
    regions: tuple[int, int]
    ledger: Sequence[dict[str, Any]]
    statistics: Sequence[dict[str, Any]]
    region_map: Sequence[dict[str, Any]]


@dataclass(frozen=True)
class StrategyResult:
    """Result of one strategy under one seed.

    Attributes:
        strategy: its name.
        seed: of all random draws.
        ranked: ranks by slice.
        trained_windows: windows trained on since set-up.
        memory_bytes: see `Strategy.memory_bytes`.
        seconds: by phase.
        raie: of `raie` alone.
        slices: ranks of held-out windows after each slice of a continual run; None without one.
    """

    strategy: str
    seed: int
    ranked: Mapping[str, Scored]
    trained_windows: int
    memory_bytes: int
    seconds: Mapping[str, float]
    raie: RaieRecords | None
    slices: Sequence[Sequence[Ids]] | None


def raie_records(
    strategy: Strategy, setup: SetUp, seed: int, ranked: Mapping[str, Scored], plan: Plan
) -> RaieRecords | None:
    """Records of `raie`; None for any other strategy, ablations of `raie` included."""
    if type(strategy) is not Raie:
        return None
    served = [scored.regions for name, scored in ranked.items() if name in plan.observed]
    regions = np.concatenate([ids for ids in served if ids is not None])
    return RaieRecords(
        sorted(edited_regions(strategy.ledger, setup)),
        ledger.edit_counts(strategy.ledger),
        (len(setup.bank.live), len(strategy.live.bank.live)),
        [ledger.ledger_record(seed, *entry) for entry in strategy.ledger],
        [{"seed": seed, **row} for row in strategy.statistics],
        region_map(strategy, setup, plan.stream, regions),
    )


def write_result(result: StrategyResult, folder: Path) -> None:
    """Write a result into a new folder."""
    folder.mkdir(parents=True)
    arrays: dict[str, np.ndarray[Any, Any]] = {}
    for name, scored in result.ranked.items():
        parts = {"ranks": scored.ranks, "regions": scored.regions, "confidence": scored.confidence}
        arrays |= {f"{name}/{part}": np.ascontiguousarray(of) for part, of in parts.items() if of is not None}
    for after, row in enumerate(result.slices or ()):
        arrays |= {f"slices/{after}/{number}": np.ascontiguousarray(ranks) for number, ranks in enumerate(row)}
    save_file(arrays, folder / ARRAYS)
    facts = {name: getattr(result, name) for name in ("strategy", "seed", "trained_windows", "memory_bytes", "seconds")}
    raie = None if result.raie is None else asdict(result.raie)
    shape = None if result.slices is None else [len(row) for row in result.slices]
    facts |= {"raie": raie, "slices": shape, "ranked": list(result.ranked)}
    (folder / FACTS).write_text(json.dumps(facts, default=_plain), encoding="utf-8")


def read_result(folder: Path) -> StrategyResult:
    """Read a result as `write_result` wrote it."""
    facts = json.loads((folder / FACTS).read_text(encoding="utf-8"))
    arrays = load_file(folder / ARRAYS)
    ranked = {
        name: Scored(*(arrays.get(f"{name}/{part}") for part in ("ranks", "regions", "confidence")))  # type: ignore[arg-type]
        for name in facts.pop("ranked")
    }
    shape, raie = facts.pop("slices"), facts.pop("raie")
    slices = shape and [[arrays[f"slices/{after}/{n}"] for n in range(width)] for after, width in enumerate(shape)]
    records = raie and RaieRecords(**{**raie, "regions": tuple(raie["regions"])})
    return StrategyResult(ranked=ranked, raie=records, slices=slices, **facts)


def _plain(value: Any) -> Any:
    """A number of numpy as one of Python."""
    return value.item()
