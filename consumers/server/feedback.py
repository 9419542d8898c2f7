"""Impressions and clicks, joined to answers by the request id, and counted by region and version."""

import numpy as np

from consumers.runtime.split_counts import Firsts
from consumers.server.known_versions import KnownVersions
from pipeline.events.buckets import BUCKETS
from pipeline.events.feedback import Feedback
from pipeline.events.request_id import parse_request_id
from pipeline.recommend.ab_test import Counts, Rate
from pipeline.recommend.canary import Canary
from pipeline.streams.topics import FIRST


class Tally:
    """Online hit rates by region and version, and counts of canary trials, from records of `feedback`.

    Only answers with known versions count, and trials under way: what strangers send takes no memory.

    Args:
        known: versions and trials of the log, read beforehand.
        generation: whose answers count; those of others came after a switch.

    Attributes:
        rates: (region id, version) -> impressions and clicks.
    """

    def __init__(self, known: KnownVersions, generation: int = FIRST) -> None:
        self._known, self._generation = known, generation
        self.rates: dict[tuple[int, str | None], Rate] = {}
        self._trials: dict[tuple[int, int], Counts] = {}
        self._firsts = Firsts()

    def add(self, feedback: Feedback) -> bool:
        """Count feedback; of each request the first impression and the first click count.

        Returns:
            False where no server gave such an answer: nothing is counted.
        """
        answered = parse_request_id(feedback.request_id)
        if answered is None:
            return False
        if answered.region_id is None or answered.generation not in (None, self._generation):
            return True
        if not self._known.has(answered.region_id, answered.adapter, answered.revision):
            return False
        shown, clicked = self._firsts.add(feedback)
        rate = self.rates.setdefault((answered.region_id, answered.adapter), Rate())
        rate.shown += shown
        rate.clicked += clicked
        if answered.canary is not None:
            self._add_to_trial((answered.region_id, answered.canary), answered.bucket, shown, clicked)
        return True

    def trial(self, canary: Canary) -> Counts:
        """(buckets, 2) impressions and clicks of a trial."""
        return self._trials.get((canary.region_id, canary.since), _no_counts())

    def of_region(self, region_id: int) -> dict[str, dict[str, float | int | None]]:
        """Version (`backbone` for none) -> impressions, clicks, hit rate."""
        return {
            adapter or "backbone": {"shown": rate.shown, "clicked": rate.clicked, "hit_rate": rate.hit_rate}
            for (region, adapter), rate in list(self.rates.items())
            if region == region_id
        }

    def _add_to_trial(self, trial: tuple[int, int], bucket: int, shown: bool, clicked: bool) -> None:
        """Count an answer for a trial under way; counts of ended trials are dropped."""
        if trial not in self._trials:
            under_way = self._known.trials
            if trial not in under_way:
                return
            self._trials = {one: self._trials.get(one, _no_counts()) for one in under_way}
        self._trials[trial][bucket] += (shown, clicked)


def _no_counts() -> Counts:
    return np.zeros((BUCKETS, 2), dtype=np.int64)
