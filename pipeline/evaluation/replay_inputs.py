"""Inputs of a replay, and its steps: the set-up of a seed, and one strategy under it."""

from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Self

from pipeline.config import Config, ItemSettings
from pipeline.datasets.dataset import Dataset
from pipeline.evaluation.continual_run import SlicePlan, plan_slices, slice_ranks
from pipeline.evaluation.protocols import Plan, labelled_contexts_of, plan_replay
from pipeline.evaluation.run_folder import STATE
from pipeline.evaluation.segment_masks import setup_regions_of
from pipeline.evaluation.strategy_result import StrategyResult, raie_records
from pipeline.evaluation.strategy_run import Stopwatch, run_strategy
from pipeline.events.windows import Ids
from pipeline.models.catalogue import Catalogue, make_catalogue
from pipeline.models.text import TextEncoder, open_text_encoder
from pipeline.setup.artifacts import SetUp
from pipeline.setup.bootstrap import set_up
from pipeline.strategies.base import StrategyContext
from pipeline.strategies.common.trainings import Trainings
from pipeline.strategies.registry import STRATEGIES

Progress = Callable[[str, int, int], None]
"""Called with (stage, steps done, steps in all); a stage begins with the first call that names it."""


@dataclass(frozen=True)
class ReplayInputs:
    """Inputs of a replay, the same for all of its seeds and strategies.

    Attributes:
        dataset: the log.
        config: the whole tree.
        plan: cut of the log.
        catalogue: every item of the log.
        encoder: of item texts.
        slices: of the continual run; None without one.
        out: the run folder.
    """

    dataset: Dataset
    config: Config
    plan: Plan
    catalogue: Catalogue
    encoder: TextEncoder | None
    slices: SlicePlan | None
    out: Path

    @classmethod
    def of(cls, dataset: Dataset, config: Config, slices: int | None, out: Path, progress: Progress) -> Self:
        """Cut a log as configured, and encode the texts of its items.

        Raises:
            RaieError: the log cannot be cut so, or the text encoder cannot be loaded.
        """
        plan = plan_replay(dataset, config)
        encoder = encoder_of(config.items, progress, len(plan.timeline.item_ids))
        catalogue = make_catalogue(plan.timeline.item_ids, dataset.items, encoder)
        cut = plan_slices(plan, slices, config.replay) if slices else None
        return cls(dataset, config, plan, catalogue, encoder, cut, out)

    def set_up(self, seed: int, progress: Callable[[str, int, int], None]) -> SetUp:
        """Train the backbone of a seed, and find its regions."""
        known = self.catalogue.first(self.plan.timeline.setup_items)
        return set_up(self.config, known, self.plan.setup, seed, partial(progress, f"seed {seed}: set-up"))

    def setup_regions(self, setup: SetUp) -> Mapping[str, Ids]:
        """Likeliest set-up region of each window, by slice."""
        return setup_regions_of(self.plan, setup, self.catalogue, self.config.replay.score_batch)

    def run(
        self, name: str, setup: SetUp, seed: int, trainings: Trainings, stopwatch: Stopwatch, progress: Progress
    ) -> StrategyResult:
        """Run one strategy under one seed over the stream, and again over slices where these are asked for."""
        labelled = partial(labelled_contexts_of, self.dataset, self.config, self.plan)
        context = StrategyContext(
            setup,
            self.config,
            self.plan.setup,
            seed,
            self.out / STATE / f"seed{seed}" / name,
            self.plan.timeline,
            self.dataset.items,
            self.catalogue,
            self.encoder,
            trainings,
            labelled,
        )
        make = STRATEGIES[name]
        with stopwatch.phase(name, "setup"):
            strategy = make(context)
        with closing(strategy):
            step = partial(progress, f"seed {seed}: {name}")
            ranked = run_strategy(strategy, self.plan, self.config.replay.parts, stopwatch, step)
            trained, memory = strategy.trained_windows, strategy.memory_bytes
            raie = raie_records(strategy, setup, seed, ranked, self.plan)
        slices = None
        if self.slices:
            again = make(replace(context, folder=context.folder.with_name(f"{name}-slices")))
            with closing(again), stopwatch.phase(name, "slices"):
                slices = slice_ranks(again, self.slices, partial(progress, f"seed {seed}: {name}, continual run"))
        return StrategyResult(name, seed, ranked, trained, memory, stopwatch.take(name), raie, slices)


def encoder_of(settings: ItemSettings, progress: Progress, texts: int) -> TextEncoder | None:
    """Open the text encoder of a configuration, which reports the progress of encoding so many texts.

    Raises:
        BackboneError: it cannot be loaded.
    """
    report = partial(progress, "encoding item texts")
    report(0, texts)
    return open_text_encoder(settings.text_encoder, Path(settings.cache).expanduser(), report)
