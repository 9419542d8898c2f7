"""Results of a replay so far, and the files of its run folder."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
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
from pipeline.evaluation.region_map import region_map
from pipeline.evaluation.report import build_report
from pipeline.evaluation.segment_masks import edited_regions, segments_of, setup_regions_of
from pipeline.evaluation.segments import FILE_NAME as SEGMENTS
from pipeline.evaluation.segments import Segments, write_segments
from pipeline.evaluation.summary import EDIT_KINDS, summarise, write_summary
from pipeline.evaluation.summary import FILE_NAME as METRICS
from pipeline.events.windows import Ids
from pipeline.models.catalogue import Catalogue
from pipeline.setup.artifacts import SetUp
from pipeline.strategies.base import Scored, Strategy
from pipeline.strategies.raie.replayed import Raie

Clock = Callable[[], float]
"""Seconds since a fixed moment."""


class Stopwatch:
    """Seconds of each strategy in each phase; trainings shared with an earlier strategy count in full.

    Attributes:
        seconds: by strategy, by phase, summed over seeds.
    """

    def __init__(self, clock: Clock) -> None:
        self.seconds: dict[str, dict[str, float]] = {}
        self._clock = clock
        self._begun = clock()
        self._spared = 0.0

    @property
    def total(self) -> float:
        """Seconds since the stopwatch was created."""
        return self._clock() - self._begun

    @contextmanager
    def phase(self, strategy: str, phase: str) -> Iterator[None]:
        """Add the seconds of the context to a phase of a strategy."""
        begun = self.spent()
        yield
        phases = self.seconds.setdefault(strategy, {})
        phases[phase] = phases.get(phase, 0.0) + self.spent() - begun

    def spent(self) -> float:
        """Seconds since a fixed moment, plus those of skipped trainings."""
        return self._clock() + self._spared

    def spare(self, seconds: float) -> None:
        """Add the seconds of a training that was taken from the cache."""
        self._spared += seconds


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
        self._setup_regions: dict[int, dict[str, Ids]] = {}
        self._edited: dict[int, set[int]] = {}
        self._memory: dict[str, list[int]] = {}
        self._trained: dict[str, list[int]] = {}
        self._edits: dict[str, list[int]] = {kind: [] for kind in EDIT_KINDS}
        self._regions: dict[str, list[int]] = {"start": [], "end": []}
        self._ledger: list[dict[str, Any]] = []
        self._statistics: list[dict[str, Any]] = []
        self._map: list[dict[str, Any]] = []

    def begin(self, setup: SetUp, catalogue: Catalogue, seed: int, batch_size: int) -> None:
        """Record the set-up of a seed; the catalogue has every item of the log."""
        self._setup_regions[seed] = setup_regions_of(self._plan, setup, catalogue, batch_size)

    def add(self, strategy: Strategy, setup: SetUp, seed: int, ranked: Mapping[str, Scored]) -> None:
        """Record the ranks of a strategy under one seed, by slice, after its last edit."""
        for name, scored in ranked.items():
            self._append(strategy.name, seed, name, scored)
        self._trained.setdefault(strategy.name, []).append(strategy.trained_windows)
        self._memory.setdefault(strategy.name, []).append(strategy.memory_bytes)
        # Ablations have ledgers too; files and counts are those of `raie`.
        if type(strategy) is Raie:
            self._add_raie(strategy, setup, seed, ranked)

    def document(self, dataset: str, config: Config) -> dict[str, Any]:
        """Content of `metrics.json`, of the strategies added so far; each has to be added under every seed begun."""
        return summarise(self.predictions, self._facts(dataset, config, self._segments()))

    def write(self, out: Path, dataset: str, config: Config, stopwatch: Stopwatch) -> dict[str, Any]:
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
        timings = {"total_seconds": stopwatch.total, "strategies": stopwatch.seconds}
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

    def _add_raie(self, raie: Raie, setup: SetUp, seed: int, ranked: Mapping[str, Scored]) -> None:
        self._edited[seed] = edited_regions(raie.ledger, setup)
        for kind, count in ledger.edit_counts(raie.ledger).items():
            self._edits[kind].append(count)
        self._regions["start"].append(len(setup.bank.live))
        self._regions["end"].append(len(raie.live.bank.live))
        self._ledger += [ledger.ledger_record(seed, *entry) for entry in raie.ledger]
        self._statistics += [{"seed": seed, **row} for row in raie.statistics]
        if not self._map:
            served = [scored.regions for name, scored in ranked.items() if name in self._plan.observed]
            regions = np.concatenate([ids for ids in served if ids is not None])
            self._map = region_map(raie, setup, self._plan.stream, regions)
