"""The commands around the gate as functions of values; `consumers.cli.gate` says how they are called."""

import time
from collections.abc import Callable, Iterable
from contextlib import closing
from pathlib import Path
from typing import Any

from consumers.runtime.lag import lags
from consumers.runtime.runner import Say, adapters_of, log_of, run_stage
from consumers.runtime.topic_reader import new_records, value_of
from pipeline.config import Config
from pipeline.streams.codec import UNREADABLE
from pipeline.streams.interface import Log
from pipeline.streams.topics import CONTROL, DEAD_LETTERS

REPLAYED = "replayed"
"""Kind, and key, of the record of `control` that says which dead letters were replayed."""


def run_gate(root: Path, instance: str, config: Config, say: Say) -> None:
    """`raie gate`: score interactions, and say where they belong."""
    from adapters_store import AdaptersStore  # noqa: PLC0415
    from consumers.gate.stage import GateStage  # noqa: PLC0415
    from pipeline.models.seeding import make_deterministic  # noqa: PLC0415
    from pipeline.setup.storage import load_setup  # noqa: PLC0415

    make_deterministic()
    setup, store = load_setup(root), AdaptersStore(adapters_of(root))
    most = config.gate.batch_size if config.consumers.lockstep else config.gate.transaction_events
    run_stage(lambda metrics: GateStage(setup, config, store, instance, metrics), instance, config, most, say)


def produce(
    data: Path,
    config: Config,
    speed: float | None,
    rate: float | None,
    progress: Callable[[str, int, int], None],
    sleep: Callable[[float], None] = time.sleep,
    clock: Callable[[], float] = time.monotonic,
) -> int:
    """`raie produce`: write a data set's items, then its interactions after the set-up slice.

    Args:
        data: the data set.
        config: says which interactions count and where set-up ends.
        speed: seconds of event time in one of ours, or None.
        rate: interactions a second, or None; with neither, as fast as the log takes them.
        progress: told (stage, done, in all).
        sleep: waits.
        clock: monotonic seconds.

    Returns:
        How many interactions were written as a stream.
    """
    from consumers.producer.feed import Feed, feed_of  # noqa: PLC0415
    from pipeline.datasets.dataset import read_dataset  # noqa: PLC0415
    from pipeline.datasets.readers.options import read_options  # noqa: PLC0415

    feed: Feed = feed_of(read_dataset(data, read_options(config.data)), config)
    with closing(log_of(config)) as log:
        feed.write_items(log, progress)
        feed.write_past(log, progress)
        return feed.write_stream(log, progress, speed, rate, sleep, clock)


def show_lag(config: Config, out: Say) -> None:
    """`raie lag`: how far each stage is behind, by partition."""
    with closing(log_of(config)) as log:
        for lag in lags(log, config.log.partitions):
            where = f"{lag.stage:8s} {lag.topic}/{lag.partition}"
            out(f"{where}: {lag.behind:,} behind, at {lag.position:,} of {lag.end:,}")


def list_dead_letters(config: Config, reason: str | None, out: Say) -> None:
    """`raie dead-letters list`: what was refused, why, and from where."""
    with closing(log_of(config)) as log:
        replayed = _replayed(log)
        for record in new_records(log, DEAD_LETTERS, 0):
            letter = value_of(record)
            if reason in (None, letter["reason"]):
                where = f"{letter['topic']}/{letter['partition']} offset {letter['offset']}"
                done = ", replayed" if record.offset in replayed else ""
                out(f"{record.offset:8d}  {letter['reason']:20s} {where}: {letter['detail']}{done}")


def replay_dead_letters(config: Config, reason: str | None, out: Say) -> None:
    """`raie dead-letters replay`: write what was refused where it came from, each once, after a fix."""
    with closing(log_of(config)) as log:
        replayed = _replayed(log)
        waiting = [
            (record.offset, letter)
            for record in new_records(log, DEAD_LETTERS, 0)
            if record.offset not in replayed and reason in (None, (letter := value_of(record))["reason"])
        ]
        whole = [(offset, letter) for offset, letter in waiting if _is_whole(letter["value"])]
        producer = log.producer("dead-letters")
        for start in range(0, len(whole), 100):
            some = whole[start : start + 100]
            with producer.transaction() as transaction:
                for _, letter in some:
                    transaction.send(
                        letter["topic"],
                        letter["value"],
                        key=letter["key"],
                        partition=letter["partition"],
                        timestamp=0.0,
                    )
                offsets = [offset for offset, _ in some]
                transaction.send(CONTROL, {"kind": REPLAYED, "offsets": offsets}, key=REPLAYED, timestamp=0.0)
    out(f"{len(whole)} replayed, {len(waiting) - len(whole)} of which only a hash is left")


def _is_whole(value: Any) -> bool:
    """Whether a dead letter holds what was refused, and not a stub."""
    return value is not None and UNREADABLE not in value


def _replayed(log: Log) -> set[int]:
    acts: Iterable[Any] = (record.value for record in new_records(log, CONTROL, 0))
    return {offset for act in acts if act and act.get("kind") == REPLAYED for offset in act["offsets"]}
