"""Replay of a log in event time, under one or more strategies and seeds.

Every strategy starts from the same set-up and scores the same interactions; each update interval of the stream is
scored before it is learned. The same log, configuration and seeds give the same bytes.
"""

from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.build_info import versions
from pipeline.config import Config, ItemSettings
from pipeline.datasets.dataset import Dataset
from pipeline.errors import RaieError
from pipeline.evaluation.continual_run import plan_slices
from pipeline.evaluation.protocols import Plan, labelled_contexts_of, plan_replay, plan_setup
from pipeline.evaluation.results import Clock, Results, Stopwatch
from pipeline.evaluation.run_folder import STATE, claim, refuse_foreign, scratch
from pipeline.models.catalogue import Catalogue, make_catalogue
from pipeline.models.placement import Placement
from pipeline.models.seeding import make_deterministic
from pipeline.models.text import TextEncoder, open_text_encoder
from pipeline.setup.bootstrap import set_up
from pipeline.strategies import OF_LANGUAGE_MODELS
from pipeline.strategies.base import Scored, Strategy, StrategyContext
from pipeline.strategies.common.trainings import Trainings
from pipeline.strategies.registry import STRATEGIES

Progress = Callable[[str, int, int], None]
"""Called with (stage, steps done, steps in all); a stage begins with the first call that names it."""


def replay(
    dataset: Dataset,
    config: Config,
    strategies: Sequence[str],
    seeds: int,
    out: Path,
    progress: Progress,
    clock: Clock,
    slices: int | None = None,
    so_far: Callable[[dict[str, Any]], None] | None = None,
) -> dict[str, Any]:
    """Replay a log and write a run folder, its report included.

    Args:
        dataset: the log.
        config: the whole tree.
        strategies: names, each once.
        seeds: number of seeds: 0, 1, ...
        out: a new folder, or that of an earlier run, which is replaced.
        progress: receives the progress of each stage.
        clock: for the timings.
        slices: number of slices of the continual run; None: no continual run.
        so_far: receives the content of `metrics.json` of what is complete: after each strategy of the first seed, and
            after each seed.

    Returns:
        The content of `metrics.json`.

    Raises:
        RaieError: a strategy is unknown, the log cannot be cut as configured, the folder holds other files, or a text
            encoder or language model cannot be loaded.
        OSError: the folder cannot be written.
    """
    refuse_unknown(strategies, config)
    refuse_foreign(out)
    stopwatch = Stopwatch(clock)
    make_deterministic()
    plan = plan_replay(dataset, config)
    encoder = encoder_of(config.items, progress, len(plan.timeline.item_ids))
    catalogue = make_catalogue(plan.timeline.item_ids, dataset.items, encoder)
    continual = plan_slices(plan, slices, config.replay) if slices else None
    claim(out, _run_facts(dataset, config, plan, catalogue, strategies, seeds) | {"slices": slices})
    results, labelled = Results(plan, continual), partial(labelled_contexts_of, dataset, config, plan)
    for seed in range(seeds):
        known = catalogue.first(plan.timeline.setup_items)
        setup = set_up(config, known, plan.setup, seed, partial(progress, f"seed {seed}: set-up"))
        results.begin(setup, catalogue, seed, config.replay.score_batch)
        with scratch(out) as trained:
            trainings = Trainings(trained, stopwatch.spent, stopwatch.spare)
            for name in strategies:
                folder = out / STATE / f"seed{seed}" / name
                context = StrategyContext(
                    setup,
                    config,
                    plan.setup,
                    seed,
                    folder,
                    plan.timeline,
                    dataset.items,
                    catalogue,
                    encoder,
                    trainings,
                    labelled,
                )
                _replay_strategy(name, context, plan, results, stopwatch, progress)
                if so_far and (seed == 0 or name == strategies[-1]):
                    so_far(results.document(dataset.name, config))
    return results.write(out, dataset.name, config, stopwatch)


def _replay_strategy(
    name: str, context: StrategyContext, plan: Plan, results: Results, stopwatch: Stopwatch, progress: Progress
) -> None:
    """Run one strategy under one seed over the stream, and again over slices where the results include them."""
    seed, make = context.seed, STRATEGIES[name]
    with stopwatch.phase(name, "setup"):
        strategy = make(context)
    step = partial(progress, f"seed {seed}: {name}")
    with closing(strategy):
        ranked = run_strategy(strategy, plan, context.config.replay.parts, stopwatch, step)
        results.add(strategy, context.setup, seed, ranked)
    if results.continual:
        again = make(replace(context, folder=context.folder.with_name(f"{name}-slices")))
        step = partial(progress, f"seed {seed}: {name}, continual run")
        with closing(again), stopwatch.phase(name, "slices"):
            results.continual.run(again, seed, step)


