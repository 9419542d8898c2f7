"""Edits that were decided since a snapshot of the monitor, as `edits` has them.

A restarted monitor repeats its steps, and makes the same decisions again. After an upgrade its rules may be others than
those that decided then: what is in `edits` counts.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence

from consumers.runtime.malformed import OnSkipped, readable
from consumers.runtime.topic_reader import value_of
from pipeline.events.edit import Edit
from pipeline.streams.interface import Log, Record
from pipeline.streams.topics import EDITS

TOGETHER = 64
"""Edits that are read together, from the end backwards."""


def decided_since(log: Log, at_event: int, on_skipped: OnSkipped) -> Mapping[int, Sequence[Edit]]:
    """Edits that were decided at or after an event of the stream, by the number of events at their decision.

    Args:
        log: has the topic.
        at_event: number of the event.
        on_skipped: called with each record that is no edit.
    """
    found: dict[int, list[Edit]] = defaultdict(list)
    for partition in range(log.topic(EDITS).partitions):
        first, end = log.start_offset(EDITS, partition), log.acknowledged_end(EDITS, partition)
        while end > first:
            start = max(first, end - TOGETHER)
            edits = list(readable(log.read(EDITS, partition, start, end), _edit_of, on_skipped))
            for edit in edits:
                if edit.at_event >= at_event:
                    found[edit.at_event].append(edit)
            if any(edit.at_event < at_event for edit in edits):
                break
            end = start
    return found


def _edit_of(record: Record) -> Edit:
    return Edit.from_record(value_of(record))
