"""Newest events of each region: the items that its users took, whichever gate scored them."""

from collections import OrderedDict, deque
from collections.abc import Iterable

from pipeline.events.gated import GatedEvent

NEWEST = 4_000
"""Events that are remembered of each region."""

REGIONS = 256
"""Regions of which events are remembered; the one without events for longest goes first."""

HALF_LIFE = 500.0
"""Events of a region after which an event counts half."""


class RegionEvents:
    """Items of the newest events of each region, set-up regions and those opened since alike."""

    def __init__(self) -> None:
        self._taken: OrderedDict[int, deque[str]] = OrderedDict()

    def add(self, events: Iterable[GatedEvent]) -> None:
        """Add events, oldest first; each belongs to the region of the highest posterior."""
        for event in events:
            taken = self._taken.setdefault(event.region_id, deque(maxlen=NEWEST))
            taken.append(event.target)
            self._taken.move_to_end(event.region_id)
            if len(self._taken) > REGIONS:
                self._taken.popitem(last=False)

    def weights(self, region_id: int) -> dict[str, float]:
        """Item id -> sum over its events of 1 / 2 to the power of (later events of the region / `HALF_LIFE`)."""
        weights: dict[str, float] = {}
        weight, decay = 1.0, 0.5 ** (1.0 / HALF_LIFE)
        for item_id in reversed(self._taken.get(region_id, ())):
            weights[item_id] = weights.get(item_id, 0.0) + weight
            weight *= decay
        return weights
