"""`raie produce`: a recorded log, written into the live log."""

import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Annotated

import typer

from consumers.cli.options import ConfigFile, Data, Items, Settings, configuration, terminal
from pipeline.config import Config

app = typer.Typer()


@app.command("produce")
def command(
    data: Data,
    speed: Annotated[
        float | None, typer.Option("--speed", min=1e-9, help="Seconds of event time per second of real time.")
    ] = None,
    rate: Annotated[float | None, typer.Option("--rate", min=1e-9, help="Interactions per second.")] = None,
    items: Items = None,
    config: ConfigFile = None,
    settings: Settings = None,
) -> None:
    """Write a recorded log into the log of the live pipeline (setting log.url).

    First the items and the user histories up to the end of set-up, then the stream after set-up.

    As fast as possible, unless --speed or --rate is given.

    Example: `raie produce --data ml-latest-small --rate 200 --set log.url=sqlite:///log.sqlite`
    """
    from consumers.cli.terminal import Stages

    if speed is not None and rate is not None:
        raise typer.BadParameter("give --speed or --rate, not both")
    resolved = configuration(config, settings, items)
    with Stages(terminal().err) as stages:
        count = produce(data, resolved, speed, rate, stages)
    typer.echo(f"{count:,} interactions written to {resolved.log.url}")


def produce(
    data: Path,
    config: Config,
    speed: float | None,
    rate: float | None,
    progress: Callable[[str, int, int], None],
    sleep: Callable[[float], None] = time.sleep,
    clock: Callable[[], float] = time.monotonic,
) -> int:
    """Write a data set's items, then its interactions before and after the end of the set-up slice.

    Args:
        data: the data set.
        config: decides which interactions count and where the set-up slice ends.
        speed: seconds of event time per second of real time, or None.
        rate: interactions per second, or None; with neither, as fast as the log accepts them.
        progress: called with (stage, done, total).
        sleep: waits.
        clock: monotonic seconds.

    Returns:
        Number of interactions written as the stream.
    """
    from consumers.producer.feed import feed_of
    from consumers.runtime.runner import bound_log_of
    from pipeline.datasets.dataset import read_dataset
    from pipeline.datasets.readers.options import options_of

    feed = feed_of(read_dataset(data, options_of(config.data)), config)
    with closing(bound_log_of(config, "produce-log")) as log:
        feed.write_items(log, progress)
        feed.write_past(log, progress)
        return feed.write_stream(log, progress, speed, rate, sleep, clock)
