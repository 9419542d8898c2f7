"""`raie retention`: what retention would remove now, and what it keeps beyond its limits."""

import time
from collections.abc import Iterator
from contextlib import closing
from typing import TYPE_CHECKING

import typer

from consumers.cli.options import ConfigFile, Root, Settings, configuration

if TYPE_CHECKING:
    from consumers.retention.plan import Plan

app = typer.Typer()


@app.command()
def retention(root: Root, config: ConfigFile = None, settings: Settings = None) -> None:
    """Show what the next round of retention removes, and what it keeps beyond its limits; change nothing.

    The limits are the settings `retention.*`; by default there are none. A running trainer does the rounds, every
    `retention.every` seconds.

    Example: `raie retention --root root --set retention.version_days=30 --set log.url=sqlite:///log.sqlite`
    """
    from adapters_store import AdaptersStore
    from consumers.retention.plan import make_plan
    from consumers.runtime.generations import folder_of, read_generations
    from consumers.runtime.runner import adapters_of, existing_log_of

    resolved = configuration(config, settings)
    with closing(existing_log_of(resolved)) as log:
        store = AdaptersStore(adapters_of(folder_of(root, read_generations(log).active)))
        plan = make_plan(log, store, resolved.retention, time.time())
    for line in described(plan):
        typer.echo(line)


def described(plan: "Plan") -> Iterator[str]:
    """Describe a plan, line by line."""
    goes = [f"versions {', '.join(plan.versions)}"] if plan.versions else []
    goes += [str(cut) for cut in plan.cuts if cut.count]
    yield from (f"goes: {one}" for one in goes)
    held = [(what, number, why) for what, (number, why) in plan.held_by_kind() if number]
    yield from (f"kept beyond the limits: {number:,} {what}; {why}" for what, number, why in held)
    if not goes and not held:
        yield "nothing is beyond the limits (settings retention.*)"
