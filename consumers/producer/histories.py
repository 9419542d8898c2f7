"""Histories of the users of a set-up, written into the log for a gate that runs or will run.

A gate puts a history in front of what it has seen of its user, so that loading it again changes nothing.
"""

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from consumers.producer.feed_writer import TRANSACTION
from pipeline.config import Config
from pipeline.datasets.dataset import Dataset, is_positive
from pipeline.errors import DataError
from pipeline.events.interactions import Interactions
from pipeline.events.loaded_history import LoadedHistory
from pipeline.setup.artifacts import TrainingLog
from pipeline.streams.interface import Log
from pipeline.streams.topics import INTERACTIONS


def histories_of(dataset: Dataset, learned: TrainingLog, config: Config) -> Iterator[LoadedHistory]:
    """Yield the history of every user of a set-up.

    Args:
        dataset: the log, read with the kinds of event that set-up counted.
        learned: facts of the log that set-up learned from.
        config: `windows.length`, `gate` and `backbone.format`.

    Raises:
        DataError: it is another log.
    """
    if dataset.sha256 != learned.sha256:
        raise DataError(
            f"{dataset.name} is not the log that the set-up learned from (its sha256 begins with "
            f"{dataset.sha256[:12]}, that one's with {learned.sha256[:12]}): name that one, with the same data.columns"
        )
    counts = is_positive(dataset, learned.rule.positive_from)
    until = dataset.interactions.timestamps <= learned.until
    chosen = until if config.backbone.format == "examples" else until & counts
    yield from _by_user(dataset.interactions[chosen], counts[chosen], config)


def write_histories(histories: list[LoadedHistory], log: Log, progress: Callable[[str, int, int], None]) -> None:
    """Write histories, in transactions of `TRANSACTION`."""
    producer = log.producer("produce-histories")
    for start in range(0, len(histories), TRANSACTION):
        with producer.transaction() as transaction:
            for one in histories[start : start + TRANSACTION]:
                transaction.send(INTERACTIONS, one.to_record(), key=one.user_id, timestamp=one.timestamp)
        progress("histories", min(start + TRANSACTION, len(histories)), len(histories))


def _by_user(events: Interactions, counts: NDArray[np.bool_], config: Config) -> Iterator[LoadedHistory]:
    order = np.argsort(events.users, kind="stable")
    users, starts = np.unique(events.users[order], return_index=True)
    for user, rows in zip(users.tolist(), np.split(order, starts[1:]), strict=True):
        yield _history(str(events.user_ids[user]), events[rows], counts[rows], config)


def _history(user_id: str, events: Interactions, counts: NDArray[np.bool_], config: Config) -> LoadedHistory:
    """History of one user, whose events are given in order; `counts` is False for dislikes."""
    items = events.item_ids[events.items].tolist()
    times, cut = events.timestamps.tolist(), max(len(items) - config.windows.length, 0)
    left: dict[str, float] = {}
    for place in np.flatnonzero(counts[:cut])[::-1].tolist():
        # The last occurrence of each item counts.
        left.setdefault(items[place], times[place])
    taken = list(left.items())[: config.gate.remembered_items][::-1]
    newest = events[slice(max(len(events) - config.gate.remembered_events, 0), None)]
    return LoadedHistory(
        user_id,
        items[cut:],
        [item for item, _ in taken],
        newest.event_id_texts().tolist(),
        times[-1],
        times[cut:],
        [time for _, time in taken],
        tuple(np.flatnonzero(~counts[cut:]).tolist()),
    )
