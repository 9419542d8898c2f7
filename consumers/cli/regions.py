"""`raie regions`: the regions as of the newest revision."""

from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from consumers.cli.options import ConfigFile, Root, Say, Settings, configuration
from pipeline.config import Config

if TYPE_CHECKING:
    from pipeline.regions.region import Region

app = typer.Typer()


@app.command()
def regions(root: Root, config: ConfigFile = None, settings: Settings = None) -> None:
    """List the regions as of the newest revision: origin, share of the traffic, radius and adapter.

    Example: `raie regions --root root`
    """
    show_regions(configuration(config, settings), root, typer.echo)


def show_regions(config: Config, root: Path, out: Say) -> None:
    """Show the newest revision, then each region in a line."""
    from adapters_store import AdaptersStore
    from consumers.runtime.generations import folder_of, read_generations
    from consumers.runtime.malformed import unreported
    from consumers.runtime.revisions import RevisionFollower
    from consumers.runtime.runner import adapters_of, existing_log_of
    from pipeline.setup.storage import load_setup

    with closing(existing_log_of(config)) as log:
        own = folder_of(root, read_generations(log).active)
        bank = load_setup(own).bank
        revisions = RevisionFollower(bank, AdaptersStore(adapters_of(own)).arrays, unreported)
        for _, revision in revisions.poll(log):
            bank = revision.after(bank)
    newest = "set-up" if revisions.revision < 0 else f"revision {revisions.revision}"
    out(f"{newest}, gate version {bank.gate_version}, {len(bank.live)} live regions")
    for region in bank.regions:
        out(_line(region))


def _line(region: "Region") -> str:
    adapter = f"adapter {region.adapter}" if region.adapter else "no adapter (backbone)"
    origin = region.origin if region.parent is None else f"{region.origin}, from region {region.parent}"
    return (
        f"region {region.region_id:4d}  {region.status:7s} {origin}, version {region.version}, "
        f"share {region.prior:.3f}, radius {region.radius:.3f} rad, {adapter}"
    )
