"""`raie produce`: a recorded log, written into the live log."""

import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from consumers.cli.follow import follow
from consumers.cli.options import ConfigFile, Items, OptionalData, Settings, configuration, known_topic, terminal
from pipeline.config import Config

if TYPE_CHECKING:
    from consumers.producer.feed_writer import Pace

app = typer.Typer()

FeedName = Annotated[
    str | None,
    typer.Option(
        "--feed",
        metavar="NAME",
        help="Name under which the position is kept. [default: hash of the data, or path]",
    ),
]


@app.command("produce")
def command(
    data: OptionalData = None,
    lines: Annotated[
        str | None, typer.Option("--follow", metavar="FILE", help="JSON lines of a growing file, or `-` for a pipe.")
    ] = None,
    topic: Annotated[str, typer.Option("--topic", help="Topic of these: interactions or items.")] = "interactions",
    speed: Annotated[
        float | None, typer.Option("--speed", min=1e-9, help="Seconds of event time per second of real time.")
    ] = None,
    rate: Annotated[float | None, typer.Option("--rate", min=1e-9, help="Interactions per second.")] = None,
    items: Items = None,
    feed: FeedName = None,
    config: ConfigFile = None,
    settings: Settings = None,
) -> None:
    """Write a recorded log (--data) or JSON lines (--follow) into the log of the live pipeline (setting log.url).

    Of a recorded log, first the items and the user histories up to the end of set-up, then the stream after set-up.

    As fast as possible, unless --speed or --rate is given. Run again, it goes on where it stopped, and writes nothing
    that it has written before. Of a pipe, every line is new; it ends with it. Refused lines are shown by number.

    Example: `raie produce --data ml-latest-small --rate 200 --set log.url=sqlite:///log.sqlite`
    """
    from consumers.cli.terminal import Stages
    from consumers.producer.feed_writer import Pace
    from consumers.runtime.process_log import process_log

    if speed is not None and rate is not None:
        raise typer.BadParameter("give --speed or --rate, not both")
    if (data is None) == (lines is None):
        raise typer.BadParameter("give --data or --follow")
    resolved = configuration(config, settings, items)
    if lines is not None:
        with process_log(resolved.logging, "produce", feed or lines) as logger:
            follow(lines, known_topic(topic), feed, resolved, logger)
        return
    assert data is not None
    with Stages(terminal().err) as stages:
        count, before = produce(data, resolved, Pace(speed, rate), stages, feed)
    more = f", after {before:,} that an earlier run has written" if before else ""
    typer.echo(f"{count:,} interactions written to {resolved.log.url}{more}")


def produce(
    data: Path,
    config: Config,
    pace: "Pace",
    progress: Callable[[str, int, int], None],
    feed: str | None = None,
    sleep: Callable[[float], None] = time.sleep,
    clock: Callable[[], float] = time.monotonic,
) -> tuple[int, int]:
    """Write a data set's items, then its interactions before and after the end of the set-up slice.

    Args:
        data: the data set.
        config: decides which interactions count and where the set-up slice ends.
        pace: times at which the stream is written.
        progress: called with (stage, done, total).
        feed: name of the feed; None: hash of the data set.
        sleep: waits.
        clock: monotonic seconds.

    Returns:
        Number of interactions written as the stream, and of those that earlier runs wrote.

    Raises:
        DataError: the feed was begun with other data or settings.
    """
    from consumers.producer.feed import feed_of
    from consumers.producer.feed_writer import FeedWriter, source_of
    from consumers.runtime.runner import bound_log_of
    from pipeline.datasets.dataset import read_dataset
    from pipeline.datasets.readers.options import options_of

    dataset = read_dataset(data, options_of(config.data))
    records, source = feed_of(dataset, config), source_of(dataset, config)
    with closing(bound_log_of(config, "produce-log")) as log:
        writer = FeedWriter(log, records, feed or dataset.sha256, source, progress)
        before = writer.written
        writer.write_before()
        return writer.write_stream(pace, sleep, clock), before
