"""Results of a replay so far, and the files of its run folder."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.config import Config
from pipeline.evaluation import ledger, run_folder
from pipeline.evaluation.continual_run import FILE_NAME as SLICES
from pipeline.evaluation.continual_run import ContinualResults, SlicePlan
from pipeline.evaluation.facts import RunFacts
from pipeline.evaluation.predictions import FILE_NAME as PREDICTIONS
from pipeline.evaluation.predictions import Predictions, write_predictions
from pipeline.evaluation.protocols import Plan
from pipeline.evaluation.report import build_report
from pipeline.evaluation.segment_masks import segments_of
from pipeline.evaluation.segments import FILE_NAME as SEGMENTS
from pipeline.evaluation.segments import Segments, write_segments
from pipeline.evaluation.strategy_result import RaieRecords, StrategyResult
from pipeline.evaluation.summary import EDIT_KINDS, summarise, write_summary
from pipeline.evaluation.summary import FILE_NAME as METRICS
from pipeline.events.windows import Ids
from pipeline.strategies.base import Scored


class Results:
    """Results of all strategies and seeds.

    Attributes:
        predictions: every scored interaction.
        continual: results of the continual run, or None.
    """

    def __init__(self, plan: Plan, slices: SlicePlan | None = None) -> None:
        self.predictions = Predictions()
        self.continual = ContinualResults(slices) if slices else None
        self._plan = plan
        self._setup_regions: dict[int, Mapping[str, Ids]] = {}
        self._seconds: dict[str, dict[str, float]] = {}
        self._edited: dict[int, set[int]] = {}
        self._memory: dict[str, list[int]] = {}
        self._trained: dict[str, list[int]] = {}
        self._edits: dict[str, list[int]] = {kind: [] for kind in EDIT_KINDS}
        self._regions: dict[str, list[int]] = {"start": [], "end": []}
        self._ledger: list[dict[str, Any]] = []
        self._statistics: list[dict[str, Any]] = []
        self._map: list[dict[str, Any]] = []

    def begin(self, seed: int, setup_regions: Mapping[str, Ids]) -> None:
        """Record the set-up of a seed: the likeliest set-up region of each window, by slice."""
        self._setup_regions[seed] = setup_regions

    def add(self, result: StrategyResult) -> None:
        """Record the result of a strategy under one seed."""
        for name, scored in result.ranked.items():
            self._append(result.strategy, result.seed, name, scored)
        self._trained.setdefault(result.strategy, []).append(result.trained_windows)
        self._memory.setdefault(result.strategy, []).append(result.memory_bytes)
        seconds = self._seconds.setdefault(result.strategy, {})
        for phase, spent in result.seconds.items():
            seconds[phase] = seconds.get(phase, 0.0) + spent
        if self.continual and result.slices is not None:
            self.continual.add(result.strategy, result.seed, result.slices)
        if result.raie is not None:
            self._add_raie(result.raie, result.seed)

    def document(self, dataset: str, config: Config) -> dict[str, Any]:
        """Content of `metrics.json`, of the strategies added so far; each has to be added under every seed begun."""
        return summarise(self.predictions, self._facts(dataset, config, self._segments()))

    def write(self, out: Path, dataset: str, config: Config, total_seconds: float) -> dict[str, Any]:
        """Write every file of the run, the report last.

        Returns:
            The content of `metrics.json`.
        """
        seeds, segments = sorted(self._setup_regions), self._segments()
        document = summarise(self.predictions, self._facts(dataset, config, segments))
        write_predictions(self.predictions, out / PREDICTIONS)
        write_segments(segments, seeds, out / SEGMENTS)
        if self.continual:
            self.continual.write(out / SLICES)
        self._write_raie(out)
        timings = {"total_seconds": total_seconds, "strategies": self._seconds}
        run_folder.write_json(out / run_folder.TIMINGS, timings)
        write_summary(document, out / METRICS)
        build_report(out)
        return document

    def _segments(self) -> dict[str, Segments]:
        seeds = sorted(self._setup_regions)
        edited = [self._edited[seed] for seed in seeds if seed in self._edited]
        return segments_of(self._plan, [self._setup_regions[seed] for seed in seeds], edited)

    def _facts(self, dataset: str, config: Config, segments: Mapping[str, Segments]) -> RunFacts:
        return RunFacts(
            dataset=dataset,
            protocol=config.protocol,
            slices=self._plan.facts(),
            trained_windows=self._trained,
            edits=self._edits,
            regions_start=self._regions["start"],
            regions_end=self._regions["end"],
            memory_bytes=self._memory,
            segments=segments,
            continual=self.continual.document() if self.continual else None,
        )

    def _write_raie(self, out: Path) -> None:
        """Write the files of `raie`, unless it did not run."""
        if self._map:
            ledger.write_ledger(self._ledger, out / run_folder.LEDGER)
            ledger.write_rows(self._statistics, ledger.STATISTICS_SCHEMA, out / run_folder.STATISTICS)
            ledger.write_rows(self._map, ledger.REGIONS_SCHEMA, out / run_folder.REGIONS)

    def _append(self, strategy: str, seed: int, name: str, scored: Scored) -> None:
        windows = self._plan.by_slice[name]
        self.predictions.append(
            strategy,
            seed,
            name,
            event_id=windows.event_ids.tolist(),
            user_id=windows.users.tolist(),
            rank=scored.ranks,
            cold=windows.cold,
            position=np.arange(len(windows)),
            timestamp=windows.timestamps,
            region_id=scored.regions,
            confidence=scored.confidence,
        )

    def _add_raie(self, raie: RaieRecords, seed: int) -> None:
        self._edited[seed] = set(raie.edited)
        for kind, count in raie.edits.items():
            self._edits[kind].append(count)
        for moment, regions in zip(("start", "end"), raie.regions, strict=True):
            self._regions[moment].append(regions)
        self._ledger += raie.ledger
        self._statistics += raie.statistics
        self._map = self._map or list(raie.region_map)
