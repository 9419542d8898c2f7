"""Preparation of a generation: a number, the fork of the gate, the set-up from the stretch before it, its shadow.

Each step is an act in `generations`. After an interruption the same call goes on: before the fork with a new number,
after it with the same stretch and the checkpoint of the training.
"""

from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from adapters_store import AdaptersStore
from consumers.refresh.fork import INSTANCE, fork
from consumers.refresh.ranking import keep, kept, newest_weights
from consumers.refresh.stretch import read_stretch, starts_of
from consumers.refresh.teacher import teacher_at_fork
from consumers.runtime.generations import (
    FOLDER,
    base_of,
    create_topics,
    folder_of,
    log_in,
    read_generations,
    write_act,
)
from consumers.runtime.log_binding import bind_log
from consumers.runtime.runner import adapters_of, binding_of, log_of
from pipeline.config import Config
from pipeline.errors import ConfigError, LogError
from pipeline.evaluation.replay import prepare
from pipeline.events.generation import Act, Generation, GenerationAct, Generations, State
from pipeline.events.windows import Windows
from pipeline.models.backbones.warm_start import begin_from
from pipeline.models.catalogue import Catalogue
from pipeline.models.seeding import make_deterministic
from pipeline.models.training.loop import Progress as OnBatch
from pipeline.setup.artifacts import SetUp, TrainingLog
from pipeline.setup.binding import read_binding
from pipeline.setup.bootstrap import set_up
from pipeline.setup.storage import MANIFEST, TRAINING, load_setup, save_setup
from pipeline.setup.teacher import Teacher
from pipeline.setup.training import OnBuilt
from pipeline.streams import GenerationLog, Log
from pipeline.streams.topics import GATED, ITEMS, REGIONS

Progress = Callable[[str, int, int], None]
"""Receives a stage, and the steps of it that are done, of all; 0 where that is not known."""


SESSIONS = 2
"""Sessions (`log.session_seconds`) to wait for the new gate's group."""


@dataclass(frozen=True)
class Inputs:
    """Everything that a preparation is given.

    Attributes:
        root: folder of any generation's set-up.
        config: the whole tree.
        by: who asks for it, for the record.
        seed: of all random draws.
        clock: seconds since 1970.
        monotonic: seconds.
        progress: receives the progress.
        on_built: see `train_backbone`.
    """

    root: Path
    config: Config
    by: str
    seed: int
    clock: Callable[[], float]
    monotonic: Callable[[], float]
    progress: Progress
    on_built: OnBuilt | None = None


def prepare_generation(inputs: Inputs) -> Generation:
    """Prepare a generation, or go on with one; return it as soon as its stages may run in the shadow.

    Raises:
        ConfigError: the stages run in lockstep, or with other settings than those of the set-up.
        LogError: a generation runs in the shadow already, or the log cannot be used.
        RaieError: the set-up cannot be made; the same call goes on once the reason is removed.
    """
    config = inputs.config
    if config.consumers.lockstep:
        raise ConfigError(["consumers.lockstep is on, which replays one set-up: turn it off to refresh"])
    with closing(log_of(config)) as log:
        found = read_generations(log)
        if found.shadow is not None:
            raise LogError(
                f"generation {found.shadow.number} runs in the shadow already: see `raie refresh status`, then "
                "`raie refresh switch` or `raie refresh stop`"
            )
        active = folder_of(inputs.root, found.active)
        binding_of(active, config)
        one = _forked(log, found, active, inputs)
        folder = _folder_of(inputs, one.number)
        if not (folder / MANIFEST).exists():
            _set_up(log, one, folder_of(inputs.root, found.all[one.beside]), folder, inputs)
        inputs.progress("starting the shadow", 0, 0)
        details = {"root": read_binding(folder).root, "folder": f"{FOLDER}/{one.number}"}
        return write_act(log, GenerationAct(Act.READY, one.number, inputs.by, details), inputs.clock()).all[one.number]


