"""Repartitioning: a record on another partition than its user's is sent on to that one, in the gate's transaction.

Any client may write interactions, by any partitioner or without a key, but a user has one state and one order: those
of the home partition, which is that of the user id as a key. A record that was sent on is not gated where it was read.

It is sent at once, while earlier events of its partition may still wait for their time: at home it would be late
otherwise. Its offset is then at or after the committed one, and a restart reads it again. The offsets of such records
are therefore kept in a record of `users` under `SENT_ON`, written by the same transaction.
"""

from dataclasses import dataclass, field
from typing import Literal

from consumers.gate.event_time_buffer import Arrival
from consumers.runtime.stage import Output
from pipeline.errors import BadEvent
from pipeline.events.erasure import Erasure
from pipeline.events.user_state import SENT_ON, UserState
from pipeline.events.windows import History
from pipeline.streams.codec import check_size, encode_key
from pipeline.streams.interface import OversizeError, Record
from pipeline.streams.partitioner import partition_of
from pipeline.streams.topics import INTERACTIONS, USERS

Reason = Literal["no_key", "other_key", "other_partitioner"]
"""Cause of a wrong partition, as it is counted: the record has no key, a key other than its user id, or that key."""


@dataclass
class Repartitioner:
    """Records of one partition that belong to others.

    Args:
        partition: the partition.
        partitions: number of partitions of `interactions`.
        longest: maximum length of a record in bytes.
        sent_on: offsets sent on before, at or after the committed one.
    """

    partition: int
    partitions: int
    longest: int
    sent_on: set[int]
    _waiting: list[Output] = field(default_factory=list)

    def take(self, record: Record, parsed: Arrival | Erasure) -> Reason | None:
        """Take a record to be sent on; None for one that is at home.

        Raises:
            BadEvent: `oversize`, it is too long with the key that it would get.
        """
        user_id = parsed.user_id if isinstance(parsed, Erasure) else parsed.event.user_id
        home = partition_of(user_id, self.partitions)
        if home == self.partition:
            return None
        try:
            check_size(encode_key(user_id), record.raw, self.longest)
        except OversizeError as error:
            raise BadEvent(
                "oversize", f"its user's partition is {home}, and it cannot be sent there: {error}"
            ) from None
        at = max(0.0, record.timestamp)
        self._waiting.append(Output(INTERACTIONS, record.raw, user_id, at, home, traceparent=record.traceparent))
        self.sent_on.add(record.offset)
        return reason_of(record, user_id)

    def outputs(self, position: int) -> list[Output]:
        """Remove and return the records to send, given the offset that their transaction commits."""
        sent, self._waiting = self._waiting, []
        self.sent_on = {offset for offset in self.sent_on if offset >= position}
        if not (sent and self.sent_on):
            return sent
        state = UserState(History(), ahead=tuple(sorted(self.sent_on)))
        return [*sent, Output(USERS, state.to_record(position), SENT_ON, sent[-1].timestamp, self.partition)]


def reason_of(record: Record, user_id: str) -> Reason:
    """Return the cause for which a record is not on its user's partition."""
    if not record.key:
        return "no_key"
    return "other_partitioner" if record.key == user_id else "other_key"