def refuse_unknown(strategies: Sequence[str], config: Config) -> None:
    """Check that every strategy is known and can run over the backbone, and that there is at least one.

    Raises:
        RaieError: names the known ones, or those that need a language model.
    """
    unknown = [name for name in strategies if name not in STRATEGIES]
    if unknown or not strategies:
        named = " and ".join(repr(name) for name in unknown) or "no name"
        raise RaieError(f"{named} is no strategy; known strategies: {', '.join(STRATEGIES)}")
    reading = sorted(OF_LANGUAGE_MODELS.intersection(strategies))
    if reading and config.backbone.kind != "causal_lm":
        raise RaieError(
            f"{', '.join(reading)} reads texts, and backbone.kind is {config.backbone.kind}: set it to causal_lm, with "
            "backbone.model, or leave the strategy out"
        )


def encoder_of(settings: ItemSettings, progress: Progress, texts: int) -> TextEncoder | None:
    """Open the text encoder of a configuration, which reports the progress of encoding so many texts.

    Raises:
        BackboneError: it cannot be loaded.
    """
    report = partial(progress, "encoding item texts")
    report(0, texts)
    return open_text_encoder(settings.text_encoder, Path(settings.cache).expanduser(), report)


def prepare(dataset: Dataset, config: Config, progress: Progress) -> tuple[Plan, Catalogue]:
    """Cut the log, and encode the texts of the items that set-up knows.

    Returns:
        The plan, and the catalogue of set-up.

    Raises:
        DataError: the log cannot be cut as configured.
        BackboneError: the text encoder cannot be loaded.
    """
    plan = plan_setup(dataset, config)
    known = plan.timeline.item_ids[: plan.timeline.setup_items]
    return plan, make_catalogue(known, dataset.items, encoder_of(config.items, progress, len(known)))


def run_strategy(
    strategy: Strategy, plan: Plan, intervals: int, stopwatch: Stopwatch, progress: Callable[[int, int], None]
) -> dict[str, Scored]:
    """Run a strategy over the stream, learning after each update interval, then score the final slices.

    Args:
        strategy: new.
        plan: of the replay.
        intervals: number of update intervals.
        stopwatch: records the seconds of each phase.
        progress: receives the number of intervals and slices done.

    Returns:
        Ranks by slice, in the order of `plan.by_slice`.
    """
    stream = plan.update_intervals(intervals)
    steps = len(stream) + len(plan.scored)
    observed: list[Scored] = []
    for done, interval in enumerate(stream):
        progress(done, steps)
        with stopwatch.phase(strategy.name, "observe"):
            observed.append(strategy.observe(interval))
        with stopwatch.phase(strategy.name, "learn"):
            strategy.learn()
    ranked = _by_slice(_joined(observed), plan)
    for done, (name, windows) in enumerate(plan.scored.items(), start=len(stream)):
        progress(done, steps)
        with stopwatch.phase(strategy.name, "score"):
            ranked[name] = strategy.score(windows)
    progress(steps, steps)
    return ranked


def _joined(intervals: Sequence[Scored]) -> Scored:
    regions = [scored.regions for scored in intervals if scored.regions is not None]
    confidence = [scored.confidence for scored in intervals if scored.confidence is not None]
    return Scored(
        np.concatenate([scored.ranks for scored in intervals]),
        np.concatenate(regions) if regions else None,
        np.concatenate(confidence) if confidence else None,
    )


def _by_slice(scored: Scored, plan: Plan) -> dict[str, Scored]:
    """Cut the ranks of the stream at the ends of its slices."""
    ranked, start = {}, 0
    for name, windows in plan.observed.items():
        rows = slice(start, start + len(windows))
        ranked[name] = Scored(
            scored.ranks[rows],
            None if scored.regions is None else scored.regions[rows],
            None if scored.confidence is None else scored.confidence[rows],
        )
        start += len(windows)
    return ranked


def _run_facts(
    dataset: Dataset, config: Config, plan: Plan, catalogue: Catalogue, strategies: Sequence[str], seeds: int
) -> dict[str, Any]:
    """Content of `run.json`: everything needed to reproduce the run."""
    return {
        "config": config.model_dump(mode="json"),
        "placement": Placement.of_new(config.compute, config.backbone.kind).to_record(),
        "versions": versions(),
        "dataset": dataset.name,
        "data_sha256": dataset.sha256,
        "length": len(dataset.interactions),
        "refused": dict(dataset.refused.counts),
        "out_of_order": dataset.out_of_order,
        "finetune_from": plan.slices.setup_until,
        "test_from": plan.slices.finetune_until,
        "items_sha256": catalogue.sha256,
        "text_encoder": catalogue.encoder,
        "strategies": list(strategies),
        "seeds": seeds,
    }
