"""Impressions and clicks, joined to answers by the request id, and counted by region and version.

A request id holds the origin of the answer: `<random>.<region>.<version>.<revision>`, and for a part of a canary
trial `.<revision that started it>.<bucket>`. So no server stores its answers, every server can count the feedback on
any answer, and no id names a user.
"""

import re
from collections import OrderedDict
from dataclasses import dataclass

import numpy as np

from consumers.server.known_versions import KnownVersions
from consumers.server.recommender import Recommendation
from pipeline.events.feedback import Feedback
from pipeline.recommend.ab_test import Counts, Rate
from pipeline.recommend.canary import BUCKETS, Canary

IMPRESSION, CLICK = "impression", "click"

REMEMBERED = 100_000
"""Requests remembered, so that only the first impression and the first click of each count."""

_REQUEST_ID = re.compile(r"[0-9a-f]{16}\.(\d{1,4}|-)\.(r\d{4}_v\d{4}|-)\.(-1|\d{1,15})(?:\.(\d{1,15})\.(\d{1,4}))?")


@dataclass(frozen=True)
class Answered:
    """Origin of an answer, as its request id has it.

    Attributes:
        region_id: the region, or None.
        adapter: its version; None: the backbone, or online popularity.
        revision: of the answer.
        canary: revision that started the trial that the answer is part of, or None.
        bucket: of the user in that trial.
    """

    region_id: int | None
    adapter: str | None
    revision: int
    canary: int | None = None
    bucket: int = 0


def request_id_of(unique: str, found: Recommendation) -> str:
    """Request id of an answer; `unique` is 16 hexadecimal digits."""
    region = "-" if found.region_id is None else str(found.region_id)
    trial = "" if found.canary is None else f".{found.canary}.{found.bucket}"
    return f"{unique}.{region}.{found.adapter or '-'}.{found.revision}{trial}"


def parse_request_id(request_id: str) -> Answered | None:
    """Parse a request id; None if it has another form."""
    match = _REQUEST_ID.fullmatch(request_id)
    if match is None:
        return None
    region, adapter, revision, trial, bucket = match.groups(default="-")
    if trial != "-" and int(bucket) >= BUCKETS:
        return None
    return Answered(
        None if region == "-" else int(region),
        None if adapter == "-" else adapter,
        int(revision),
        None if trial == "-" else int(trial),
        0 if trial == "-" else int(bucket),
    )


class Tally:
    """Online hit rates by region and version, and counts of canary trials, from records of `feedback`.

    Only answers with known versions count, and trials under way: what strangers send takes no memory.

    Args:
        known: versions and trials of the log, read beforehand.

    Attributes:
        rates: (region id, version) -> impressions and clicks.
    """

    def __init__(self, known: KnownVersions) -> None:
        self._known = known
        self.rates: dict[tuple[int, str | None], Rate] = {}
        self._trials: dict[tuple[int, int], Counts] = {}
        self._seen: OrderedDict[str, set[str]] = OrderedDict()

    def add(self, feedback: Feedback) -> bool:
        """Count feedback; of each request the first impression and the first click count.

        Returns:
            False where no server gave such an answer: nothing is counted.
        """
        answered = parse_request_id(feedback.request_id)
        if answered is None:
            return False
        if answered.region_id is None:
            return True
        if not self._known.has(answered.region_id, answered.adapter, answered.revision):
            return False
        seen = self._seen.setdefault(feedback.request_id, set())
        self._seen.move_to_end(feedback.request_id)
        if len(self._seen) > REMEMBERED:
            self._seen.popitem(last=False)
        # A click implies an impression, even if its record was lost.
        fresh = {IMPRESSION, feedback.kind} - seen
        seen |= fresh
        shown, clicked = IMPRESSION in fresh, CLICK in fresh
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
