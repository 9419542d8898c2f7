"""Impressions and clicks: joined to what was answered by the request id, and counted by region and version.

A request id says what answered: `<random>.<region>.<version>.<revision>`. So no answer has to be remembered,
any server can take the feedback of any other's answer, and nothing in it names the user.
"""

import re
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from consumers.server.recommender import Recommendation

IMPRESSION, CLICK = "impression", "click"

REMEMBERED = 100_000
"""Requests whose first impression and first click are told from further ones."""

_REQUEST_ID = re.compile(r"[0-9a-f]{16}\.(\d{1,4}|-)\.(r\d{4}_v\d{4}|-)\.(-1|\d{1,15})")


@dataclass(frozen=True)
class Answered:
    """What answered a request: region, adapter version (None: the backbone or the trend), revision."""

    region_id: int | None
    adapter: str | None
    revision: int


def request_id_of(unique: str, found: Recommendation) -> str:
    """Name a request after what answered it; `unique` is 16 hexadecimal digits."""
    region = "-" if found.region_id is None else str(found.region_id)
    return f"{unique}.{region}.{found.adapter or '-'}.{found.revision}"


def parse_request_id(request_id: str) -> Answered | None:
    """What a request id says, or None if it is none of ours."""
    match = _REQUEST_ID.fullmatch(request_id)
    if match is None:
        return None
    region, adapter, revision = match.groups()
    return Answered(None if region == "-" else int(region), None if adapter == "-" else adapter, int(revision))


@dataclass
class Rate:
    """How many requests were shown, and how many of these clicked."""

    shown: int = 0
    clicked: int = 0

    @property
    def hit_rate(self) -> float | None:
        """Clicked requests over shown ones, or None before any was shown."""
        return self.clicked / self.shown if self.shown else None


class Tally:
    """Online hit rates by region and version, from the records of `feedback`."""

    def __init__(self) -> None:
        self.rates: dict[tuple[int, str | None], Rate] = {}
        self._seen: OrderedDict[str, set[str]] = OrderedDict()

    def add(self, record: Mapping[str, Any]) -> None:
        """Count a record of `feedback`; of one request the first impression and the first click count."""
        answered = parse_request_id(str(record["request_id"]))
        if answered is None or answered.region_id is None:
            return
        seen = self._seen.setdefault(str(record["request_id"]), set())
        self._seen.move_to_end(str(record["request_id"]))
        if len(self._seen) > REMEMBERED:
            self._seen.popitem(last=False)
        rate = self.rates.setdefault((answered.region_id, answered.adapter), Rate())
        kind = str(record["kind"])
        # Who clicked has seen it, whatever became of the impression.
        for one in {IMPRESSION, kind} - seen:
            seen.add(one)
            rate.shown += one == IMPRESSION
            rate.clicked += one == CLICK

    def of_region(self, region_id: int) -> dict[str, dict[str, float | int | None]]:
        """Version (`backbone` without one) -> shown, clicked, hit rate."""
        return {
            adapter or "backbone": {"shown": rate.shown, "clicked": rate.clicked, "hit_rate": rate.hit_rate}
            for (region, adapter), rate in list(self.rates.items())
            if region == region_id
        }
