"""`raie topics`: create the pipeline's topics on the log of the configuration, or say what is wrong with them."""

from contextlib import closing

from pipeline.config import Config
from pipeline.errors import LogError
from pipeline.streams import Log, open_log
from pipeline.streams.interface import Topic
from pipeline.streams.topics import pipeline_topics


def create_topics(config: Config) -> str:
    """Create what is missing; return what to tell.

    Raises:
        LogError: if a topic exists in another form, or the log cannot be reached.
    """
    topics = pipeline_topics(config.log.partitions)
    with closing(open_log(config.log.url, config.log)) as log:
        log.create_topics(topics)
        return told(log, topics, config)


def check_topics(config: Config) -> str:
    """Look at the topics, and change nothing; return what to tell.

    Raises:
        LogError: lists everything that is missing or would lose records.
    """
    topics = pipeline_topics(config.log.partitions)
    with closing(open_log(config.log.url, config.log)) as log:
        return told(log, topics, config)


def told(log: Log, topics: tuple[Topic, ...], config: Config) -> str:
    """Return that all is well with the topics, or raise LogError with every problem."""
    problems = log.problems(topics)
    if problems:
        listed = "\n".join(f"  - {problem}" for problem in problems)
        raise LogError(
            f"{config.log.url}: not all topics are as the pipeline needs them:\n{listed}\n"
            f"`raie topics create` creates those that are missing; those that exist are changed with the broker's tools"
        )
    return f"{config.log.url}: {len(topics)} topics are as the pipeline needs them"
