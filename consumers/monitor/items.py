"""The monitor as owner of the catalogue: reads `items`, and writes arrivals and evictions back to it."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from consumers.runtime.item_records import AT_ONCE, item_of, withdrawn_id
from consumers.runtime.stage import Output
from pipeline.config import Config
from pipeline.errors import BadEvent
from pipeline.events.dead_letter import DeadLetter
from pipeline.events.gated import GatedEvent
from pipeline.events.item import WHEN_TAKEN
from pipeline.events.item_status import ARRIVED, EVICTED, MARK, ItemStatus
from pipeline.monitor.item_owner import ItemOwner
from pipeline.streams.interface import Log, Record
from pipeline.streams.topics import DEAD_LETTERS, ITEMS


class OwnedItems:
    """Items that the monitor knows, and what it says about them.

    Args:
        setup_items: ids of the items of set-up.
        config: section `items`, and `consumers.lockstep`.

    Attributes:
        arrived, evicted: numbers of such items so far.
    """

    def __init__(self, setup_items: Sequence[str], config: Config) -> None:
        self.arrived = self.evicted = 0
        self._owner = ItemOwner(setup_items, config.items)
        self._lockstep = config.consumers.lockstep
        self._unless_given = WHEN_TAKEN if self._lockstep else AT_ONCE
        self._read = 0
        self._timestamp = 0.0

    def __len__(self) -> int:
        return len(self._owner)

    def read(self, log: Log, start: int, end: int) -> list[Output]:
        """Read records of `items`; return the dead letters of those that cannot be used."""
        outputs = []
        for record in log.read(ITEMS, 0, start, end):
            try:
                self._apply(record)
            except BadEvent as error:
                letter = DeadLetter.of(record, error).to_record()
                outputs.append(Output(DEAD_LETTERS, letter, error.reason, max(0.0, record.timestamp)))
        self._read = end
        return outputs

    def observe(self, event: GatedEvent) -> list[Output]:
        """Note an interaction; return the record of its item's arrival if nobody announced it, or as `when_taken`.

        In lockstep the one gate knows of the first interaction with an announced item; of several, one does.
        """
        self._timestamp = max(self._timestamp, event.timestamp)
        begins = not self._lockstep and self._owner.waits_to_be_taken(event.target)
        if not self._owner.observe(event.target, event.timestamp) and not begins:
            return []
        self.arrived += 1
        return [self._output(event.target, ARRIVED, 0 if begins else self._read)]

    def take_begun(self) -> list[str]:
        """Ids of the items that began to exist, or came back, since the last call."""
        return self._owner.take_begun()

    def evict(self) -> list[str]:
        """Forget the items that are due; return their ids."""
        found = self._owner.evict()
        self.evicted += len(found)
        return found

    def evictions_of(self, item_ids: Iterable[str]) -> list[Output]:
        """Records of evictions."""
        return [self._output(item_id, EVICTED, self._read) for item_id in item_ids]

    def state(self) -> dict[str, Any]:
        """Everything that is known, as a JSON object."""
        counts = {"arrived": self.arrived, "evicted": self.evicted, "timestamp": self._timestamp}
        return {"owner": self._owner.state(), "read": self._read, **counts}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Continue from the result of `state`."""
        self._owner.restore(state["owner"])
        self._read, self._timestamp = state["read"], state["timestamp"]
        self.arrived, self.evicted = state["arrived"], state["evicted"]

    def _apply(self, record: Record) -> None:
        if record.value is None:
            # Withdrawn items are remembered, too, and go in their time.
            if withdrawn := withdrawn_id(record):
                self._owner.announce(withdrawn, AT_ONCE)
            return
        if (record.key or "").startswith(MARK):
            return
        item = item_of(record)
        self._owner.announce(item.item_id, self._unless_given if item.available_from is None else item.available_from)

    def _output(self, item_id: str, status: str, read: int) -> Output:
        value = ItemStatus(item_id, status, self._timestamp, read)
        return Output(ITEMS, value.to_record(), value.key, self._timestamp, 0)
