"""Replay of a log in event time, under one or more strategies and seeds.

Every strategy starts from the same set-up and scores the same interactions; each update interval of the stream is
scored before it is learned. The same log, configuration and seeds give the same bytes.
"""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from pipeline.build_info import versions
from pipeline.config import Config
from pipeline.datasets.dataset import Dataset
from pipeline.errors import RaieError
from pipeline.evaluation.protocols import Plan, plan_setup
from pipeline.evaluation.replay_inputs import Progress, ReplayInputs, encoder_of
from pipeline.evaluation.replay_processes import Begun, Outcome, Parallel, in_processes
from pipeline.evaluation.results import Results
from pipeline.evaluation.run_folder import claim, refuse_foreign, scratch
from pipeline.evaluation.strategy_run import Clock, Stopwatch
from pipeline.models.catalogue import Catalogue, make_catalogue
from pipeline.models.placement import Placement
from pipeline.models.seeding import make_deterministic
from pipeline.strategies import OF_LANGUAGE_MODELS
from pipeline.strategies.common.trainings import Trainings
from pipeline.strategies.registry import STRATEGIES


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
    parallel: Parallel | None = None,
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
        parallel: processes that share seeds and strategies, each with its part of the threads of torch; None: this one
            does all of it. Results do not depend on it but for what torch rounds otherwise with fewer threads.

    Returns:
        The content of `metrics.json`.

    Raises:
        RaieError: a strategy is unknown, the log cannot be cut as configured, the folder holds other files, a text
            encoder or language model cannot be loaded, or a process failed.
        OSError: the folder cannot be written.
    """
    refuse_unknown(strategies, config)
    refuse_foreign(out)
    stopwatch = Stopwatch(clock)
    make_deterministic()
    inputs = ReplayInputs.of(dataset, config, slices, out, progress)
    claim(out, _run_facts(inputs, strategies, seeds) | {"slices": slices})
    results = Results(inputs.plan, inputs.slices)
    with scratch(out) as folder:
        outcomes = (
            _in_this_process(inputs, strategies, seeds, folder, stopwatch, progress)
            if parallel is None
            else in_processes(inputs, strategies, seeds, slices, folder, progress, parallel)
        )
        for outcome in outcomes:
            if isinstance(outcome, Begun):
                results.begin(outcome.seed, outcome.setup_regions)
                continue
            results.add(outcome)
            if so_far and (outcome.seed == 0 or outcome.strategy == strategies[-1]):
                so_far(results.document(dataset.name, config))
    return results.write(out, dataset.name, config, stopwatch.total)


def _in_this_process(
    inputs: ReplayInputs,
    strategies: Sequence[str],
    seeds: int,
    folder: Path,
    stopwatch: Stopwatch,
    progress: Progress,
) -> Iterator[Outcome]:
    """Run seeds and strategies one after the other."""
    for seed in range(seeds):
        setup = inputs.set_up(seed, progress)
        yield Begun(seed, inputs.setup_regions(setup))
        trainings = Trainings(folder / f"seed{seed}", stopwatch.spent, stopwatch.spare)
        for name in strategies:
            yield inputs.run(name, setup, seed, trainings, stopwatch, progress)


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


def _run_facts(inputs: ReplayInputs, strategies: Sequence[str], seeds: int) -> dict[str, Any]:
    """Content of `run.json`: everything needed to reproduce the run."""
    dataset, config, plan, catalogue = inputs.dataset, inputs.config, inputs.plan, inputs.catalogue
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
