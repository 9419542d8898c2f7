"""Backup of a running pipeline, read in an order in which each part needs only those after it.

1. the log as of one moment: of each stage, records and offsets that belong together;
2. the set-ups, which never change, and whose fingerprints the log has;
3. of the adapters store, what the saved log names: a file is there before the log names it.

What comes after the moment, in log or store, is not of the backup: stages go on from it, and make the same again.
"""

from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

from consumers.backup.archive import written
from consumers.backup.contents import Named, copy_setup, copy_store, read_named
from consumers.runtime.generations import base_of, log_in, read_generations
from consumers.runtime.log_binding import check_root
from consumers.runtime.runner import ADAPTERS, adapters_of, binding_of
from pipeline.config import Config
from pipeline.errors import BackupError
from pipeline.streams import LastingLog, Log, open_existing_log
from pipeline.streams.sqlite.saved import opened

LOG, ROOT = "log.sqlite", "root"
"""File of the saved log, and folder of the set-up, in a backup."""


def back_up(root: Path, config: Config, to: Path, now: float) -> Sequence[str]:
    """Back up set-ups, log and adapters stores of all generations, while stages run.

    Args:
        root: of the set-up of any generation.
        config: names the log.
        to: does not exist yet; a zip file if its name ends so, else a folder.
        now: seconds since 1970.

    Returns:
        Adapter versions that were left out because they are damaged or gone, with the reason; none is in force.

    Raises:
        BackupError: it exists, or something that is needed is missing or damaged.
        LogError: the log is that of another set-up, or cannot be read.
    """
    base, left_out = base_of(root), list[str]()
    with written(to, now, config.log.url) as draft:
        with closing(open_existing_log(config.log.url, config.log)) as log:
            if not isinstance(log, LastingLog):
                raise BackupError(f"{config.log.url} ends with its process: there is nothing to back up")
            log.save(draft / LOG)
        with opened(draft / LOG) as saved:
            found = [one for one in read_generations(saved).kept if one.has_setup and one.is_forked]
            named = {one.number: _named(log_in(saved, one.number), base / one.folder, config) for one in found}
        for one in found:
            copy_setup(base / one.folder, draft / ROOT / one.folder)
            store, copy = adapters_of(base / one.folder), draft / ROOT / one.folder / ADAPTERS
            left_out += copy_store(named[one.number], store, copy)
        return left_out


def _named(log: Log, root: Path, config: Config) -> Named:
    """Names in a generation's topics, once these are checked to be of its set-up."""
    check_root(log, config, binding_of(root, config))
    return read_named(log)
