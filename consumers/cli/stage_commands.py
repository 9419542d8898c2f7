"""The commands of the long-running stages as functions of values; `consumers.cli.stages` says how they are called."""

import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from threading import Event

from adapters_store import AdaptersStore
from consumers.runtime.ledger import Ledger
from consumers.runtime.runner import Say, adapters_of, log_of, run_stage, stopped_by_signals
from pipeline.config import Config
from pipeline.errors import RaieError
from pipeline.events.edit import Edit, Outcome
from pipeline.streams import path_of

MOST_GATED = 1_000
"""Records that the monitor takes in at a step, at most."""

SEED = 0
"""That of `raie setup` and of a replay's first seed."""


def run_monitor(root: Path, instance: str, config: Config, say: Say) -> None:
    """`raie monitor`: watch what is gated, and ask for edits."""
    from consumers.monitor.stage import MonitorStage  # noqa: PLC0415
    from pipeline.setup.storage import load_setup  # noqa: PLC0415

    setup = load_setup(root)
    run_stage(lambda metrics: MonitorStage(setup, config, SEED, metrics), instance, config, MOST_GATED, say)


def run_trainer(root: Path, instance: str, config: Config, say: Say) -> None:
    """`raie train`: carry edits out, and publish what beats the incumbent."""
    from consumers.trainer.child_process import TrainingChild  # noqa: PLC0415
    from consumers.trainer.orphans import collect_orphans  # noqa: PLC0415
    from consumers.trainer.stage import TrainerStage  # noqa: PLC0415

    with closing(log_of(config)) as log:
        for name in collect_orphans(log, AdaptersStore(adapters_of(root))):
            say(f"collected {name}: its edit ended without it")
    start = {"root": str(root), "adapters": str(adapters_of(root)), "config": config.model_dump(mode="json")}
    run_stage(lambda metrics: TrainerStage(TrainingChild(start), metrics), instance, config, 1, say)


def run_up(root: Path, trainers: int, config: Config, options: Sequence[str], say: Say) -> None:
    """`raie up`: all stages as processes of this machine.

    Args:
        root: of the set-up.
        trainers: how many.
        config: the whole tree.
        options: `--config` and `--set`, as they were given.
        say: where the status lines go.
    """
    from consumers.runtime.compaction import Upkeep  # noqa: PLC0415
    from consumers.runtime.supervisor import Supervisor  # noqa: PLC0415

    if not root.is_dir():
        raise RaieError(f"{root} is no folder: make it with `raie setup --data PATH --out {root}`")
    stages = [("gate", "gate-0"), ("monitor", "monitor-0"), *(("train", f"trainer-{i}") for i in range(trainers))]
    raie = [sys.executable, "-m", "consumers.cli.main"]
    commands = {name: [*raie, stage, "--root", str(root), "--instance", name, *options] for stage, name in stages}
    stop, changes = Event(), _Changes(say)
    path = path_of(config.log.url)
    upkeep = Upkeep(path, time.monotonic, say) if path else None

    def look(states: Mapping[str, str]) -> None:
        changes(states)
        if upkeep:
            upkeep()

    with stopped_by_signals(stop):
        Supervisor(commands, time.monotonic).run(stop, look)
    say("all stages have stopped")


class _Changes:
    """Says how a stage is whenever that is another than before."""

    def __init__(self, say: Say) -> None:
        self._say = say
        self._said: dict[str, str] = {}

    def __call__(self, states: Mapping[str, str]) -> None:
        for name, state in states.items():
            # The seconds that are left change all the time.
            if self._said.get(name) != state.split(", starts")[0]:
                self._say(f"{name:12s} {state}")
            self._said[name] = state.split(", starts")[0]


def show_edits(config: Config, follow: bool, out: Say, wait: Callable[[float], None] = time.sleep) -> None:
    """`raie edits`: every edit with what came of it; new ones as they come, if asked to."""
    with closing(log_of(config)) as log:
        ledger = Ledger(log, config.log.partitions)
        while True:
            for edit, outcome in ledger.poll():
                out(edit_line(edit, outcome))
            if not follow:
                return
            wait(config.consumers.poll_timeout)


def edit_line(edit: Edit, outcome: Outcome) -> str:
    """One edit in a line."""
    status = f"published {outcome.version or ''}".strip() if outcome.published else "rejected"
    regions = f"{outcome.region_id}" + (f" and {edit.other_region_id}" if edit.other_region_id is not None else "")
    windows = f"{len(edit.windows)} windows"
    return f"{edit.edit_id}  {outcome.operation:7s} region {regions}, {windows}: {status}; {outcome.detail}"


def rerun_edit(root: Path, edit_id: str, config: Config, out: Say) -> None:
    """`raie edits rerun`: carry a published edit out again, and compare.

    Raises:
        RaieError: what came of it differs from what was published.
    """
    from consumers.trainer.rerun import rerun  # noqa: PLC0415
    from pipeline.models.seeding import make_deterministic  # noqa: PLC0415
    from pipeline.setup.storage import load_setup  # noqa: PLC0415

    make_deterministic()
    with closing(log_of(config)) as log:
        ledger = Ledger(log, config.log.partitions)
        ledger.poll()
        found = rerun(ledger[edit_id], load_setup(root), config, log, adapters_of(root))
    what = f"adapter {found.version}, byte for byte" if found.version else "the same boundary, number by number"
    if not found.alike:
        raise RaieError(
            f"edit {edit_id} gave something else than what was published ({what}): were settings, versions of "
            "packages, or the number of threads other ones?"
        )
    out(f"edit {edit_id} gives {what}, again")


def show_regions(config: Config, root: Path, out: Say) -> None:
    """`raie regions`: the regions as of the newest revision."""
    from consumers.runtime.revisions import RevisionFollower  # noqa: PLC0415
    from pipeline.setup.storage import load_setup  # noqa: PLC0415

    bank, revisions = load_setup(root).bank, RevisionFollower()
    with closing(log_of(config)) as log:
        for _, revision in revisions.poll(log):
            bank = revision.after(bank)
    live = {r.region_id for r in bank.live}
    newest = "as set up" if revisions.revision < 0 else f"revision {revisions.revision}"
    out(f"{newest}, gate version {bank.gate_version}, {len(live)} live regions")
    for region in bank.regions:
        adapter = f"adapter {region.adapter}" if region.adapter else "answered by the backbone"
        origin = region.origin if region.parent is None else f"{region.origin}, from region {region.parent}"
        out(
            f"region {region.region_id:4d}  {region.status:7s} {origin}, version {region.version}, "
            f"share {region.prior:.3f}, radius {region.radius:.3f} rad, {adapter}"
        )
