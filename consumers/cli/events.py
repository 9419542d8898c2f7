"""`raie events`: JSON lines checked as the gate would check them, before they are sent."""

import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, BinaryIO, Literal

import typer

from consumers.cli.options import ConfigFile, Say, Settings, configuration
from pipeline.config import Config

if TYPE_CHECKING:
    from collections.abc import Callable

    from pipeline.streams.interface import Record

app = typer.Typer(no_args_is_help=True, help="Check records of `interactions` or `items` before they are sent.")

REFUSED = 2
"""Exit code where a line is refused."""

Kind = Literal["interactions", "items"]


@app.callback()
def group() -> None:
    """Keep `validate` a command of the group although it is the only one."""


@app.command()
def validate(
    file: Annotated[str, typer.Argument(metavar="FILE", help="File of JSON lines; `-` for standard input.")],
    topic: Annotated[
        str, typer.Option("--topic", help="Topic of the records: interactions or items.")
    ] = "interactions",
    config: ConfigFile = None,
    settings: Settings = None,
) -> None:
    """Check JSON lines with the parser of the gate; print each refusal with its line and reason.

    Exit code 2 if a line is refused. Nothing is sent.

    Example: `head -1000 orders.jsonl | raie events validate -`
    """
    if topic not in ("interactions", "items"):
        raise typer.BadParameter(f"--topic is interactions or items, not {topic}")
    kind: Kind = "items" if topic == "items" else "interactions"
    with _opened(file) as lines:
        refused = validate_lines(lines, kind, configuration(config, settings), typer.echo)
    if refused:
        raise typer.Exit(REFUSED)


def validate_lines(lines: Iterable[bytes], topic: Kind, config: Config, out: Say) -> int:
    """Show the refusals of lines and a summary; return the number of refused ones.

    Args:
        lines: JSON objects, one each; blank lines are left out.
        topic: topic that they are for.
        config: section `data`.
        out: shows a line of text.
    """
    from pipeline.errors import BadEvent
    from pipeline.streams.codec import decode_value
    from pipeline.streams.interface import Record

    parse, reasons, good = _parser(topic, config), Counter[str](), 0
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            parse(Record(topic, 0, number, None, decode_value(line.strip()), 0.0))
            good += 1
        except BadEvent as error:
            reasons[error.reason] += 1
            out(f"line {number}: {error}")
    counts = ", ".join(f"{count:,} {reason}" for reason, count in reasons.most_common())
    out(f"{good:,} of {good + reasons.total():,} records can be used" + (f"; refused: {counts}" if counts else ""))
    return reasons.total()


def _parser(topic: Kind, config: Config) -> "Callable[[Record], object]":
    from consumers.gate.dead_letters import readable
    from consumers.gate.parser import InteractionParser
    from consumers.runtime.item_records import item_of
    from pipeline.events.counting import CountingRule

    if topic == "items":
        return lambda record: readable(record) and item_of(record)
    rule = CountingRule(config.data.positive_from, config.data.event_types)
    parser = InteractionParser(config.data.columns, rule, lambda _: False)
    return lambda record: parser.parse(record, 0)


@contextmanager
def _opened(file: str) -> Iterator[BinaryIO]:
    if file == "-":
        yield sys.stdin.buffer
        return
    with Path(file).open("rb") as lines:
        yield lines
