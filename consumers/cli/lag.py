"""`raie lag`: the lag of each stage."""

from contextlib import closing

import typer

from consumers.cli.options import ConfigFile, Say, Settings, configuration
from pipeline.config import Config

app = typer.Typer()


@app.command()
def lag(config: ConfigFile = None, settings: Settings = None) -> None:
    """Show the lag of each stage: the records it has still to read, by partition.

    Beside the generation that answers, that of one in the shadow (`raie refresh`) is shown, too.

    Example: `raie lag --set log.url=sqlite:///log.sqlite`
    """
    show_lag(configuration(config, settings), typer.echo)


def show_lag(config: Config, out: Say) -> None:
    """Show committed position, end and lag of each stage and partition, a line each."""
    from consumers.runtime.generations import running_logs
    from consumers.runtime.lag import lags
    from consumers.runtime.runner import existing_log_of

    with closing(existing_log_of(config)) as log:
        several = len(found := running_logs(log)) > 1
        for own in found:
            which = f"generation {own.generation} " if several else ""
            for lag in lags(own, config.log.partitions):
                where = f"{which}{lag.stage:8s} {lag.topic}/{lag.partition}"
                out(f"{where}: {lag.behind:,} behind, at {lag.position:,} of {lag.end:,}")
