"""Backup of a running pipeline, read in an order in which each part needs only those after it.

1. the log as of one moment: of each stage, records and offsets that belong together;
2. the set-up, which never changes, and whose fingerprint the log has;
3. of the adapters store, what the saved log names: a file is there before the log names it.

What comes after the moment, in log or store, is not of the backup: stages go on from it, and make the same again.
"""

from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

from consumers.backup.archive import written
from consumers.backup.contents import copy_setup, copy_store, read_named
from consumers.runtime.log_binding import check_root
from consumers.runtime.runner import ADAPTERS, adapters_of, binding_of
from pipeline.config import Config
from pipeline.errors import BackupError
from pipeline.streams import LastingLog, open_existing_log
from pipeline.streams.sqlite.saved import opened

LOG, ROOT = "log.sqlite", "root"
"""File of the saved log, and folder of the set-up, in a backup."""


def back_up(root: Path, config: Config, to: Path, now: float) -> Sequence[str]:
    """Back up set-up, log and adapters store, while stages run.

    Args:
        root: of the set-up.
        config: names the log.
        to: does not exist yet; a zip file if its name ends so, else a folder.
        now: seconds since 1970.

    Returns:
        Adapter versions that were left out because they are damaged or gone, with the reason; none is in force.

    Raises:
        BackupError: it exists, or something that is needed is missing or damaged.
        LogError: the log is that of another set-up, or cannot be read.
    """
    binding = binding_of(root, config)
    with written(to, now, config.log.url) as draft:
        with closing(open_existing_log(config.log.url, config.log)) as log:
            if not isinstance(log, LastingLog):
                raise BackupError(f"{config.log.url} ends with its process: there is nothing to back up")
            log.save(draft / LOG)
        with opened(draft / LOG) as saved:
            check_root(saved, config, binding)
            named = read_named(saved)
        copy_setup(root, draft / ROOT)
        return copy_store(named, adapters_of(root), draft / ROOT / ADAPTERS)
