"""Removal of a generation that nothing will go back to: its topics but `control`, and the files of its set-up."""

import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from consumers.runtime.generations import FOLDER, base_of, folder_of, log_in, read_generations, write_act
from consumers.runtime.runner import ADAPTERS, user_folder_of
from pipeline.config import Config
from pipeline.errors import LogError
from pipeline.events.generation import Act, Generation, GenerationAct, State
from pipeline.setup.storage import BACKBONE, HASHED, MANIFEST, TRAINING
from pipeline.streams.interface import Log
from pipeline.streams.topics import CONTROL, SHARED, pipeline_topics

DAY = 86_400.0
"""Seconds of a day."""

GRACE = 60.0
"""Seconds beyond `refresh.linger` for which stages and servers may still use a generation that was switched from."""


def due(one: Generation, config: Config, now: float, days: float) -> bool:
    """True for a generation that has stood by for so many days, and that no stage uses any more."""
    age = now - one.since
    return one.state is State.STANDBY and age >= DAY * days and age >= config.refresh.linger + GRACE


def prune(log: Log, root: Path, config: Config, by: str, now: float, days: float = 0.0) -> list[int]:
    """Remove the generations that have stood by for so many days, and those that never had a set-up.

    The record comes first, so that nobody goes back to one of which a part is gone; what an interruption left of one is
    removed by the next call.

    Args:
        log: the log.
        root: folder of any generation's set-up.
        config: sections `refresh` and `log`.
        by: who asks for it, for the record.
        now: seconds since 1970.
        days: age.

    Returns:
        Their numbers.

    Raises:
        LogError, OSError: a topic or file cannot be removed.
    """
    pruned, found = [], read_generations(log)
    # What is prepared beside one begins with its set-up.
    beside = {one.beside for one in found.all.values() if one.state is State.PREPARING}
    for one in found.kept:
        if one.number not in beside and due(one, config, now, days if one.has_setup else 0.0):
            write_act(log, GenerationAct(Act.PRUNE, one.number, by), now)
            pruned.append(one.number)
    for one in read_generations(log).all.values():
        if one.state is State.GONE:
            _remove(log, root, config, one)
    return pruned


def _remove(log: Log, root: Path, config: Config, one: Generation) -> None:
    own = log_in(log, one.number)
    # `control` stays: it says who did what, and names no user.
    topics = [topic.name for topic in pipeline_topics() if topic.name not in {*SHARED, CONTROL}]
    if len(own.problems([topic for topic in pipeline_topics() if topic.name in topics])) < len(topics):
        own.delete_topics(topics)
    folder = folder_of(root, one) if one.number == 1 else base_of(root) / FOLDER / str(one.number)
    # First: what has no manifest is no set-up, for a backup that copies it.
    (folder / MANIFEST).unlink(missing_ok=True)
    for name in (BACKBONE, ADAPTERS, TRAINING):
        shutil.rmtree(folder / name, ignore_errors=True)
    for file in HASHED:
        (folder / file).unlink(missing_ok=True)
    users = user_folder_of(folder, config)
    for process in users.glob("*"):
        if process.name != FOLDER:
            shutil.rmtree(process, ignore_errors=True)
    with suppress(OSError):
        users.rmdir()
    if folder != base_of(root) and folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()


class GenerationPruner:
    """Prunes generations in a trainer of the generation that answers, with each round of retention.

    Args:
        root: folder of the trainer's set-up.
        config: sections `refresh`, `retention` and `log`.
        clock: monotonic seconds.
        wall_clock: seconds since 1970.
        say: shows a status line.
    """

    def __init__(
        self,
        root: Path,
        config: Config,
        clock: Callable[[], float],
        wall_clock: Callable[[], float],
        say: Callable[[str], None],
    ) -> None:
        self._root, self._config, self._clock, self._wall_clock, self._say = root, config, clock, wall_clock, say
        self._due = clock() + config.retention.every

    def __call__(self, log: Log) -> None:
        """Do a round if it is due."""
        days = self._config.refresh.kept_days
        if self._clock() < self._due or days is None:
            return
        self._due = self._clock() + self._config.retention.every
        try:
            for number in prune(log, self._root, self._config, "retention", self._wall_clock(), days):
                self._say(f"retention removed generation {number}, which stood by for {days:g} days")
        except (LogError, OSError) as error:
            self._say(f"{error}; generations are pruned later")
