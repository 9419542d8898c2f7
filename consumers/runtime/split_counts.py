"""Counts of a split: shown and clicked answers by bucket of users, from the records of `feedback`.

Each generation has the feedback on its own answers, so that a split is the sum of two. Feedback counts where its answer
can have been given: by the generation that answers the bucket of its id.
"""

from collections import OrderedDict

import numpy as np

from consumers.runtime.generations import log_in, read_generations
from consumers.runtime.malformed import readable, unreported
from consumers.runtime.topic_reader import value_of
from pipeline.events.buckets import BUCKETS
from pipeline.events.feedback import CLICK, IMPRESSION, Feedback
from pipeline.events.request_id import parse_request_id
from pipeline.events.split import Split
from pipeline.recommend.ab_test import Counts
from pipeline.recommend.split_outcome import SplitOutcome
from pipeline.streams.interface import Log, Record
from pipeline.streams.topics import FEEDBACK

REMEMBERED = 100_000
"""Requests remembered, so that only the first impression and the first click of each count."""


class Firsts:
    """Memory of requests, so that of each the first impression and the first click count."""

    def __init__(self) -> None:
        self._seen: OrderedDict[str, set[str]] = OrderedDict()

    def __len__(self) -> int:
        """Number of requests that are remembered."""
        return len(self._seen)

    def add(self, feedback: Feedback) -> tuple[bool, bool]:
        """Return whether feedback is the first impression, and whether it is the first click, of its answer."""
        seen = self._seen.setdefault(feedback.request_id, set())
        self._seen.move_to_end(feedback.request_id)
        if len(self._seen) > REMEMBERED:
            self._seen.popitem(last=False)
        # A click implies an impression, even if its record was lost.
        fresh = {IMPRESSION, feedback.kind} - seen
        seen |= fresh
        return IMPRESSION in fresh, CLICK in fresh


class SplitCounts:
    """Counts of the split under way, from the feedback of one generation.

    Args:
        generation: number of the generation.

    """

    def __init__(self, generation: int) -> None:
        self._generation, self._firsts = generation, Firsts()
        self._split: Split | None = None
        self._counts = _none()

    def of(self, split: Split) -> Counts:
        """(BUCKETS, 2) shown and clicked answers of a split."""
        return self._counts if self._split == split else _none()

    def follow(self, split: Split | None) -> None:
        """Count this split from now on; another one begins at zero."""
        if split != self._split:
            # The split last: another thread may be looking.
            self._counts, self._firsts, self._split = _none(), Firsts(), split

    def poll(self, log: Log) -> None:
        """Follow the split that the log says is under way.

        Raises:
            LogError: the log cannot be read.
        """
        self.follow(read_generations(log).split)

    def add(self, feedback: Feedback) -> None:
        """Count feedback; of each request the first impression and the first click count."""
        answered, split = parse_request_id(feedback.request_id), self._split
        if answered is None or split is None or answered.split != split.number:
            return
        if answered.generation == self._generation == split.arm(answered.part):
            self._counts[answered.part] += self._firsts.add(feedback)


def read_outcome(log: Log, split: Split) -> SplitOutcome:
    """Outcome of a split so far, from all feedback of both generations.

    Raises:
        LogError: the log cannot be read.
    """
    counts = _none()
    for generation in (split.generation, split.beside):
        own, found = log_in(log, generation), SplitCounts(generation)
        found.follow(split)
        for partition in range(own.topic(FEEDBACK).partitions):
            start, end = own.start_offset(FEEDBACK, partition), own.end_offset(FEEDBACK, partition)
            for feedback in readable(own.read(FEEDBACK, partition, start, max(start, end)), _feedback_in, unreported):
                found.add(feedback)
        counts += found.of(split)
    return SplitOutcome.of(split, counts)


def _none() -> Counts:
    return np.zeros((BUCKETS, 2), dtype=np.int64)


def _feedback_in(record: Record) -> Feedback:
    return Feedback.from_record(value_of(record))
