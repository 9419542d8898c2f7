"""Generations of the pipeline on a log: reading and writing of `generations`, the log as one sees it, its folder."""

from collections.abc import Iterator
from pathlib import Path

from consumers.runtime.malformed import readable, unreported
from consumers.runtime.topic_reader import new_records, value_of
from pipeline.errors import LogError
from pipeline.events.generation import Generation, GenerationAct, Generations, State
from pipeline.events.versioning import versioned
from pipeline.streams.generation import GenerationLog
from pipeline.streams.interface import Log, Record, Topic, UnavailableError
from pipeline.streams.topics import FIRST, GENERATIONS, SHARED, pipeline_topics

FOLDER = "generations"
"""Folder below that of the first set-up that has the later ones, by number."""

WRITER = "generations"
"""Producer of the records: the newest writer fences the others."""


def whole(log: Log) -> Log:
    """The whole log of which a log may be a generation's part."""
    return log.whole if isinstance(log, GenerationLog) else log


def read_generations(log: Log) -> Generations:
    """Read all generations; a log of an earlier version has the first alone."""
    try:
        whole(log).topic(GENERATIONS)
    except UnavailableError:
        raise
    except LogError:
        return Generations()
    return Generations().after(readable(new_records(whole(log), GENERATIONS, 0), _act_in, unreported))


def read_acts(log: Log) -> Iterator[tuple[GenerationAct, float]]:
    """Yield all acts with their times in seconds since 1970."""
    yield from readable(new_records(whole(log), GENERATIONS, 0), _act_in, unreported)


def write_act(log: Log, act: GenerationAct, now: float) -> Generations:
    """Write an act; return the state after it.

    Args:
        log: has the topic.
        act: the act.
        now: seconds since 1970.

    Raises:
        LogError: it does not fit the state, or another process was first.
    """
    # Before the state is read: an older writer can add nothing to it any more.
    producer = whole(log).producer(WRITER)
    problem = read_generations(log).problem(act)
    if problem is not None:
        raise LogError(f"{act.act} of generation {act.generation} is refused: {problem}")
    with producer.transaction() as transaction:
        transaction.send(GENERATIONS, versioned(act.to_record()), key=str(act.generation), timestamp=now)
    return read_generations(log)


def log_in(log: Log, generation: int) -> GenerationLog:
    """The log as a generation sees it."""
    return GenerationLog(whole(log), generation)


def active_log(log: Log) -> GenerationLog:
    """The log as the generation that answers sees it."""
    return log_in(log, read_generations(log).active.number)


def kept_logs(log: Log) -> list[GenerationLog]:
    """The log as each generation sees it that may read on: running ones, and those that stand by.

    One that is being prepared is among them once its users are copied.
    """
    return [log_in(log, one.number) for one in read_generations(log).kept if one.is_forked]


def running_logs(log: Log) -> list[GenerationLog]:
    """The log as each generation sees it whose stages run, the active one first."""
    return [log_in(log, one.number) for one in read_generations(log).running]


def create_topics(log: Log, generation: int, partitions: int) -> GenerationLog:
    """Create the missing topics of a generation, and the shared ones; return the log as it sees it."""
    own = log_in(log, generation)
    own.create_topics(pipeline_topics(partitions))
    return own


def create_active_topics(log: Log, partitions: int) -> GenerationLog:
    """Create the missing topics of the generation that answers, and the shared ones; return the log as it sees it."""
    log.create_topics(_shared_topics(partitions))
    return create_topics(log, read_generations(log).active.number, partitions)


def number_of(generations: Generations, root: str) -> int:
    """Number of the generation of a set-up, by its fingerprint; the first for one that is not known.

    Raises:
        LogError: it was pruned.
    """
    found = next((one for one in generations.all.values() if one.root == root), generations.all[FIRST])
    if found.state is State.GONE:
        raise LogError(
            f"generation {found.number} was pruned, or the set-up is none of this log: name that of generation "
            f"{generations.active.number} by --root"
        )
    return found.number


def base_of(root: Path) -> Path:
    """Folder of the first set-up, given that of any generation."""
    return root.parent.parent if root.parent.name == FOLDER and root.name.isdecimal() else root


def folder_of(root: Path, generation: Generation) -> Path:
    """Folder of a generation's set-up, given that of any generation."""
    return base_of(root) / generation.folder


def _shared_topics(partitions: int) -> list[Topic]:
    return [topic for topic in pipeline_topics(partitions) if topic.name in SHARED]


def _act_in(record: Record) -> tuple[GenerationAct, float]:
    return GenerationAct.from_record(value_of(record)), record.timestamp
