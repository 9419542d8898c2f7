"""Items that the monitor takes over from records of `items`."""

from pathlib import Path

import pytest

from consumers.monitor.items import OwnedItems
from pipeline.config import Config
from pipeline.events.item_status import MARK
from pipeline.streams import SqliteLog
from pipeline.streams.topics import ITEMS, pipeline_topics


@pytest.mark.parametrize(("key", "known"), [("gone", 2), ("", 1), ("  ", 1), (f"{MARK}gone", 1)])
def test_a_withdrawal_is_noted_only_of_an_item_it_names(tmp_path: Path, key: str, known: int) -> None:
    log = SqliteLog(tmp_path / "log.sqlite")
    log.create_topics(pipeline_topics(1))
    with log.producer("catalogue").transaction() as transaction:
        transaction.send(ITEMS, None, key=key, partition=0, timestamp=1.0)
    items = OwnedItems(["first"], Config())
    items.read(log, 0, log.end_offset(ITEMS, 0))
    assert len(items) == known
    log.close()
