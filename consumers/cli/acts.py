"""`raie acts`: administrative acts, with who did them and when."""

from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from heapq import merge
from typing import TYPE_CHECKING

import typer

from consumers.cli.options import ConfigFile, Settings, configuration
from pipeline.config import Config

if TYPE_CHECKING:
    from pipeline.events.control import ControlAct
    from pipeline.events.generation import GenerationAct
    from pipeline.streams.interface import Record

app = typer.Typer()


@app.command("acts")
def command(config: ConfigFile = None, settings: Settings = None) -> None:
    """List administrative acts, oldest first: rollbacks, pins, reloads, ended trials, erasures, and refreshes.

    Each line has the time, the act, the name that its author gave, and the name of the token that allowed it. Acts
    by the command line, by servers, and those of earlier versions have no token.

    Example: `raie acts --set log.url=sqlite:///log.sqlite`
    """
    for line in lines(configuration(config, settings)):
        typer.echo(line)


def lines(config: Config) -> Iterator[str]:
    """Yield a line for each act in the log, those of all generations by their times."""
    from consumers.runtime.generations import log_in, read_acts, read_generations
    from consumers.runtime.malformed import readable, unreported
    from consumers.runtime.runner import existing_log_of
    from consumers.runtime.topic_reader import new_records
    from pipeline.streams.topics import CONTROL

    with closing(existing_log_of(config)) as log:
        # Of a generation that was pruned `control` stays.
        forked = [one.number for one in read_generations(log).all.values() if one.is_forked]
        records = [new_records(log_in(log, number), CONTROL, 0) for number in forked]
        acts = [[act for act in readable(of_one, _act_in, unreported) if act is not None] for of_one in records]
        changes = [(_shown(act), timestamp) for act, timestamp in read_acts(log)]
        # A merge keeps the order of each topic, whatever its times say.
        for found in merge(*acts, changes, key=lambda found: found[1]):
            yield line_of(*found)


def line_of(act: "ControlAct", timestamp: float) -> str:
    """Describe an act at a time, seconds since 1970, in a line."""
    when = datetime.fromtimestamp(timestamp, UTC).isoformat(" ", "seconds")
    token = "without a token" if act.token is None else f"token {act.token}"
    facts = [] if act.region_id is None else [f"region {act.region_id}"]
    facts += [] if act.adapter is None else [act.adapter]
    facts += [f"{name} {value}" for name, value in act.details.items() if not isinstance(value, dict)]
    return f"{when}  {act.act:9s} by {act.by or 'nobody named'}, {token}: {', '.join(facts) or 'all'}"


def _act_in(record: "Record") -> "tuple[ControlAct, float] | None":
    from pipeline.events.control import ControlAct

    act = None if record.value is None else ControlAct.from_record(record.value)
    return None if act is None else (act, record.timestamp)


def _shown(act: "GenerationAct") -> "ControlAct":
    from pipeline.events.control import ControlAct
    from pipeline.recommend.split_outcome import SplitOutcome
    from pipeline.setup.judgement import Judgement

    details = {name: value for name, value in act.details.items() if isinstance(value, str | int | float)}
    if "judgement" in act.details:
        details["judged"] = str(Judgement(**act.details["judgement"]))
    if "outcome" in act.details:
        details["clicks"] = str(SplitOutcome.from_record(act.details["outcome"]))
    return ControlAct(str(act.act), act.by, details={"generation": act.generation, **details})
