"""Time of injections beside that of training the backbone anew, in one process.

    python -m benchmarks.inject --events 12000

Simulates a log in which new items come all the time, replays it, and prints one JSON object:

    items, windows      new items that were injected, and windows before interactions with them
    injections          number of Injects of the replay
    seconds             all Injects of the replay together, the longest of them, and one retraining
    ratios.all          all Injects of the replay over one retraining on set-up and stream
    ratios.longest      the longest Inject over one retraining
"""

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from pipeline.config import Config, load_config
from pipeline.datasets.dataset import read_dataset
from pipeline.datasets.simulator import simulate, write
from pipeline.evaluation.protocols import Plan
from pipeline.evaluation.replay import prepare
from pipeline.evaluation.replay_inputs import encoder_of
from pipeline.events.edit import Edit, Operation, Outcome
from pipeline.models.catalogue import make_catalogue
from pipeline.models.seeding import make_deterministic
from pipeline.regions.bank import RegionBank
from pipeline.regions.revision import Revision
from pipeline.setup.bootstrap import set_up
from pipeline.strategies.base import StrategyContext
from pipeline.strategies.baselines.retrain import Retrain
from pipeline.strategies.raie.ablations import StaticInject

Apply = Callable[[Edit, RegionBank], tuple[Outcome, Revision | None]]


def main(arguments: list[str] | None = None) -> None:
    """Measure, and print the result as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=12_000)
    parser.add_argument("--set", dest="settings", action="append", default=[], help="setting, as for `raie`")
    given = parser.parse_args(arguments)
    make_deterministic()
    config = load_config(overrides=("items.text_encoder=hashing", "replay.retrain_every=1", *given.settings))
    with TemporaryDirectory() as folder:
        print(json.dumps(measured(Path(folder), given.events, config), indent=2))


def measured(folder: Path, events: int, config: Config) -> dict[str, Any]:
    """Return sizes and times of the injections of a replay, and of one retraining."""
    write(simulate("emerging", 0, events), folder / "data")
    context, plan = context_of(folder, config)
    timed = _timed_injections(context, plan)
    seconds, windows = [s for s, _ in timed], sum(len(edit.windows) for _, edit in timed)
    seconds_anew = retraining(context, plan)
    return {
        "items": len({item for _, edit in timed for item in edit.items}),
        "windows": windows,
        "injections": len(timed),
        "seconds": {"all": sum(seconds), "longest": max(seconds), "retraining": seconds_anew},
        "ratios": {"all": sum(seconds) / seconds_anew, "longest": max(seconds) / seconds_anew},
    }


def context_of(folder: Path, config: Config) -> tuple[StrategyContext, Plan]:
    """Set-up and stream of the log in `folder/data`, with the state in `folder/state`."""
    dataset = read_dataset(folder / "data")
    plan, catalogue = prepare(dataset, config, _silent)
    encoder = encoder_of(config.items, _silent, 0)
    every = make_catalogue(plan.timeline.item_ids, dataset.items, encoder)
    setup = set_up(config, catalogue, plan.setup, 0)
    context = StrategyContext(
        setup, config, plan.setup, 0, folder / "state", plan.timeline, dataset.items, every, encoder
    )
    return context, plan


def _timed_injections(context: StrategyContext, plan: Plan) -> list[tuple[float, Edit]]:
    """Replay the stream; return the seconds of each Inject, and the edit."""
    timed: list[tuple[float, Edit]] = []

    class Timed(StaticInject):
        def _apply(self, edit: Edit) -> None:
            began = time.perf_counter()
            super()._apply(edit)
            if edit.operation is Operation.INJECT:
                timed.append((time.perf_counter() - began, edit))

    strategy = Timed(context)
    strategy.observe(plan.stream)
    strategy.close()
    return timed


def retraining(context: StrategyContext, plan: Plan) -> float:
    """Seconds of one training of a new backbone on all windows of set-up and stream."""
    retrain = Retrain(context)
    retrain.observe(plan.stream)
    began = time.perf_counter()
    retrain.learn()
    return time.perf_counter() - began


def _silent(stage: str, done: int, total: int) -> None:
    del stage, done, total


if __name__ == "__main__":
    main()
