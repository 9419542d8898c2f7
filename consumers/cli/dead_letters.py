"""`raie dead-letters`: records that a stage refused, listed, or replayed after a fix."""

from collections.abc import Iterator
from contextlib import closing
from typing import TYPE_CHECKING, Annotated

import typer

from consumers.cli.options import ConfigFile, Say, Settings, configuration, say
from pipeline.config import Config

if TYPE_CHECKING:
    from pipeline.events.dead_letter import DeadLetter
    from pipeline.streams.interface import Log

app = typer.Typer(no_args_is_help=True, help="List records that a stage refused, or replay them after a fix.")

BATCH = 100
"""Dead letters replayed in one transaction."""

Reason = Annotated[str | None, typer.Option("--reason", help="Only those refused for this reason.")]


@app.command("list")
def show(reason: Reason = None, config: ConfigFile = None, settings: Settings = None) -> None:
    """List the refused records with reason, origin and detail.

    Example: `raie dead-letters list --reason unknown_item`
    """
    list_dead_letters(configuration(config, settings), reason, typer.echo)


@app.command("replay")
def replay(reason: Reason = None, config: ConfigFile = None, settings: Settings = None) -> None:
    """Write refused records to the end of the topics they came from, each once.

    Fix the cause first, or they are refused again.

    Example: `raie dead-letters replay --reason unknown_item`
    """
    replay_dead_letters(configuration(config, settings), reason, typer.echo)


def list_dead_letters(config: Config, reason: str | None, out: Say) -> None:
    """Show the dead letters of a reason, or all, a line each."""
    from consumers.runtime.runner import existing_log_of

    with closing(existing_log_of(config)) as log:
        replayed, letters = _replayed(log), list(_letters(log, reason))
        for offset, letter in letters:
            where = f"{letter.topic}/{letter.partition} offset {letter.offset}"
            done = ", replayed" if offset in replayed else ""
            out(f"{offset:8d}  {letter.reason:20s} {where}: {letter.detail}{done}")
    if not letters:
        say("no record was refused" if reason is None else f"no record was refused for the reason {reason}")


def replay_dead_letters(config: Config, reason: str | None, out: Say) -> None:
    """Write dead letters back to their topics, and record in `control` which were written."""
    from consumers.runtime.runner import existing_log_of
    from pipeline.events.dead_letter import REPLAYED, Replayed
    from pipeline.streams.topics import CONTROL

    with closing(existing_log_of(config)) as log:
        replayed = _replayed(log)
        waiting = [(offset, letter) for offset, letter in _letters(log, reason) if offset not in replayed]
        found = [(offset, letter.record_in(log)) for offset, letter in waiting]
        whole = [(offset, record) for offset, record in found if record is not None]
        producer = log.producer("dead-letters")
        for start in range(0, len(whole), BATCH):
            batch = whole[start : start + BATCH]
            with producer.transaction() as transaction:
                for _, one in batch:
                    value = one.value if one.raw is None else one.raw
                    transaction.send(one.topic, value, key=one.key, partition=one.partition, timestamp=0.0)
                act = Replayed(tuple(offset for offset, _ in batch))
                transaction.send(CONTROL, act.to_record(), key=REPLAYED, timestamp=0.0)
    out(f"{len(whole)} replayed, {len(waiting) - len(whole)} not: the record is gone, or could never be read")


def _letters(log: "Log", reason: str | None) -> Iterator[tuple[int, "DeadLetter"]]:
    """Dead letters of a reason, or all, with their offsets."""
    from consumers.runtime.topic_reader import new_records, value_of
    from pipeline.events.dead_letter import DeadLetter
    from pipeline.streams.topics import DEAD_LETTERS

    for record in new_records(log, DEAD_LETTERS, log.start_offset(DEAD_LETTERS, 0)):
        letter = DeadLetter.from_record(value_of(record))
        if reason in (None, letter.reason):
            yield record.offset, letter


def _replayed(log: "Log") -> set[int]:
    """Offsets of the dead letters that were replayed."""
    from consumers.runtime.topic_reader import new_records
    from pipeline.events.dead_letter import Replayed
    from pipeline.streams.topics import CONTROL

    acts = [Replayed.from_record(record.value) for record in new_records(log, CONTROL, 0) if record.value]
    return {offset for act in acts if act for offset in act.offsets}
