"""Restore of a backup, on this machine or another, into a new folder and a new log.

The log comes first, the manifests of the set-ups last: without one no stage starts on what was restored in part.
"""

from contextlib import closing
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from consumers.backup.archive import Archive
from consumers.backup.backup import LOG, ROOT
from consumers.runtime.generations import FOLDER
from pipeline.config import Config
from pipeline.setup.storage import MANIFEST, refuse_existing
from pipeline.streams import restore_log
from pipeline.streams.checks import check_same
from pipeline.streams.sqlite.saved import SavedLog
from pipeline.streams.topics import pipeline_topics, topic_of


def restore(archive: Archive, root: Path, config: Config) -> None:
    """Restore set-up, log and adapters store, once the whole backup was checked.

    Args:
        archive: the backup.
        root: new folder of the set-up.
        config: names the new log, of either kind.

    Raises:
        BackupError: a file is missing or damaged; nothing was written.
        DataError: the folder is not empty.
        LogError: the log exists, cannot be written, or has another number of partitions in the configuration.
    """
    archive.verify()
    refuse_existing(root)
    root.mkdir(parents=True, exist_ok=True)
    last = [name for name in archive.manifest.files if Path(name).match(MANIFEST) and _is_setup(Path(name).parent)]
    # In the new folder: the system's own may have no room for a log.
    with TemporaryDirectory(dir=root, prefix=".restoring-") as draft:
        log = Path(draft) / LOG
        archive.extract(LOG, log)
        _check_partitions(log, config)
        restore_log(log, config.log.url, config.log)
    for name in archive.manifest.files:
        if name.startswith(f"{ROOT}/") and name not in last:
            archive.extract(name, root / name.removeprefix(f"{ROOT}/"))
    for name in last:
        archive.extract(name, root / name.removeprefix(f"{ROOT}/"))


def _is_setup(folder: Path) -> bool:
    """True for the folder of a set-up in a backup: that of the first generation, or of a later one."""
    return folder == Path(ROOT) or folder.parent == Path(ROOT) / FOLDER


def _check_partitions(log: Path, config: Config) -> None:
    with closing(SavedLog(log)) as saved:
        wanted = {topic.name: topic for topic in pipeline_topics(config.log.partitions)}
        for topic in saved.topics():
            if topic_of(topic.name) in wanted:
                check_same(topic, replace(wanted[topic_of(topic.name)], name=topic.name))