def _folder_of(inputs: Inputs, number: int) -> Path:
    return base_of(inputs.root) / FOLDER / str(number)


def _forked(log: GenerationLog, found: Generations, active: Path, inputs: Inputs) -> Generation:
    """The generation that is being prepared, forked from the one that answers."""
    begun = [one for one in found.all.values() if one.state is State.PREPARING]
    if begun and begun[-1].is_forked:
        return begun[-1]
    for one in begun:
        # Nobody knows how much of its users was copied.
        write_act(log, GenerationAct(Act.STOP, one.number, inputs.by), inputs.clock())
    number, config = max(found.all) + 1, inputs.config
    inputs.progress("copying users and positions", 0, 0)
    write_act(log, GenerationAct(Act.BEGIN, number, inputs.by), inputs.clock())
    new = create_topics(log, number, config.log.partitions)
    # First: users without a rule would look like those of an earlier version.
    bind_log(new, INSTANCE, config)
    # Before the positions are looked at: they are of no event after the fork.
    keep(newest_weights(log, AdaptersStore(adapters_of(active))), _folder_of(inputs, number) / TRAINING)
    gated = log.end_offset(GATED, 0)
    until = {topic: log.end_offset(topic, 0) for topic in (REGIONS, ITEMS)}
    ends = fork(log, new, SESSIONS * config.log.session_seconds, inputs.monotonic)
    starts = starts_of(log, ends, config.refresh.learn_events)
    details = {"starts": starts, "ends": ends, "beside": found.active.number, "gated": gated, "until": until}
    return write_act(log, GenerationAct(Act.FORK, number, inputs.by, details), inputs.clock()).all[number]


def _set_up(log: Log, one: Generation, beside: Path, folder: Path, inputs: Inputs) -> None:
    """Train on the stretch, and save the set-up.

    Args:
        log: the log.
        one: the generation that is prepared.
        beside: folder of the set-up that answered at the fork.
        folder: of the new one.
        inputs: of the preparation.
    """
    config, progress, old = inputs.config, inputs.progress, load_setup(beside, inputs.config.compute)
    # The stretch is all set-up: what comes after it is the stream.
    config = config.model_copy(update={"data": config.data.model_copy(update={"finetune_from": 1.0})})
    rule = old.counting_rule(config.data)
    make_deterministic()
    progress("reading the newest interactions", 0, 0)
    dataset = read_stretch(log_in(log, one.number), one.starts, one.ends, config, rule, one.until.get(ITEMS))
    plan, catalogue = prepare(dataset, config, progress)
    begin = teacher = None
    if config.refresh.begin_from != "scratch":
        begin = partial(begin_from, catalogue=catalogue, old=old.backbone, known=old.catalogue)
    if config.refresh.begin_from == "distilled":
        store = AdaptersStore(adapters_of(beside))
        teacher = _teacher(log_in(log, one.beside), one, old, store, catalogue, plan.setup, inputs)
    on_batch: OnBatch = partial(progress, "set-up")
    setup = set_up(
        config,
        catalogue,
        plan.setup,
        inputs.seed,
        on_batch,
        folder / TRAINING,
        inputs.on_built,
        begin,
        teacher=teacher,
    )
    learned = TrainingLog(dataset.sha256, plan.slices.setup_until, rule)
    save_setup(replace(setup, log=learned, ranking=kept(folder / TRAINING)), folder)


def _teacher(
    log: Log, one: Generation, old: SetUp, store: AdaptersStore, catalogue: Catalogue, windows: Windows, inputs: Inputs
) -> Teacher:
    """The teacher; versions that cannot teach are shown. See `teacher_at_fork`."""
    inputs.progress("reading regions and adapters", 0, 0)
    teacher, refused = teacher_at_fork(log, one, old, store, inputs.config, catalogue, windows)
    if refused:
        inputs.progress(f"{', '.join(refused)} cannot be read: what answers in their place teaches", 0, 0)
    return teacher
