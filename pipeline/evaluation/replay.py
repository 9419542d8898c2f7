"""Replay: a log in event time, under one or more strategies and seeds, on equal terms.

Every strategy starts from the same set-up and is asked about the same interactions; each part of the stream is
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
from pipeline.config import Config
from pipeline.datasets.dataset import Dataset
from pipeline.errors import RaieError
from pipeline.evaluation.continual_run import plan_slices
from pipeline.evaluation.protocols import Plan, plan_replay
from pipeline.evaluation.results import Clock, Results, Stopwatch
from pipeline.evaluation.run_folder import STATE, claim, refuse_foreign, scratch
from pipeline.models.catalogue import Catalogue, make_catalogue
from pipeline.models.seeding import make_deterministic
from pipeline.models.text import open_text_encoder
from pipeline.setup.bootstrap import set_up
from pipeline.strategies import STRATEGIES, Scored, Strategy, StrategyContext
from pipeline.strategies.common.trainings import Trainings

Progress = Callable[[str, int, int], None]
"""Called with (stage, steps done, steps in all); a stage begins when it is named for the first time."""


def replay(
    dataset: Dataset,
    config: Config,
    strategies: Sequence[str],
    seeds: int,
    out: Path,
    progress: Progress,
    clock: Clock,
    slices: int | None = None,
) -> dict[str, Any]:
    """Replay a log and write a run folder, its report included.

    Args:
        dataset: the log.
        config: the whole tree.
        strategies: names, each once.
        seeds: how many: 0, 1, ...
        out: a new folder, or that of an earlier run, which is replaced.
        progress: told of each stage.
        clock: for the timings.
        slices: of the stream, after each of which every slice is scored, in a pass of its own; None: no such pass.

    Returns:
        The content of `metrics.json`.

    Raises:
        RaieError: a strategy is unknown, the log cannot be cut as asked, the folder is somebody else's, a text
            encoder or language model cannot be loaded.
        OSError: the folder cannot be written.
    """
    refuse_unknown(strategies)
    refuse_foreign(out)
    stopwatch = Stopwatch(clock)
    make_deterministic()
    plan, catalogue = prepare(dataset, config, progress)
    sliced = plan_slices(plan, slices, config.replay) if slices else None
    claim(out, _run_facts(dataset, config, plan, catalogue, strategies, seeds) | {"slices": slices})
    results = Results(plan, sliced)
    for seed in range(seeds):
        setup = set_up(config, catalogue, plan.setup, seed, partial(progress, f"seed {seed}: set-up"))
        results.begin(setup, seed, config.replay.score_batch)
        with scratch(out) as trained:
            trainings = Trainings(trained, stopwatch.spent, stopwatch.spare)
            for name in strategies:
                folder = out / STATE / f"seed{seed}" / name
                start = StrategyContext(setup, config, plan.setup, seed, folder, trainings)
                with stopwatch.phase(name, "setup"):
                    strategy = STRATEGIES[name](start)
                step = partial(progress, f"seed {seed}: {name}")
                with closing(strategy):
                    results.add(strategy, setup, seed, ask(strategy, plan, config.replay.parts, stopwatch, step))
                if results.sliced:
                    afresh = STRATEGIES[name](replace(start, folder=start.folder.with_name(f"{name}-slices")))
                    step = partial(progress, f"seed {seed}: {name}, slice after slice")
                    with closing(afresh), stopwatch.phase(name, "slices"):
                        results.sliced.run(afresh, seed, step)
    return results.write(out, dataset.name, config, stopwatch)


def refuse_unknown(strategies: Sequence[str]) -> None:
    """See to it that every strategy is known, and that there is one.

    Raises:
        RaieError: lists the known ones.
    """
    unknown = [name for name in strategies if name not in STRATEGIES]
    if unknown or not strategies:
        named = " and ".join(repr(name) for name in unknown) or "no name"
        raise RaieError(f"{named} is no strategy; there are: {', '.join(STRATEGIES)}")


def prepare(dataset: Dataset, config: Config, progress: Progress) -> tuple[Plan, Catalogue]:
    """Cut the log, then encode the texts of its items.

    Raises:
        DataError: the log cannot be cut as asked.
        BackboneError: the text encoder cannot be loaded.
    """
    plan = plan_replay(dataset, config, make_catalogue(dataset.items, (), None).row_of)
    tell = partial(progress, "encoding item texts")
    tell(0, len(dataset.items))
    encoder = open_text_encoder(config.items.text_encoder, Path(config.items.cache).expanduser(), tell)
    return plan, make_catalogue(dataset.items, (), encoder)


def ask(
    strategy: Strategy, plan: Plan, parts: int, stopwatch: Stopwatch, progress: Callable[[int, int], None]
) -> dict[str, Scored]:
    """Show a strategy the stream part by part, then ask it about everything that is scored at the end.

    Args:
        strategy: fresh.
        plan: what to show.
        parts: after each of which it may learn.
        stopwatch: told what takes how long.
        progress: told of the parts and slices done.

    Returns:
        Its answers by slice, in the order of `plan.asked`.
    """
    stream = plan.parts(parts)
    steps = len(stream) + len(plan.scored)
    observed: list[Scored] = []
    for done, part in enumerate(stream):
        progress(done, steps)
        with stopwatch.phase(strategy.name, "observe"):
            observed.append(strategy.observe(part))
        with stopwatch.phase(strategy.name, "learn"):
            strategy.learn()
    answers = _by_slice(_joined(observed), plan)
    for done, (name, windows) in enumerate(plan.scored.items(), start=len(stream)):
        progress(done, steps)
        with stopwatch.phase(strategy.name, "score"):
            answers[name] = strategy.score(windows)
    progress(steps, steps)
    return answers


def _joined(parts: Sequence[Scored]) -> Scored:
    regions = [part.regions for part in parts if part.regions is not None]
    confidence = [part.confidence for part in parts if part.confidence is not None]
    return Scored(
        np.concatenate([part.ranks for part in parts]),
        np.concatenate(regions) if regions else None,
        np.concatenate(confidence) if confidence else None,
    )


def _by_slice(scored: Scored, plan: Plan) -> dict[str, Scored]:
    """Cut the answers of the stream where its slices end."""
    answers, start = {}, 0
    for name, windows in plan.observed.items():
        rows = slice(start, start + len(windows))
        answers[name] = Scored(
            scored.ranks[rows],
            None if scored.regions is None else scored.regions[rows],
            None if scored.confidence is None else scored.confidence[rows],
        )
        start += len(windows)
    return answers


def _run_facts(
    dataset: Dataset, config: Config, plan: Plan, catalogue: Catalogue, strategies: Sequence[str], seeds: int
) -> dict[str, Any]:
    """What it takes to run it again: the content of `run.json`."""
    return {
        "config": config.model_dump(mode="json"),
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
