"""What a replay has brought so far, and the files it becomes."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.config import Config
from pipeline.evaluation import ledger, run_folder
from pipeline.evaluation.continual_run import FILE_NAME as SLICES
from pipeline.evaluation.continual_run import SlicePlan, SliceResults
from pipeline.evaluation.predictions import FILE_NAME as PREDICTIONS
from pipeline.evaluation.predictions import Predictions, write_predictions
from pipeline.evaluation.protocols import Plan
from pipeline.evaluation.region_map import region_map
from pipeline.evaluation.report import build_report
from pipeline.evaluation.segment_masks import edited_regions, setup_shares_of, traits_of
from pipeline.evaluation.segments import FILE_NAME as TRAITS
from pipeline.evaluation.segments import write_traits
from pipeline.evaluation.summary import EDIT_KINDS, RunFacts, summarise, write_summary
from pipeline.evaluation.summary import FILE_NAME as METRICS
from pipeline.events.windows import Ids
from pipeline.setup.artifacts import SetUp
from pipeline.strategies import Scored, Strategy
from pipeline.strategies.raie.replayed import Raie

Clock = Callable[[], float]
"""Seconds from some fixed moment on."""


class Stopwatch:
    """Seconds that each strategy takes in each phase, by itself: what was done before for another one counts again.

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
        """Seconds since it was made."""
        return self._clock() - self._begun

    @contextmanager
    def phase(self, strategy: str, phase: str) -> Iterator[None]:
        """Count what happens inside for a phase of a strategy."""
        begun = self.spent()
        yield
        phases = self.seconds.setdefault(strategy, {})
        phases[phase] = phases.get(phase, 0.0) + self.spent() - begun

    def spent(self) -> float:
        """Seconds from some fixed moment on, and those that were spared."""
        return self._clock() + self._spared

    def spare(self, seconds: float) -> None:
        """Count what took so long before, for another strategy, and was not done again."""
        self._spared += seconds


class Results:
    """Collects answers of strategies, seed after seed.

    Attributes:
        predictions: every scored interaction.
        sliced: ranks slice after slice, where they were asked for.
    """

    def __init__(self, plan: Plan, slices: SlicePlan | None = None) -> None:
        self.predictions = Predictions()
        self.sliced = SliceResults(slices) if slices else None
        self._plan = plan
        self._items = 0
        self._tastes: dict[int, dict[str, Ids]] = {}
        self._edited: dict[int, set[int]] = {}
        self._kept: dict[str, list[int]] = {}
        self._trained: dict[str, list[int]] = {}
        self._edits: dict[str, list[int]] = {kind: [] for kind in EDIT_KINDS}
        self._regions: dict[str, list[int]] = {"start": [], "end": []}
        self._ledger: list[dict[str, Any]] = []
        self._statistics: list[dict[str, Any]] = []
        self._map: list[dict[str, Any]] = []

    def begin(self, setup: SetUp, seed: int, batch_size: int) -> None:
        """Take in what every strategy of a seed starts from."""
        self._items = len(setup.catalogue)
        self._tastes[seed] = setup_shares_of(self._plan, setup, batch_size)

    def add(self, strategy: Strategy, setup: SetUp, seed: int, answers: Mapping[str, Scored]) -> None:
        """Take in what a strategy answered under one seed, by slice, after its last edit."""
        for name, scored in answers.items():
            self._append(strategy.name, seed, name, scored)
        self._trained.setdefault(strategy.name, []).append(strategy.trained_windows)
        self._kept.setdefault(strategy.name, []).append(strategy.memory_bytes)
        # Its ablations have ledgers too; the files and counts are those of `raie`.
        if type(strategy) is Raie:
            self._add_raie(strategy, setup, seed, answers)

    def write(self, out: Path, dataset: str, config: Config, stopwatch: Stopwatch) -> dict[str, Any]:
        """Write every file of the run, the report last.

        Returns:
            The content of `metrics.json`.
        """
        seeds = sorted(self._tastes)
        edited = [self._edited[seed] for seed in seeds if seed in self._edited]
        segments = traits_of(self._plan, self._items, [self._tastes[seed] for seed in seeds], edited)
        facts = RunFacts(
            dataset=dataset,
            protocol=config.protocol,
            slices=self._plan.facts(),
            trained_windows=self._trained,
            edits=self._edits,
            regions_start=self._regions["start"],
            regions_end=self._regions["end"],
            kept_bytes=self._kept,
            segments=segments,
            continual=self.sliced.document() if self.sliced else None,
        )
        document = summarise(self.predictions, facts)
        write_predictions(self.predictions, out / PREDICTIONS)
        write_traits(segments, seeds, out / TRAITS)
        if self.sliced:
            self.sliced.write(out / SLICES)
        if self._map:
            ledger.write_ledger(self._ledger, out / run_folder.LEDGER)
            ledger.write_rows(self._statistics, ledger.STATISTICS_SCHEMA, out / run_folder.STATISTICS)
            ledger.write_rows(self._map, ledger.REGIONS_SCHEMA, out / run_folder.REGIONS)
        timings = {"total_seconds": stopwatch.total, "strategies": stopwatch.seconds}
        run_folder.write_json(out / run_folder.TIMINGS, timings)
        write_summary(document, out / METRICS)
        build_report(out)
        return document

    def _append(self, strategy: str, seed: int, name: str, scored: Scored) -> None:
        windows = self._plan.asked[name]
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

    def _add_raie(self, raie: Raie, setup: SetUp, seed: int, answers: Mapping[str, Scored]) -> None:
        self._edited[seed] = edited_regions(raie.ledger, setup)
        for kind, count in ledger.edit_counts(raie.ledger).items():
            self._edits[kind].append(count)
        self._regions["start"].append(len(setup.bank.live))
        self._regions["end"].append(len(raie.live.bank.live))
        self._ledger += [ledger.ledger_record(seed, *entry) for entry in raie.ledger]
        self._statistics += [{"seed": seed, **row} for row in raie.statistics]
        if not self._map:
            answered = [scored.regions for name, scored in answers.items() if name in self._plan.observed]
            regions = np.concatenate([ids for ids in answered if ids is not None])
            self._map = region_map(raie, setup, self._plan.stream, regions)
