"""`raie events`: JSON lines checked as the gate would check them before they are sent, and events traced afterwards."""

import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, BinaryIO

import typer

from consumers.cli.options import ConfigFile, LogUrl, Say, Settings, configuration, known_topic
from pipeline.config import Config

if TYPE_CHECKING:
    from consumers.producer.checks import Topic

app = typer.Typer(no_args_is_help=True, help="Check records before they are sent, and follow one afterwards.")

REFUSED = 2
"""Exit code where a line is refused."""


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
    with _opened(file) as lines:
        refused = validate_lines(lines, known_topic(topic), configuration(config, settings), typer.echo)
    if refused:
        raise typer.Exit(REFUSED)


def validate_lines(lines: Iterable[bytes], topic: "Topic", config: Config, out: Say) -> int:
    """Show the refusals of lines and a summary; return the number of refused ones.

    Args:
        lines: JSON objects, one each; blank lines are left out.
        topic: topic that they are for.
        config: section `data`.
        out: shows a line of text.
    """
    from consumers.producer.checks import checker
    from pipeline.errors import BadEvent
    from pipeline.streams.codec import decode_value

    check, reasons, good = checker(topic, config.data), Counter[str](), 0
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            check(decode_value(line.strip()), 0.0)
            good += 1
        except BadEvent as error:
            reasons[error.reason] += 1
            out(f"line {number}: {error}")
    counts = ", ".join(f"{count:,} {reason}" for reason, count in reasons.most_common())
    out(f"{good:,} of {good + reasons.total():,} records can be used" + (f"; refused: {counts}" if counts else ""))
    return reasons.total()


@app.command()
def trace(
    one: Annotated[str, typer.Argument(metavar="ID", help="Id of an event, or of an answer (`request_id`).")],
    log: LogUrl = None,
    config: ConfigFile = None,
    settings: Settings = None,
) -> None:
    """Follow one id through the log: from an event to the edits, versions and feedback that came of it, or back.

    Of an event: where it was written, how it was scored and as of which revision, the edits that rest on it, and
    feedback on the answers of their versions. Of an answer: its revision, version and edit, and its feedback. It reads
    whole topics, which takes minutes on a long log. An event without an `event_id` has the id that `gated` shows.

    Example: `raie events trace e1000 --log sqlite:///log.sqlite`
    """
    from consumers.runtime.generations import active_log
    from consumers.server.trace import Trace
    from pipeline.streams import open_existing_log

    resolved = configuration(config, settings)
    with closing(active_log(open_existing_log(log or resolved.log.url, resolved.log))) as opened:
        for line in Trace(opened, resolved.data.columns).of(one):
            typer.echo(line)


@contextmanager
def _opened(file: str) -> Iterator[BinaryIO]:
    if file == "-":
        yield sys.stdin.buffer
        return
    with Path(file).open("rb") as lines:
        yield lines
