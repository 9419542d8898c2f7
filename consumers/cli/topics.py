"""`raie topics`: the pipeline's topics on the log of the configuration."""

from contextlib import closing

import typer

from consumers.cli.options import ConfigFile, Settings, configuration
from pipeline.config import Config
from pipeline.errors import LogError
from pipeline.streams import Log, open_existing_log, open_log
from pipeline.streams.interface import Topic
from pipeline.streams.topics import pipeline_topics

app = typer.Typer(no_args_is_help=True, help="Create or check the topics of the log (setting `log.url`).")


@app.command("create")
def create(config: ConfigFile = None, settings: Settings = None) -> None:
    """Create the topics that are missing, and check those that exist.

    Example: `raie topics create --set log.url=kafka://localhost:9092`
    """
    typer.echo(create_topics(configuration(config, settings)))


@app.command("check")
def check(config: ConfigFile = None, settings: Settings = None) -> None:
    """Check partitions, retention, compaction and replicas of every topic; change nothing.

    Example: `raie topics check --set log.url=kafka://localhost:9092`
    """
    typer.echo(check_topics(configuration(config, settings)))


def create_topics(config: Config) -> str:
    """Create the topics that are missing; return a sentence for the terminal.

    Raises:
        LogError: a topic exists with other properties, or the log cannot be reached.
    """
    topics = pipeline_topics(config.log.partitions)
    with closing(open_log(config.log.url, config.log)) as log:
        log.create_topics(topics)
        return _checked(log, topics, config)


def check_topics(config: Config) -> str:
    """Check the topics without changing them; return a sentence for the terminal.

    Raises:
        LogError: lists every topic that is missing or would lose records.
    """
    topics = pipeline_topics(config.log.partitions)
    with closing(open_existing_log(config.log.url, config.log)) as log:
        return _checked(log, topics, config)


def _checked(log: Log, topics: tuple[Topic, ...], config: Config) -> str:
    problems = log.problems(topics)
    if problems:
        listed = "\n".join(f"  - {problem}" for problem in problems)
        raise LogError(
            f"{config.log.url}: not all topics are as the pipeline needs them:\n{listed}\n"
            f"`raie topics create` creates those that are missing; those that exist are changed with the broker's tools"
        )
    return f"{config.log.url}: {len(topics)} topics are as the pipeline needs them"
