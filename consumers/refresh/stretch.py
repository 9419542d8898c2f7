"""Stretch of `interactions` that a new set-up learns from, as a data set: the newest events before a fork.

Each record is read as the gate reads it, so what did not count for it does not count here. Users who were erased up to
then are left out, and records that a gate has sent on to the partition of their user count there.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence

from consumers.gate.event_time_buffer import Arrival
from consumers.gate.parser import InteractionParser
from consumers.runtime.item_records import item_of, withdrawn_id
from consumers.runtime.malformed import readable, unreported
from consumers.runtime.topic_reader import compacted_records
from pipeline.config import Config
from pipeline.datasets.dataset import Dataset
from pipeline.datasets.refusals import RefusalCounter
from pipeline.errors import DataError
from pipeline.events.counting import CountingRule
from pipeline.events.erasure import erased_until, erasure_key, is_erasure_key
from pipeline.events.interaction import Interaction
from pipeline.events.interactions import Interactions
from pipeline.events.item import Item
from pipeline.events.item_status import MARK
from pipeline.streams.interface import Log, Record
from pipeline.streams.partitioner import partition_of
from pipeline.streams.topics import INTERACTIONS, ITEMS, USERS


def starts_of(log: Log, ends: Sequence[int], events: int) -> list[int]:
    """Find where the newest records begin, in each partition the same share of what it holds.

    Args:
        log: has the topic.
        ends: end of each partition.
        events: number of records of all partitions together.
    """
    firsts = [min(log.start_offset(INTERACTIONS, p), end) for p, end in enumerate(ends)]
    held = sum(ends) - sum(firsts)
    share = min(1.0, events / held) if held else 1.0
    return [end - int((end - first) * share) for first, end in zip(firsts, ends, strict=True)]


def read_stretch(
    log: Log,
    starts: Sequence[int],
    ends: Sequence[int],
    config: Config,
    rule: CountingRule,
    items_until: int | None = None,
) -> Dataset:
    """Read a stretch as a data set.

    Args:
        log: as the new generation sees it, with its users.
        starts: first offset, by partition.
        ends: offset after the last, by partition.
        config: sections `data` and `backbone`.
        rule: says which interactions count.
        items_until: first offset of `items` that is left unread; None: its end.

    Raises:
        DataError: no event of it counts.
        RecordsLostError: some of it was deleted meanwhile.
    """
    dislikes = config.backbone.format == "examples"
    parser = InteractionParser(config.data.columns, rule, lambda _: False, dislikes=dislikes)
    erased = _erased(log)
    found: dict[tuple[str, str], Interaction] = {}
    for partition, (start, end) in enumerate(zip(starts, ends, strict=True)):
        for event in _events(log.read(INTERACTIONS, partition, start, end), parser, len(ends)):
            if event.timestamp > erased.get(erasure_key(event.user_id), float("-inf")):
                found.setdefault((event.user_id, event.event_id), event)
    if not found:
        raise DataError(
            f"no interaction of the stretch counts (offsets {list(starts)} to {list(ends)} of {INTERACTIONS}): wait "
            "until the log has more, and keep what a refresh learns from (retention.interaction_days; on Kafka "
            "log.retention_days, too)"
        )
    events = Interactions.of(sorted(found.values(), key=lambda event: (event.timestamp, event.event_id)))
    named = {item_id: Item(item_id) for item_id in events.item_ids.tolist()}
    items = dict(sorted((named | _items(log, items_until)).items()))
    nothing = RefusalCounter().result()
    return Dataset(INTERACTIONS, events, items, (), nothing, 0, 0, rule.positive_from, None)


def _events(records: Iterable[Record], parser: InteractionParser, partitions: int) -> Iterator[Interaction]:
    """Interactions among records that count, on the partition of their user."""
    for parsed in readable(records, lambda record: parser.parse(record, 0), unreported):
        if not isinstance(parsed, Arrival) or parsed.loaded is not None:
            continue
        if partition_of(parsed.event.user_id, partitions) == parsed.partition:
            yield parsed.event


def _erased(log: Log) -> Mapping[str, float]:
    """Event time up to which users are erased, by the key that remembers it."""
    found: dict[str, float] = {}
    for partition in range(log.topic(USERS).partitions):
        for record in compacted_records(log, USERS, partition):
            until = erased_until(record.value) if record.key is not None and is_erasure_key(record.key) else None
            if until is not None:
                found[str(record.key)] = until
    return found


def _items(log: Log, until: int | None) -> dict[str, Item]:
    """Items as producers had announced them last before an offset."""
    found: dict[str, Item] = {}
    start, end = log.start_offset(ITEMS, 0), log.acknowledged_end(ITEMS, 0)
    records = log.read(ITEMS, 0, start, end if until is None else max(start, until))
    announced = (record for record in records if not (record.key or "").startswith(MARK))
    for record, item in readable(announced, _announced, unreported):
        if item is None:
            found.pop(withdrawn_id(record), None)
        else:
            found[item.item_id] = item
    return found


def _announced(record: Record) -> tuple[Record, Item | None]:
    return record, None if record.value is None else item_of(record)
